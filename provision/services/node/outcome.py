"""Word how a service's start or stop on a node ended, from what systemd, podman and journal say."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from provision.services.host import Outcome
from provision.services.node import answers
from provision.services.node.answers import Answer, Unreadable

LOG_LINES = 20
RESULTS = {  # systemd's Result=, in words; systemd.exec(5), "Process Exit Codes"
    "timeout": "it did not report that it was up in the time its unit gives it",
    "start-limit-hit": "it was started too often within a short time",
    "oom-kill": "the kernel killed it for want of memory",
    "protocol": "it ended before it reported that it was up",
    "watchdog": "its watchdog ran out",
    "resources": "systemd lacked a resource to start it",
}
DONE = {"up", "down", "removed"}


def parse(printed: bytes, unit: str, *, timeout_s: float) -> Outcome:
    """Read what a script printed that starts or stops a unit.

    :raises Unreadable: the answer is incomplete, or the script gave up.
    """
    found = answers.read(printed)
    if "outcome" not in found:
        raise Unreadable("it does not say how that ended")
    how = found["outcome"].text
    if how in DONE:
        return Outcome(ok=True, said=how)
    return Outcome(
        ok=False, said=_reason(how, unit, found, timeout_s), log=tuple(journal(found)[-LOG_LINES:])
    )


def journal(found: Mapping[str, Answer]) -> list[str]:
    """Return the lines of a journal's answer, oldest first, without podman's own events."""
    lines: list[str] = []
    for record in found.get("journal", Answer()).output.splitlines():
        try:
            entry = json.loads(record)
        except ValueError:
            continue  # cut off
        if "PODMAN_EVENT" not in entry:
            lines += _lines(_message(entry.get("MESSAGE")))
    return lines


def _lines(message: str) -> Iterator[str]:
    for line in message.splitlines():
        if shown := answers.plain(line).rstrip():
            yield shown


def _message(value: Any) -> str:
    """Read a journal field: text, or the numbers of its bytes when it is not UTF-8."""
    if isinstance(value, list):
        if value and isinstance(value[0], str):  # a field given several times
            return "\n".join(str(one) for one in value)
        return bytes(value).decode(errors="replace")
    return str(value or "")


def _reason(how: str, unit: str, found: Mapping[str, Answer], timeout_s: float) -> str:
    show = dict(line.partition("=")[::2] for line in found.get("show", Answer()).text.splitlines())
    state = f"{show.get('ActiveState', 'unknown')} ({show.get('SubState', 'unknown')})"
    health = _health(found)
    if show.get("LoadState") == "not-found":
        complaints = answers.plain(found.get("generator", Answer()).text).strip().splitlines()
        return f"systemd has no unit {unit}" + "".join(f": {one}" for one in complaints[-1:])
    if how == "late":
        said, reasons = f"{unit} is {state} after {timeout_s:g} seconds", [health]
    elif how == "fell":
        said, reasons = f"{unit} came up and went down at once", [health, _result(show)]
    else:
        said, reasons = f"{unit} failed", [health, _result(show) or _words(found) or state]
    why = "; ".join(filter(None, reasons))
    return f"{said}: {why}" if why else said


def _result(show: Mapping[str, str]) -> str:
    result = show.get("Result", "success")
    if result in ("exit-code", "signal", "core-dump"):
        status = show.get("ExecMainStatus", "0")
        # 0: not the service itself, but a command that its unit runs before or after it
        if status == "0":
            return "a command of its unit failed"
        return f"exit status {status}" if result == "exit-code" else f"killed by signal {status}"
    if result == "success":
        return f"exit status {show['ExecMainStatus']}" if "ExecMainStatus" in show else ""
    return RESULTS.get(result, result)


def _words(found: Mapping[str, Answer]) -> str:
    lines = answers.plain(found.get("said", Answer()).text).strip().splitlines()
    return lines[0].strip() if lines else ""


def _health(found: Mapping[str, Answer]) -> str:
    """Say how often the health check has failed, and what it said last; empty: it has not."""
    try:
        state = json.loads(found.get("health", Answer(output=b"{}")).text)
    except ValueError:
        return ""
    health = state.get("Health") or state.get("Healthcheck") or {}
    failures = health.get("FailingStreak") or 0
    if not failures:
        return ""
    log = health.get("Log") or [{}]
    output = " ".join(answers.plain(log[-1].get("Output") or "").split())[:500]
    times = "once" if failures == 1 else f"{failures} times"
    return f"its health check failed {times}: {output or 'it said nothing'}"
