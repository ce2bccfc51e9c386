"""In which order steps are taken, and how many nodes are in hand."""

import signal
import threading
import time
from collections.abc import Mapping, Sequence

import pytest

from provision.services.order import Step
from provision.services.rollout import Rollout, walk


def steps(*words: str) -> list[Step]:
    return [Step(host=word[0], service=word[1:]) for word in words]


def rollout(
    words: Sequence[str], *, serial: int, needs: Mapping[str, Sequence[str]] | None = None
) -> Rollout:
    def needed(step: Step) -> list[Step]:
        return steps(*(needs or {}).get(f"{step.host}{step.service}", ()))

    return Rollout(steps(*words), needs=needed, serial=serial)


def order(one: Rollout) -> list[str]:
    """Take steps until none is left, each over before the next; name them."""
    taken = []
    while (step := one.next()) is not None:
        taken.append(f"{step.host}{step.service}")
        one.over(step)
    return taken


def test_a_node_is_finished_before_the_next() -> None:
    assert order(rollout(["a1", "a2", "b1", "b2"], serial=1)) == ["a1", "a2", "b1", "b2"]


def test_one_that_needs_another_nodes_brings_that_one_forward() -> None:
    one = rollout(["a1", "a2", "b1", "b2"], serial=1, needs={"a2": ["b2"], "b2": ["b1"]})
    assert order(one) == ["a1", "b1", "b2", "a2"]


def test_what_is_not_part_of_it_is_not_waited_for() -> None:
    assert order(rollout(["a1"], serial=1, needs={"a1": ["z9"]})) == ["a1"]


def test_so_many_nodes_are_in_hand() -> None:
    one = rollout(["a1", "a2", "b1", "b2", "c1"], serial=2)
    first, second = one.next(), one.next()
    assert [first, second] == steps("a1", "b1")
    assert one.next() is None  # a and b are busy, and c would be the third
    assert second is not None
    one.over(second)
    assert [one.next(), one.next()] == [*steps("b2"), None]


def test_one_step_of_a_node_at_a_time() -> None:
    one = rollout(["a1", "a2"], serial=5)
    assert [one.next(), one.next()] == [*steps("a1"), None]


def test_nothing_is_begun_after_a_failure() -> None:
    one = rollout(["a1", "b1", "c1"], serial=1)
    done = []

    def do(step: Step) -> bool:
        done.append(step.host)
        return step.host != "b"

    walk(one, do, at_once=1)
    assert done == ["a", "b"]
    assert one.left == steps("c1")


def test_those_in_hand_are_finished_after_a_failure() -> None:
    one = rollout(["a1", "b1", "c1"], serial=2)
    failed, done = threading.Event(), []

    def do(step: Step) -> bool:
        if step.host == "a":
            assert failed.wait(10)
            time.sleep(0.05)
        else:
            failed.set()
        done.append(step.host)
        return step.host == "a"

    walk(one, do, at_once=2)
    assert done == ["b", "a"]
    assert one.left == steps("c1")


def interrupt() -> None:
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGINT)


def test_a_second_interrupt_does_not_wait(caplog: pytest.LogCaptureFixture) -> None:
    heard = threading.Event()

    def do(step: Step) -> bool:
        interrupt()
        while not caplog.messages:
            time.sleep(0.01)
        interrupt()
        heard.wait(10)
        return True

    with pytest.raises(KeyboardInterrupt):
        walk(rollout(["a1", "b1"], serial=1), do, at_once=1)
    heard.set()
    assert caplog.messages == [
        "interrupted: finishing 1 on a; Ctrl-C again leaves it as it is",
        "left as it is just now: 1 on a",
    ]
