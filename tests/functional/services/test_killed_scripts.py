"""Kill the scripts for nodes at every step that changes something, as a power cut would.

The node is a directory (see the unit tests of these scripts); what a real one makes of a few such
cuts is in test_ssh_host.py.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from provision.services.host import Install
from provision.services.node import outcome
from provision.services.node.delivery import pack
from tests.unit.provision.services.node.node_scripts import Done, Node

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 and "CI" not in os.environ, reason="the scripts are for root"
)
SECRET = "p-password-0123456789abcdef"
START = ("web", "5", "0")
MOST = 200  # steps; to end when something is wrong


def unit(note: str) -> str:
    return f"[Service]\nExecStart=/bin/x\n[X-Provision]\nProject=p\nService=web\nNote={note}\n"


ONE, TWO = unit("abc"), unit("def")
OLD = Install(project="p", units={"web": ONE}, configs={"web": {"abc": {"a": (b"1", 0o444)}}})
NEW = Install(
    project="p",
    units={"web": TWO},
    configs={"web": {"def": {"a": (b"2", 0o444), "b": (b"3", 0o444)}}},
    secrets={SECRET: b"x"},
)


def install(node: Node, what: Install, *, kill_at: int | None = None) -> Done:
    return node.run("install", data=pack(what), kill_at=kill_at)


def start(node: Node) -> None:
    assert outcome.parse(node.run("restart", *START).output, "p-web", timeout_s=5).ok


def restore(node: Node, way: str, *, kill_at: int | None = None) -> Done:
    return node.run("restore", "web", way, "5", "0", kill_at=kill_at)


@pytest.fixture
def running(tmp_path: Path) -> Node:
    """A node where the first unit is up."""
    node = Node(tmp_path / "first")
    assert install(node, OLD).status == 0
    start(node)
    return node


def at_every_step(
    node: Node, run: Callable[[Node, int], Done], check: Callable[[Node], None]
) -> int:
    """Kill a script at each of its steps, each time on a copy of a node; return how many it has."""
    for step in range(1, MOST):
        copy = Node(node.top.with_name(f"step-{step}"), like=node)
        done = run(copy, step)
        assert done.status in (0, -signal.SIGKILL), (step, done)
        print(f"step {step} of {(copy.fake / 'count').read_text().strip()}: {done.status}")
        check(copy)
        if done.status == 0:
            return step
    raise AssertionError(f"more than {MOST} steps")


def test_a_killed_install_is_seen_and_repaired_by_the_next(running: Node) -> None:
    def check(node: Node) -> None:
        there = node.service()
        if there.unit == there.current == TWO:  # taken for done: it has to be done
            assert set(there.configs) >= {"def/a", "def/b"}
            assert there.enabled
            assert (node.fake / "loaded" / "p-web").read_text() == TWO
            assert (there.previous, node.secrets()) == (ONE, {SECRET: b"x"})
        assert install(node, NEW).status == 0
        there = node.service()
        assert (there.unit, there.current, there.previous) == (TWO, TWO, ONE)
        assert set(there.configs) == {"abc/a", "def/a", "def/b"}
        assert {state.mode for state in there.configs.values()} == {0o444}
        assert node.secrets() == {SECRET: b"x"}
        assert (node.fake / "loaded" / "p-web").read_text() == TWO
        assert not list((node.top / "run").iterdir())
        assert not (node.top / "state" / "p" / ".new").exists()

    steps = at_every_step(running, lambda node, step: install(node, NEW, kill_at=step), check)
    assert steps > 30


@pytest.mark.parametrize("way", ["back", "swap"])
def test_a_killed_restore_ends_where_it_was_going(running: Node, way: str) -> None:
    def check(node: Node) -> None:
        there = node.service()
        assert {there.current, there.previous} <= {ONE, TWO, None}
        if TWO in (there.current, there.unit):
            assert restore(node, way).status == 0
            there = node.service()
        wanted = (ONE, ONE, TWO if way == "swap" else None)
        assert (there.unit, there.current, there.previous) == wanted

    assert install(running, NEW).status == 0
    if way == "swap":
        start(running)
    steps = at_every_step(running, lambda node, step: restore(node, way, kill_at=step), check)
    assert steps > 10


def test_a_killed_removal_is_finished_by_the_next(running: Node) -> None:
    def check(node: Node) -> None:
        if there := node.observe().services:
            assert node.run("remove", "5", *there).status == 0
        assert not (node.fake / "up" / "p-web").exists()
        found = node.observe()
        assert found.services == {}
        if found.secrets:  # nobody names them: the next tidy takes them
            assert node.run("tidy").status == 0
            assert node.observe().secrets == frozenset()

    assert install(running, NEW).status == 0
    steps = at_every_step(
        running, lambda node, step: node.run("remove", "5", "web", kill_at=step), check
    )
    assert steps > 5
