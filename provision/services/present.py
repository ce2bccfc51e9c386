"""Say results in the words of the command line: JSON keys and columns (docs/services.rst)."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from atomic_baremetal import output
from provision.services import images
from provision.services.apply import Plan
from provision.services.converge import Result
from provision.services.plan import Action, Change
from provision.services.remove import Removed
from provision.services.state import of as state_of
from provision.services.status import Differences, Line

NOT_OURS = "not ours"


def results(found: Sequence[Result], format_: str) -> None:
    """Print what came of each service; the table leaves out what was left alone."""
    lines = [
        _change(one.change, state=str(one.state) if one.state else None, error=one.error)
        for one in found
    ]
    _emit(lines, format_, _outcome)


def plan(found: Plan, format_: str) -> None:
    """Print what would be done, in the same form."""
    lines = []
    for one in found.changes:
        there = found.seen[one.host].services.get(one.service)
        lines.append(_change(one, state=str(state_of(there)), error=None))
    _emit(lines, format_, lambda _: "to do")


def _outcome(line: Mapping[str, Any]) -> str:
    if line["error"] is not None:
        return "not touched" if line["error"].startswith("not touched") else "failed"
    return "shown" if line["action"] == Action.ORPHAN and line["state"] != "absent" else "done"


def _change(one: Change, *, state: str | None, error: str | None) -> dict[str, Any]:
    return {
        "node": one.host,
        "service": one.service,
        "action": str(one.action),
        "reasons": list(one.reasons),
        "state": state,
        "error": error,
    }


def _emit(
    lines: list[dict[str, Any]], format_: str, outcome: Callable[[Mapping[str, Any]], str]
) -> None:
    shown = [one for one in lines if one["action"] != Action.NOTHING or one["error"]]
    if format_ == "table" and not shown:
        nodes = len({one["node"] for one in lines})
        print_line(f"{_count(len(lines), 'service')} on {_count(nodes, 'node')}, nothing to do")
        return
    table = output.rows(
        ("NODE", "SERVICE", "ACTION", "OUTCOME", "STATE", "REASONS"),
        [
            (one["node"], one["service"], one["action"], outcome(one), one["state"], _reasons(one))
            for one in shown
        ],
    )
    output.emit(lines, format_=format_, table=table)


def differences(found: Differences, format_: str) -> None:
    """Print what differs, and which containers are not ours."""
    lines: list[dict[str, Any]] = [
        {
            "node": one.host,
            "service": one.service,
            "action": str(one.action),
            "reasons": list(one.reasons),
        }
        for one in found.changes
    ]
    lines += [
        {
            "node": host,
            "service": one.name,
            "action": NOT_OURS,
            "reasons": [f"{one.state}, image {one.image}"],
        }
        for host, strangers in found.strangers.items()
        for one in strangers
    ]
    if format_ == "table" and not lines:
        return
    table = output.rows(
        ("NODE", "SERVICE", "ACTION", "REASONS"),
        [(one["node"], one["service"], one["action"], _reasons(one)) for one in lines],
    )
    output.emit(lines, format_=format_, table=table)


def status(found: Sequence[Line], format_: str) -> None:
    """Print what runs where; the table shortens digests."""
    table = output.rows(
        ("NODE", "SERVICE", "STATE", "IMAGE", "DIGEST", "USER", "SINCE", "RESTARTS", "CONFIG"),
        [
            (
                one.node,
                one.service,
                one.state if one.managed else f"{NOT_OURS} ({one.state})",
                images.short(one.image or ""),
                _digest(one.pinned),
                one.user,
                _time(one.since),
                one.restarts if one.managed else None,
                one.config[:12] if one.config else None,
            )
            for one in found
        ],
    )
    output.emit([_line(one) for one in found], format_=format_, table=table)


def _line(one: Line) -> dict[str, Any]:
    return {
        "node": one.node,
        "service": one.service,
        "unit": one.unit,
        "state": str(one.state),
        "image": one.image,
        "pinned": one.pinned,
        "user": one.user,
        "since": _time(one.since),
        "restarts": one.restarts,
        "config": one.config,
        "managed": one.managed,
    }


def logs(found: Mapping[str, list[str]], service: str, format_: str) -> None:
    """Print log lines; in a table of several nodes, each with its node before it."""
    if format_ != "table":
        data = [{"node": host, "service": service, "lines": lines} for host, lines in found.items()]
        output.emit(data, format_=format_)
        return
    for host, lines in found.items():
        for line in lines:
            print_line(f"{host} | {line}" if len(found) > 1 else line)


def removed(found: Sequence[Removed], format_: str) -> None:
    """Print what was removed where."""
    lines = [
        {"node": one.host, "services": list(one.services), "error": one.error} for one in found
    ]
    table = output.rows(
        ("NODE", "REMOVED"),
        [(one.host, ", ".join(one.services)) for one in found if one.error is None],
    )
    output.emit(lines, format_=format_, table=table)


def print_line(text: str) -> None:
    """Print one line on stdout, as it is."""
    output.console(stderr=False).print(text, markup=False, soft_wrap=True)


def _reasons(line: Mapping[str, Any]) -> str:
    return images.short("; ".join(line["reasons"]))


def _digest(pinned: str | None) -> str | None:
    return pinned.partition("@sha256:")[2][:12] if pinned else None


def _time(seconds: float) -> str | None:
    if not seconds:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
