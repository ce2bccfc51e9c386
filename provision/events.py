"""Record what happens to the nodes of one run: one event a change, appended, as JSON lines.

What people see (the live table, the lines off a terminal, a report) is drawn from these events and
from nothing else.
"""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any


class Phase(StrEnum):
    """Where a host is on its way, in this order; `failed` and `released` can follow any."""

    ALLOCATED = "allocated"
    DEPLOYING = "deploying"
    AGENT_BOOTING = "agent-booting"
    WRITING = "writing"
    FINISHING = "finishing"
    ACTIVE = "active"
    BOOTING = "booting"
    SSH = "ssh"
    SERVICES = "services"
    DONE = "done"
    FAILED = "failed"
    RELEASED = "released"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Hold one change. No field may hold a secret.

    :ivar node: the host name.
    :ivar waiting_for: what has to happen next, for people; None when nothing has.
    :ivar detail: what was seen, for people: an error, an address.
    """

    time: datetime
    node: str
    phase: Phase
    waiting_for: str | None = None
    ironic_node: str | None = None
    uuid: str | None = None
    detail: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Say it as in events.jsonl; the time is UTC, to the millisecond."""
        stamp = self.time.astimezone(UTC).isoformat(timespec="milliseconds")
        return {
            "time": stamp.replace("+00:00", "Z"),
            "node": self.node,
            "phase": str(self.phase),
            "waiting_for": self.waiting_for,
            "ironic_node": self.ironic_node,
            "uuid": self.uuid,
            "detail": self.detail,
        }


class Run:
    """Keep the directory of one run and its events; hand each event on to who draws it."""

    def __init__(self, directory: Path, *, show: Callable[[Event], None] = lambda _: None) -> None:
        """Record into a directory that exists."""
        self.directory = directory
        self.events: list[Event] = []
        self._show = show

    @classmethod
    def start(cls, runs: Path, *, show: Callable[[Event], None] = lambda _: None) -> "Run":
        """Make a directory named for the time (UTC), and a few letters: two runs never share it."""
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
        (runs / name).mkdir(parents=True)
        return cls(runs / name, show=show)

    @property
    def file(self) -> Path:
        """The file of events."""
        return self.directory / "events.jsonl"

    def record(self, node: str, phase: Phase, **more: str | None) -> None:
        """Append an event, unless it says what the node's last one said."""
        event = Event(time=datetime.now(UTC), node=node, phase=phase, **more)
        last = next((one for one in reversed(self.events) if one.node == node), None)
        if last is not None and _content(last) == _content(event):
            return
        self.events.append(event)
        with self.file.open("a") as file:
            file.write(json.dumps(event.as_json()) + "\n")
        self._show(event)


def _content(event: Event) -> dict[str, Any]:
    return {**event.as_json(), "time": None}
