"""Recording and drawing what happens."""

import io
import json
import logging
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from provision.events import Event, Phase, Run
from provision.screen import Lines, LiveTable, line, screen

EVENT = Event(
    time=datetime(2026, 11, 20, 14, 5, 6, 789_012, UTC),
    node="atomic-1",
    phase=Phase.WRITING,
    waiting_for="the image to be written",
    ironic_node="node-1",
    uuid="u",
)


def test_an_event_as_json() -> None:
    assert EVENT.as_json() == {
        "time": "2026-11-20T14:05:06.789Z",
        "node": "atomic-1",
        "phase": "writing",
        "waiting_for": "the image to be written",
        "ironic_node": "node-1",
        "uuid": "u",
        "detail": None,
    }


def test_a_run_appends_changes_only(tmp_path: Path) -> None:
    shown: list[Event] = []
    run = Run.start(tmp_path / "runs", show=shown.append)
    other = Run.start(tmp_path / "runs")
    assert run.directory != other.directory
    for node, phase, waiting_for in (
        ("a", Phase.BOOTING, "x"),
        ("b", Phase.BOOTING, "x"),
        ("a", Phase.BOOTING, "x"),
        ("a", Phase.BOOTING, "y"),
        ("a", Phase.BOOTING, "x"),
    ):
        run.record(node, phase, waiting_for=waiting_for)
    lines = [json.loads(text) for text in run.file.read_text().splitlines()]
    assert [(one["node"], one["waiting_for"]) for one in lines] == [
        ("a", "x"),
        ("b", "x"),
        ("a", "y"),
        ("a", "x"),
    ]
    assert [one.as_json() for one in shown] == lines


def test_an_event_in_one_line() -> None:
    assert line(EVENT) == "atomic-1 on node-1: writing (waiting for the image to be written)"
    failed = Event(time=EVENT.time, node="a", phase=Phase.FAILED, detail="why")
    assert line(failed) == "a: failed: why"


@pytest.mark.parametrize(
    ("terminal", "level", "kind"),
    [
        (True, logging.INFO, LiveTable),
        (True, logging.ERROR, Lines),
        (True, logging.DEBUG, Lines),
        (False, logging.INFO, Lines),
    ],
)
def test_a_table_on_a_terminal_and_lines_elsewhere(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, level: int, kind: type
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    logger = logging.getLogger("provision")
    monkeypatch.setattr(logger, "level", level)
    logger.manager._clear_cache()  # type: ignore[attr-defined]
    stream = io.StringIO()
    with screen(Console(file=stream, force_terminal=terminal, width=120)) as drawn:
        assert type(drawn) is kind
        drawn.show(EVENT)
    assert ("writing" in stream.getvalue()) is (kind is LiveTable)
