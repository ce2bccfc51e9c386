"""Start the lab's processes, know them again, end them, and never anybody else's.

A process is known by its number together with the moment it started and the boot it started in:
numbers are used again. Signals go through a pidfd that was opened before the check, so that nothing
can change in between. Children are found by descent, and by a mark in the environment that they
inherit.
"""

import contextlib
import json
import logging
import os
import select
import shlex
import signal
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from provision.lab.model import Lab, LabError

LOG = logging.getLogger(__name__)
MARK = "ATOMIC_LAB_PROCESS"
TERM_S = 15
KILL_S = 5
RECORD_S = 60
LAST_WORDS = 3  # lines of a log that an error carries


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process, in a way that a later process of the same number is not.

    :ivar started_ticks: clock ticks from boot to its start (proc(5), stat field 22).
    """

    pid: int
    started_ticks: int
    boot_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is remembered of a service's process.

    :ivar fingerprint: over its arguments and configuration; another one means it must be started
        again.
    """

    process: Process
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """What /proc/PID/stat says."""

    state: str
    parent: int
    started_ticks: int


def start(
    lab: Lab,
    name: str,
    argv: Sequence[str],
    *,
    binds: Sequence[tuple[str, str]],
    env: Mapping[str, str],
    fingerprint: str,
) -> None:
    """Start a service in the lab's network namespace, detached from this command.

    Its output goes to the lab's log directory. `ip`, `env`, `unshare` and `provision.lab.launch`,
    which makes the record, become the program: the number stays.

    :param binds: (source, target): what stands in for the system's files.
    :raises LabError: it did not get as far as its record.
    """
    end(strays(lab, name))
    _record_file(lab, name).unlink(missing_ok=True)
    lab.logs.mkdir(parents=True, exist_ok=True)
    log = str(lab.logs / f"{name}.log")
    # not in this command's directory: it would keep a file system there from being unmounted
    words = ["ip", "netns", "exec", lab.namespace, "env", "--chdir=/"]
    if binds:
        words += ["unshare", "--mount", "--propagation", "private"]
    words += [sys.executable, "-m", "provision.lab.launch", str(_record_file(lab, name))]
    words += [fingerprint, *(word for bind in binds for word in bind), "--", *argv]
    LOG.debug("+ %s", shlex.join(words))
    pid = os.posix_spawnp(
        words[0],
        words,
        {**env, MARK: _mark(lab, name)},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigmask=[],
    )
    deadline = time.monotonic() + RECORD_S
    while recorded(lab, name) is None:
        if identify(pid) is None or time.monotonic() > deadline:
            raise LabError(f"{name} did not start: {last_words(lab, name)}", hint=f"see {log}")
        time.sleep(0.01)


def recorded(lab: Lab, name: str) -> Record | None:
    """Read what is remembered of a service; None when nothing is, or nothing that can be read."""
    try:
        data = json.loads(_record_file(lab, name).read_text())
        return Record(process=Process(**data["process"]), fingerprint=data["fingerprint"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def running(lab: Lab, name: str) -> int | None:
    """Return the number of a service's process, None when it does not run."""
    record = recorded(lab, name)
    return record.process.pid if record and is_alive(record.process) else None


def stop(lab: Lab, name: str) -> None:
    """End a service, which may end its own children, then all that is left of those."""
    record = recorded(lab, name)
    family = strays(lab, name)
    if record and is_alive(record.process):
        family += descendants(record.process.pid)
        end([record.process])
    end(family)
    _record_file(lab, name).unlink(missing_ok=True)


def last_words(lab: Lab, name: str) -> str:
    """Return the end of a service's log, in one line."""
    try:
        lines = (lab.logs / f"{name}.log").read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return "it said nothing"
    said = [line.strip() for line in lines if line.strip()]
    return "; ".join(said[-LAST_WORDS:]) or "it said nothing"


def is_alive(process: Process) -> bool:
    """Say whether this very process still runs."""
    if process.boot_id != _boot_id():
        return False
    _reap(process.pid)
    stat = _stat(process.pid)
    return (
        stat is not None and stat.started_ticks == process.started_ticks and stat.state not in "ZX"
    )


def strays(lab: Lab, name: str) -> list[Process]:
    """Find what bears the mark of a service of this lab, its recorded process excepted."""
    record = recorded(lab, name)
    known = record.process.pid if record and is_alive(record.process) else None
    mark = f"{MARK}={_mark(lab, name)}".encode()
    found = []
    for pid in _all_pids():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if pid != known and mark in environment.split(b"\0") and (process := identify(pid)):
            found.append(process)
    return found


def descendants(pid: int) -> list[Process]:
    """Find the children of a process, their children, and so on."""
    children: dict[int, list[int]] = {}
    for other in _all_pids():
        if (stat := _stat(other)) is not None:
            children.setdefault(stat.parent, []).append(other)
    found, todo = [], [pid]
    while todo:
        for child in children.get(todo.pop(), []):
            todo.append(child)
            if process := identify(child):
                found.append(process)
    return found


def identify(pid: int) -> Process | None:
    """Return the identity of the process with this number; None when there is none alive."""
    stat = _stat(pid)
    if stat is None or stat.state in "ZX":
        return None
    return Process(pid=pid, started_ticks=stat.started_ticks, boot_id=_boot_id())


def end(processes: Iterable[Process]) -> None:
    """End processes: asked with TERM, and killed when they take too long.

    :raises LabError: one is still there after KILL (it hangs in the kernel).
    """
    with contextlib.ExitStack() as stack:
        handles: dict[int, Process] = {}
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                handle = os.pidfd_open(process.pid)
                stack.callback(os.close, handle)
                if is_alive(process):
                    handles[handle] = process
        left = _signal_and_wait(handles, signal.SIGTERM, TERM_S)
        left = _signal_and_wait(left, signal.SIGKILL, KILL_S)
    if left:
        pids = ", ".join(str(process.pid) for process in left.values())
        raise LabError(f"processes that do not end even when killed: {pids}")


def _signal_and_wait(
    handles: Mapping[int, Process], number: signal.Signals, limit_s: float
) -> dict[int, Process]:
    """Signal processes and wait for them; return those that are left."""
    left = dict(handles)
    for handle in handles:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, number)
    deadline = time.monotonic() + limit_s
    while left and (rest_s := deadline - time.monotonic()) > 0:
        ended, _, _ = select.select(list(left), [], [], rest_s)
        for handle in ended:
            _reap(left.pop(handle).pid)
    return left


def _mark(lab: Lab, name: str) -> str:
    return f"{lab.id}/{name}"


def _record_file(lab: Lab, name: str) -> Path:
    return lab.running / f"{name}.json"


def _reap(pid: int) -> None:
    # only a child of this very command can be waited for; all others are init's
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _stat(pid: int) -> Stat | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return parse_stat(text)


def parse_stat(text: str) -> Stat:
    """Read /proc/PID/stat. A program's name may hold brackets: fields count from the last one.

    Source: proc(5): field 3 state, 4 ppid, 22 starttime.
    """
    fields = text.rpartition(")")[2].split()
    return Stat(state=fields[0], parent=int(fields[1]), started_ticks=int(fields[19]))
