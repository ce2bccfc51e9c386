"""Draw the events of a run: a live table on a terminal, a line a change elsewhere."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table

from atomic_baremetal import output
from provision.events import Event

LOG = logging.getLogger(__name__)


class Lines:
    """Say each event in one line, as narration."""

    def show(self, event: Event) -> None:
        """Log the event."""
        LOG.info("%s", line(event))


class LiveTable:
    """Keep a table of the last event of each node, with the time since then."""

    def __init__(self) -> None:
        """Start with no node."""
        self._last: dict[str, Event] = {}

    def show(self, event: Event) -> None:
        """Take the event in; it is drawn at the next refresh."""
        self._last[event.node] = event

    def table(self) -> Table:
        """Draw the table as it is now."""
        now = time.time()
        return output.rows(
            ("NODE", "ON", "PHASE", "SECONDS", "WAITING FOR"),
            [
                (
                    event.node,
                    event.ironic_node,
                    event.phase,
                    int(now - event.time.timestamp()),
                    event.waiting_for or event.detail,
                )
                for event in self._last.values()
            ],
        )


def line(event: Event) -> str:
    """Word an event: `atomic-1 on node-1: writing (waiting for the image to be written)`."""
    where = f"{event.node} on {event.ironic_node}" if event.ironic_node else event.node
    more = f": {event.detail}" if event.detail else ""
    more += f" (waiting for {event.waiting_for})" if event.waiting_for else ""
    return f"{where}: {event.phase}{more}"


@contextmanager
def screen(console: Console | None = None) -> Iterator[Lines | LiveTable]:
    """Choose what draws: a table on a terminal, unless narration is off or detailed; else lines."""
    console = output.console() if console is None else console
    narration = logging.getLogger("provision").getEffectiveLevel()
    if not console.is_terminal or console.is_dumb_terminal or narration != logging.INFO:
        yield Lines()
        return
    drawn = LiveTable()
    services = logging.getLogger("provision.services")
    before = services.level
    services.setLevel(logging.WARNING)  # their narration would run through the table
    try:
        with Live(
            get_renderable=drawn.table, console=console, refresh_per_second=2, redirect_stdout=False
        ):
            yield drawn
    finally:
        services.setLevel(before)
