"""The story of `provision enroll` against a registry with state."""

from dataclasses import replace

import pytest

from atomic_baremetal.errors import CloudError
from provision.enroll import Enrolment, enroll
from provision.inventory import Machine
from provision.node import Busy
from tests.unit.provision.fakes import FakeClock, FakeRegistry

ONE = Machine(name="one", driver="ssh", macs=("52:54:00:00:00:01",))
TWO = Machine(name="two", driver="ssh")


def run(registry: FakeRegistry, *machines: Machine, limit_s: float = 60) -> list[Enrolment]:
    return enroll(machines or (ONE, TWO), registry, FakeClock(), limit_s=limit_s)


def summary(done: list[Enrolment]) -> list[tuple[str, str, str | None]]:
    return [(one.did, one.state, one.error) for one in done]


def test_new_nodes_become_available() -> None:
    registry = FakeRegistry()
    assert summary(run(registry)) == [("created", "available", None)] * 2
    assert registry.ports == {"52:54:00:00:00:01": "uuid-of-one"}


def test_again_changes_nothing_but_what_differs() -> None:
    registry = FakeRegistry()
    run(registry)
    assert summary(run(registry)) == [("unchanged", "available", None)] * 2
    with_port = replace(TWO, macs=("52:54:00:00:00:02",))
    assert (
        summary(run(registry, replace(ONE, resource_class="x"), with_port))
        == [("updated", "available", None)] * 2
    )


def test_a_node_in_use_is_left_in_peace() -> None:
    registry = FakeRegistry()
    run(registry, ONE)
    registry.machines["one"] = replace(registry.machines["one"], provision_state="active")
    assert summary(run(registry, ONE)) == [("unchanged", "active", None)]


@pytest.mark.parametrize(
    ("verb", "error"),
    [
        ("manage", "Ironic cannot manage it; Ironic: no route to host"),
        ("provide", "Ironic cannot clean it; Ironic: no route to host"),
    ],
)
def test_what_fails_is_removed_and_the_others_stay(verb: str, error: str) -> None:
    registry = FakeRegistry()
    registry.cannot["one"] = (verb, "no route to host")
    registry.raises["remove"] = [Busy("locked")]
    assert summary(run(registry)) == [
        ("removed", "removed", error),
        ("created", "available", None),
    ]
    assert set(registry.machines) == {"two"}


def test_a_node_that_was_there_before_is_not_removed() -> None:
    registry = FakeRegistry()
    run(registry, ONE)
    registry.machines["one"] = replace(registry.machines["one"], provision_state="enroll")
    registry.cannot["one"] = ("manage", "no route to host")
    (one,) = run(registry, ONE)
    assert one.error == "Ironic cannot manage it; Ironic: no route to host"
    assert set(registry.machines) == {"one"}


def test_the_limit_says_the_state() -> None:
    registry = FakeRegistry()
    run(registry, ONE)
    registry.machines["one"] = replace(registry.machines["one"], provision_state="clean wait")
    (one,) = run(registry, ONE, limit_s=5)
    assert one.error == "not available within 5 seconds: it is 'clean wait'"


def test_a_service_that_is_down_is_one_error_before_anything_is_written() -> None:
    registry = FakeRegistry()
    registry.raises["node"] = [CloudError("Ironic cannot be reached")]
    with pytest.raises(CloudError, match="Ironic cannot be reached"):
        run(registry)
    assert not registry.written


def test_an_interrupt_removes_what_is_not_finished() -> None:
    registry = FakeRegistry()
    registry.cannot["two"] = ("manage", "x")
    clock = FakeClock()
    clock.at.append((1.5, lambda: (_ for _ in ()).throw(KeyboardInterrupt())))
    with pytest.raises(KeyboardInterrupt):
        enroll([ONE, TWO], registry, clock, limit_s=60)
    assert not {"two"} & set(registry.machines)
