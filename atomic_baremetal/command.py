"""Run other programs: the one place of both command lines that starts them.

Every command is logged so that it can be pasted into a shell (docs/debugging.rst), and a failure
says in exact words what became of it: not found, killed by which signal, over its time, or which
exit status and last words.
"""

import contextlib
import logging
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from atomic_baremetal.errors import CommandError

LOG = logging.getLogger(__name__)
LAST_WORDS = 3  # lines of stderr that an error carries
# the kernel kills the program when the thread that started it ends, kill -9 included
WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")
Done = subprocess.CompletedProcess[str]


def run(
    *argv: str | Path,
    timeout_s: float,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    ok: Sequence[int] = (0,),
    hint: str | None = None,
    with_us: bool = False,
) -> Done:
    """Run a program to its end and return it, with stdout and stderr as text.

    :param argv: program and arguments; never a shell, never a secret (stdin or a file takes it).
    :param timeout_s: seconds; the program is killed when they have passed.
    :param env: added to this process's environment.
    :param ok: the exit statuses that are no error.
    :param hint: what to do when the program is missing or fails; for the error's reader.
    :param with_us: it must not outlive this process, however that ends.
    :raises CommandError: not found, killed, over its time, or an exit status that is not in ok.
    """
    words = [str(word) for word in argv]
    LOG.debug("+ %s", shlex.join(words))
    try:
        done = subprocess.run(
            _wrapped(words) if with_us else words,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            env={**os.environ, **env} if env else None,
            cwd=cwd,
            check=False,
        )
    except FileNotFoundError as error:
        raise CommandError(
            f"{words[0]}: no such program", hint=hint or "install it: see bindep.txt"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise _too_long(words, timeout_s, hint) from error
    if done.returncode not in ok:
        raise CommandError(explain(words, done.returncode, done.stderr or done.stdout), hint=hint)
    return done


class Started:
    """A program that runs beside us. Get one from :func:`started`."""

    def __init__(self, words: Sequence[str], process: subprocess.Popen[str]) -> None:
        self._words = words
        self._process = process

    @property
    def is_running(self) -> bool:
        """Tell whether it has not ended yet."""
        return self._process.poll() is None

    def finish(self, timeout_s: float) -> Done:
        """Wait for its end, at most so many seconds, and raise as :func:`run` does."""
        process = self._process
        try:
            out, err = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            process.kill()
            raise _too_long(self._words, timeout_s, None) from error
        if process.returncode:
            raise CommandError(explain(self._words, process.returncode, err or out))
        return Done(self._words, process.returncode, out, err)


@contextlib.contextmanager
def started(*argv: str | Path) -> Iterator[Started]:
    """Start a program, which runs at most until the context ends, and not longer than this process.

    :raises CommandError: not found.
    """
    words = [str(word) for word in argv]
    LOG.debug("+ %s &", shlex.join(words))
    try:
        process = subprocess.Popen(
            _wrapped(words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
    except FileNotFoundError as error:
        raise CommandError(
            f"{words[0]}: no such program", hint="install it: see bindep.txt"
        ) from error
    try:
        yield Started(words, process)
    finally:
        process.kill()  # nothing happens when it has ended
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _wrapped(words: list[str]) -> list[str]:
    if shutil.which(words[0]) is None:
        raise FileNotFoundError(words[0])
    return [*WITH_US, *words]


def _too_long(words: Sequence[str], timeout_s: float, hint: str | None) -> CommandError:
    return CommandError(
        f"{words[0]} did not end within {timeout_s:g} seconds and was killed", hint=hint
    )


def explain(words: Sequence[str], returncode: int, said: str) -> str:
    """Word the end of a failed program: its name, how it ended, its last words."""
    if returncode < 0:
        try:
            how = f"was killed by {signal.Signals(-returncode).name}"
        except ValueError:
            how = f"was killed by signal {-returncode}"
    else:
        how = f"failed with status {returncode}"
    last = "; ".join(
        line.strip() for line in said.strip().splitlines()[-LAST_WORDS:] if line.strip()
    )
    return f"{words[0]} {how}" + (f": {last}" if last else "")
