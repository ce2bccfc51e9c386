"""Word how a start or a stop on a node ended."""

import base64
import json
from typing import Any

import pytest

from provision.services.host import Outcome
from provision.services.node import outcome
from provision.services.node.answers import Answer, Unreadable


def printed(**parts: str) -> bytes:
    lines = [
        f"{name} 0 {base64.b64encode(text.encode()).decode()} \n" for name, text in parts.items()
    ]
    return ("".join(lines) + "end\n").encode()


def show(**properties: str) -> str:
    known = {"LoadState": "loaded", "ActiveState": "failed", "SubState": "failed", **properties}
    return "".join(f"{key}={value}\n" for key, value in known.items())


def health(failures: int, *outputs: str, key: str = "Health") -> str:
    log = [{"Output": one} for one in outputs]
    return json.dumps({"Status": "running", key: {"FailingStreak": failures, "Log": log}})


def journal(*entries: dict[str, Any]) -> str:
    return "".join(f"{json.dumps(entry)}\n" for entry in entries)


@pytest.mark.parametrize("how", ["up", "down", "removed"])
def test_what_went_well(how: str) -> None:
    assert outcome.parse(printed(outcome=how), "p-web", timeout_s=5) == Outcome(ok=True, said=how)


@pytest.mark.parametrize(
    ("how", "parts", "said"),
    [
        (
            "failed",
            {"show": show(Result="exit-code", ExecMainStatus="3")},
            "p-web failed: exit status 3",
        ),
        (
            "failed",
            {"show": show(Result="signal", ExecMainStatus="9")},
            "p-web failed: killed by signal 9",
        ),
        (
            "failed",
            {
                "show": show(Result="exit-code", ExecMainStatus="0"),
                "health": health(1, "a", " b\n"),
            },
            "p-web failed: its health check failed once: b; a command of its unit failed",
        ),
        (
            "failed",
            {"show": show(Result="timeout"), "health": health(3, "", key="Healthcheck")},
            "p-web failed: its health check failed 3 times: it said nothing; "
            "it did not report that it was up in the time its unit gives it",
        ),
        ("failed", {"show": show(Result="new-word")}, "p-web failed: new-word"),
        (
            "failed",
            {"said": "Failed to connect to bus\n"},
            "p-web failed: Failed to connect to bus",
        ),
        ("failed", {}, "p-web failed: unknown (unknown)"),
        (
            "failed",
            {"show": show(LoadState="not-found"), "generator": "x\nconverting web: bad Key\n"},
            "systemd has no unit p-web: converting web: bad Key",
        ),
        ("failed", {"show": show(LoadState="not-found")}, "systemd has no unit p-web"),
        (
            "fell",
            {"show": show(Result="exit-code", ExecMainStatus="3", SubState="auto-restart")},
            "p-web came up and went down at once: exit status 3",
        ),
        (
            "fell",
            {"show": show(Result="success", ExecMainStatus="0")},
            "p-web came up and went down at once: exit status 0",
        ),
        (
            "late",
            {
                "show": show(ActiveState="activating", SubState="start-post"),
                "health": health(2, "no \x1b[31mroute\x07"),
            },
            "p-web is activating (start-post) after 7.5 seconds: "
            "its health check failed 2 times: no [31mroute",
        ),
        ("late", {"show": show(), "health": "{"}, "p-web is failed (failed) after 7.5 seconds"),
        (
            "late",
            {"show": show(), "health": health(0)},
            "p-web is failed (failed) after 7.5 seconds",
        ),
    ],
)
def test_what_failed(how: str, parts: dict[str, str], said: str) -> None:
    found = outcome.parse(printed(outcome=how, **parts), "p-web", timeout_s=7.5)
    assert found == Outcome(ok=False, said=said)


def test_the_journal_is_plain_text_without_podmans_events() -> None:
    entries = journal(
        {"MESSAGE": "one\ttab\x1b[1m\x07"},
        {"MESSAGE": "2026 container create", "PODMAN_EVENT": "create"},
        {"MESSAGE": [0xC3, 0xA9, 0xFF, 0x0A, 0x78]},
        {"MESSAGE": None},
        {"MESSAGE": ["two", "three"]},
        {},
    )
    found = {"journal": Answer(output=entries.encode() + b'{"MESSAGE": "cut o')}
    assert outcome.journal(found) == [
        "one\ttab[1m",
        "é\N{REPLACEMENT CHARACTER}",
        "x",
        "two",
        "three",
    ]


def test_only_the_last_lines_are_kept() -> None:
    entries = journal(*({"MESSAGE": str(number)} for number in range(50)))
    found = outcome.parse(printed(outcome="failed", journal=entries), "p-web", timeout_s=5)
    assert found.log == tuple(str(number) for number in range(30, 50))


def test_an_answer_without_an_outcome_is_unreadable() -> None:
    with pytest.raises(Unreadable, match=r"^it does not say how that ended$"):
        outcome.parse(b"end\n", "p-web", timeout_s=5)
