"""The story of `provision nodes` against a cloud with state."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from atomic_baremetal.errors import CloudError
from provision import nodes as story
from provision.events import Run
from provision.known_hosts import KnownHosts
from provision.lease import Lease, NoFreeNode, TakenOtherwise, plan
from provision.node import Busy, Refused
from provision.order import Order
from provision.ssh import Answer
from tests.unit.provision.fakes import FakeClock, FakeCloud, FakeDelivery, FakeProber, order


class Stage:
    """Everything that the story needs, and what became of it."""

    def __init__(self, directory: Path, cloud: FakeCloud) -> None:
        self.cloud = cloud
        self.clock = FakeClock()
        self.prober = FakeProber()
        self.known_hosts = KnownHosts(directory / "known_hosts")
        self.directory = directory
        self.delivery: FakeDelivery | None = None

    def provision(
        self, wanted: Order, *, wait_s: float | None = 600, keep: bool = False
    ) -> list[Lease]:
        self.run = Run.start(self.directory / "runs")
        tools = story.Tools(
            baremetal=self.cloud,
            known_hosts=self.known_hosts,
            prober=self.prober,
            clock=self.clock,
            run=self.run,
            delivery=self.delivery,
        )
        return story.provision(wanted, tools, wait_s=wait_s, keep_on_failure=keep)

    def phases(self, host: str) -> list[str]:
        """The host's phases, each once, out of the file of events."""
        lines = [json.loads(line) for line in self.run.file.read_text().splitlines()]
        found = [line["phase"] for line in lines if line["node"] == host]
        return [phase for index, phase in enumerate(found) if phase not in found[:index]]


@pytest.fixture
def stage(tmp_path: Path) -> Callable[..., Stage]:
    return lambda *names, **common: Stage(tmp_path, FakeCloud(*names, **common))


def summary(leases: list[Lease]) -> list[tuple[str, str, str | None]]:
    return [(one.host_name, str(one.phase), one.error) for one in leases]


def test_two_nodes_to_ssh(stage: Callable[..., Stage]) -> None:
    here = stage("node-1", "node-2", "node-3")
    leases = here.provision(order("atomic-1", "atomic-2"))
    assert summary(leases) == [("atomic-1", "done", None), ("atomic-2", "done", None)]
    assert here.phases("atomic-1") == [
        "allocated",
        "deploying",
        "agent-booting",
        "writing",
        "finishing",
        "active",
        "booting",
        "ssh",
        "done",
    ]
    assert here.cloud.state("node-3") == "available"
    for one in leases:
        drive = here.cloud.drives[one.node.uuid]
        keys = yaml.safe_load(drive["user_data"])["ssh_keys"]
        pinned = here.known_hosts.key(one.node.uuid)
        assert pinned == keys["ed25519_public"] == here.prober.keys[one.address or ""]
        assert "PRIVATE" not in here.run.file.read_text()
        assert drive["meta_data"]["hostname"] == one.host_name
    assert here.known_hosts.key(leases[0].node.uuid) != here.known_hosts.key(leases[1].node.uuid)


def test_run_again_creates_nothing(stage: Callable[..., Stage]) -> None:
    here = stage("node-1", "node-2")
    first = here.provision(order("a", "b"))
    here.cloud.asked.clear()
    again = here.provision(order("a", "b"))
    assert [one.node.uuid for one in again] == [one.node.uuid for one in first]
    assert summary(again) == [("a", "done", None), ("b", "done", None)]
    assert not {"deploy", "set_instance", "delete_allocation"} & set(here.cloud.asked)


@pytest.mark.parametrize("looks", range(1, 5))
def test_a_killed_run_is_taken_up_again(stage: Callable[..., Stage], looks: int) -> None:
    """Kill it some looks after the request; the next run goes on with the same key."""

    class Killed(BaseException):
        pass

    here = stage("node-1")
    here.clock.at.append((2.0 * looks, lambda: (_ for _ in ()).throw(Killed())))
    with pytest.raises(Killed):
        here.provision(order("a"))
    key = here.known_hosts.key("uuid-of-node-1")
    here.cloud.asked.clear()
    assert summary(here.provision(order("a"))) == [("a", "done", None)]
    assert here.known_hosts.key("uuid-of-node-1") == key
    assert "deploy" not in here.cloud.asked


def test_a_run_killed_before_the_deploy_is_taken_up_again(stage: Callable[..., Stage]) -> None:
    here = stage("node-1")
    here.cloud.allocate("a", resource_class="baremetal", candidates=[])
    assert summary(here.provision(order("a"))) == [("a", "done", None)]


def test_a_failed_allocation_of_that_name_is_replaced(stage: Callable[..., Stage]) -> None:
    here = stage()
    here.cloud.allocate("a", resource_class="baremetal", candidates=[])
    here.cloud.add("node-1")
    assert summary(here.provision(order("a"))) == [("a", "done", None)]
    assert len(here.cloud.allocations) == 1


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        (
            {"image_id": "other", "provision_state": "active"},
            "a is there already, on node node-1, with another image (other) "
            "(release it first: provision release a)",
        ),
        (
            {"provision_state": "cleaning"},
            "a is there already, on node node-1, which is 'cleaning' "
            "(wait until it is over, or release it: provision release a)",
        ),
        (
            {"resource_class": "small"},
            "a is there already, on node node-1 of class 'small' "
            "(release it first: provision release a)",
        ),
        (
            {"image_id": "image-1", "provision_state": "active"},
            "a is deployed already, but its host key is not pinned here "
            "(it was deployed from elsewhere; release it first: provision release a)",
        ),
    ],
)
def test_a_host_that_is_something_else(
    stage: Callable[..., Stage], changes: dict[str, Any], error: str
) -> None:
    here = stage("node-1", "node-2")
    here.cloud.allocate("a", resource_class="baremetal", candidates=[])
    here.cloud.change("node-1", **changes)
    with pytest.raises(TakenOtherwise) as raised:
        here.provision(order("a", "b"))
    assert str(raised.value) == error
    assert [one.name for one in here.cloud.allocations.values()] == ["a"]


def test_all_or_none_are_taken(stage: Callable[..., Stage]) -> None:
    here = stage("node-1")
    here.cloud.add("node-2", maintenance=True)
    here.cloud.add("node-3", provision_state="active", instance_uuid="x")
    here.cloud.add("node-4", deploy_interface="direct")
    here.cloud.add("node-5", power_state=None)
    here.cloud.add("node-6", resource_class="other")
    with pytest.raises(NoFreeNode) as raised:
        here.provision(order("a", "b"))
    assert str(raised.value) == (
        "not enough free nodes of class 'baremetal': 2 wanted, 1 free; there: 1 active, "
        "1 available, 1 available with deploy interface 'direct', 1 available with unknown power "
        "state, 1 in maintenance (see provision list; add nodes: provision enroll; free one: "
        "provision release)"
    )
    assert not here.cloud.allocations


def test_somebody_takes_the_last_node_meanwhile(stage: Callable[..., Stage]) -> None:
    here = stage("node-1", "node-2")
    there = here.cloud.nodes

    def nodes(resource_class: str | None = None) -> Any:
        found = there(resource_class)
        here.cloud.change("node-2", maintenance=True)
        return found

    here.cloud.nodes = nodes  # type: ignore[method-assign]
    with pytest.raises(NoFreeNode):
        here.provision(order("a", "b"))
    assert not here.cloud.allocations
    assert here.cloud.state("node-1") == "available"
    assert not here.known_hosts.path.exists()


@pytest.mark.parametrize("outcome", ["error", "allocating"])
def test_an_allocation_that_got_lost_is_asked_for_again(
    stage: Callable[..., Stage], outcome: str
) -> None:
    here = stage("node-1", "node-2")
    here.cloud.outcomes = [outcome] * 3
    assert summary(here.provision(order("a", "b"))) == [("a", "done", None), ("b", "done", None)]
    assert len(here.cloud.allocations) == 2


def test_allocations_that_get_lost_for_ever(stage: Callable[..., Stage]) -> None:
    here = stage("node-1", "node-2")
    here.cloud.outcomes = ["error"] * 9
    with pytest.raises(CloudError) as raised:
        here.provision(order("a"))
    assert str(raised.value) == (
        "Ironic gives no node for a, though there is one; last seen: database is locked"
    )
    assert not here.cloud.allocations


def test_one_that_fails_does_not_take_the_others_down(stage: Callable[..., Stage]) -> None:
    here = stage("node-1", "node-2")
    here.cloud.failing["uuid-of-node-1"] = "disk on fire"
    leases = here.provision(order("a", "b"))
    assert summary(leases) == [("a", "failed", "Ironic: disk on fire"), ("b", "done", None)]
    assert here.cloud.state("node-2") == "active"
    assert here.cloud.state("node-1") in ("cleaning", "available")
    assert [one.name for one in here.cloud.allocations.values()] == ["b"]
    assert here.known_hosts.key("uuid-of-node-1") is None
    assert here.phases("a")[-2:] == ["failed", "released"]


def test_a_failed_node_can_be_kept_and_deployed_again(stage: Callable[..., Stage]) -> None:
    here = stage("node-1")
    here.cloud.failing["uuid-of-node-1"] = "disk on fire"
    here.provision(order("a"), keep=True)
    assert here.cloud.state("node-1") == "deploy failed"
    assert here.known_hosts.key("uuid-of-node-1") is not None
    here.cloud.failing.clear()
    assert summary(here.provision(order("a"))) == [("a", "done", None)]


def test_a_wrong_host_key_fails_at_once(stage: Callable[..., Stage]) -> None:
    here = stage("node-1")
    here.prober = FakeProber(**{"192_0_2_11": [Answer.NOT_YET, Answer.WRONG_KEY]})
    (one,) = here.provision(order("a"))
    assert one.error == (
        "saw wrong key at 192.0.2.11 port 22: this is not the host that was deployed"
    )
    assert here.clock.seconds < 60


def test_the_limit_says_what_was_seen_last(stage: Callable[..., Stage]) -> None:
    here = stage("node-1", "node-2", last_error="an old story")
    here.prober = FakeProber(**{"192_0_2_12": [Answer.NOT_YET]})
    leases = here.provision(order("a", "b"), wait_s=90)
    assert summary(leases) == [
        ("a", "done", None),
        (
            "b",
            "failed",
            "not ready within 90 seconds; phase booting, node node-2; last seen: ssh at "
            "192.0.2.12 port 22: saw not yet at 192.0.2.12 port 22",
        ),
    ]
    assert here.cloud.state("node-1") == "active"
    assert here.known_hosts.key("uuid-of-node-2") is None


def test_a_busy_ironic_is_asked_again(stage: Callable[..., Stage]) -> None:
    here = stage("node-1")
    here.cloud.raises["deploy"] = [Busy("no free worker") for _ in range(4)]
    assert summary(here.provision(order("a"))) == [("a", "done", None)]
    assert here.cloud.asked.count("deploy") == 5
    assert here.clock.seconds >= 2 + 4 + 8 + 16


def test_a_refused_deploy_fails(stage: Callable[..., Stage]) -> None:
    here = stage("node-1")
    here.cloud.raises["deploy"] = [Refused("Ironic refused: image_source is missing")]
    (one,) = here.provision(order("a"))
    assert one.error == "Ironic refused: image_source is missing"
    assert here.cloud.state("node-1") == "available"
    assert here.cloud.machines["uuid-of-node-1"].image_id is None
    assert not here.cloud.allocations


def test_a_short_silence_of_ironic_is_sat_out(stage: Callable[..., Stage]) -> None:
    here = stage("node-1")
    here.clock.at.append((4, lambda: here.cloud.raises.update(nodes=[CloudError("gone")] * 20)))
    assert summary(here.provision(order("a"))) == [("a", "done", None)]


def test_a_long_silence_of_ironic_ends_the_run(stage: Callable[..., Stage]) -> None:
    here = stage("node-1")
    here.clock.at.append((4, lambda: here.cloud.raises.update(nodes=[CloudError("gone")] * 70)))
    with pytest.raises(CloudError, match="gone"):
        here.provision(order("a"))
    assert here.cloud.state("node-1") in ("cleaning", "available")


@pytest.mark.parametrize("second", range(0, 14, 2))
def test_an_interrupt_gives_back_whatever_was_taken(
    stage: Callable[..., Stage], second: int
) -> None:
    here = stage("node-1", "node-2")
    here.clock.at.append((second + 0.5, lambda: (_ for _ in ()).throw(KeyboardInterrupt())))
    here.prober = FakeProber(**{"192_0_2_11": [Answer.NOT_YET]})
    with pytest.raises(KeyboardInterrupt):
        here.provision(order("a", "b"))
    assert not here.cloud.allocations
    assert {here.cloud.state(name) for name in ("node-1", "node-2")} <= {"cleaning", "available"}
    assert "uuid-of" not in here.known_hosts.path.read_text()


def test_what_was_there_before_is_never_given_back(stage: Callable[..., Stage]) -> None:
    here = stage("node-1", "node-2", "node-3")
    here.provision(order("a"))
    # interrupted while b boots
    here.prober = FakeProber(**{"192_0_2_12": [Answer.NOT_YET]})
    here.clock.at.append(
        (here.clock.seconds + 20, lambda: (_ for _ in ()).throw(KeyboardInterrupt()))
    )
    with pytest.raises(KeyboardInterrupt):
        here.provision(order("a", "b"))
    assert [one.name for one in here.cloud.allocations.values()] == ["a"]
    # a fails, in a later run
    here.prober = FakeProber(**{"192_0_2_11": [Answer.WRONG_KEY]})
    (one,) = here.provision(order("a"))
    assert one.error is not None
    assert here.cloud.state("node-1") == "active"
    assert here.known_hosts.key("uuid-of-node-1") is not None


def test_an_interrupt_in_an_allocation_leaves_none(stage: Callable[..., Stage]) -> None:
    here = stage("node-1", "node-2")
    there = here.cloud.allocate

    def allocate(name: str, **more: Any) -> Any:
        there(name, **more)
        if name == "b":
            raise KeyboardInterrupt

    here.cloud.allocate = allocate  # type: ignore[assignment, method-assign]
    with pytest.raises(KeyboardInterrupt):
        here.provision(order("a", "b"))
    assert not here.cloud.allocations


def test_the_allocation_of_somebody_faster_is_not_deleted(stage: Callable[..., Stage]) -> None:
    here = stage("node-1", "node-2")
    there = here.cloud.allocate

    def allocate(name: str, **more: Any) -> Any:
        there(name, **more)
        return there(name, **more)

    here.cloud.allocate = allocate  # type: ignore[method-assign]
    with pytest.raises(Busy):
        here.provision(order("a"))
    assert [one.name for one in here.cloud.allocations.values()] == ["a"]


def test_a_second_interrupt_names_what_is_left(
    stage: Callable[..., Stage], caplog: pytest.LogCaptureFixture
) -> None:
    here = stage("node-1")
    for second in (10.5, 12.5):
        here.clock.at.append((second, lambda: (_ for _ in ()).throw(KeyboardInterrupt())))
    here.prober = FakeProber(**{"192_0_2_11": [Answer.NOT_YET]})
    with pytest.raises(KeyboardInterrupt):
        here.provision(order("a"))
    assert "stopped; not given back yet: provision release a" in caplog.text


def test_without_waiting_it_leaves_when_ironic_has_accepted(stage: Callable[..., Stage]) -> None:
    here = stage("node-1")
    (one,) = here.provision(order("a"), wait_s=None)
    assert (str(one.phase), one.error) == ("deploying", None)
    assert here.cloud.state("node-1") == "deploying"


def test_no_address_is_an_error_with_a_way_out(stage: Callable[..., Stage]) -> None:
    here = stage("node-1", address=None)
    (one,) = here.provision(order("a"))
    assert one.error == (
        "no address is known for node node-1: write it down with "
        "openstack baremetal node set node-1 --extra address=ADDRESS"
    )


def test_the_address_that_the_ramdisk_reported_is_remembered(stage: Callable[..., Stage]) -> None:
    """Ironic forgets where the agent was when the deploy is over."""
    here = stage("node-1", address=None)
    here.clock.at.append((3, lambda: here.cloud.change("node-1", address="192.0.2.99")))
    here.clock.at.append((5, lambda: here.cloud.change("node-1", address=None)))
    (one,) = here.provision(order("a"))
    assert (one.error, one.address) == (None, "192.0.2.99")


def test_candidates_and_interfaces_limit_the_choice(stage: Callable[..., Stage]) -> None:
    here = stage("node-1", deploy_interface="direct")
    here.cloud.add("node-2")
    here.cloud.add("node-3")
    leases = here.provision(order("a", "b"))
    assert {one.node.name for one in leases} == {"node-2", "node-3"}
    assert plan(order("a", "b", candidates=("node-1", "node-3")), here.cloud)[0].phase == "active"
    with pytest.raises(NoFreeNode, match="0 free; there: 2 active, 1 available with deploy"):
        plan(order("c", candidates=("node-1", "node-3")), here.cloud)


def test_a_plan_changes_nothing(stage: Callable[..., Stage]) -> None:
    here = stage("node-1", "node-2", "b")
    planned = plan(order("a", "b"), here.cloud)
    assert [(one.host_name, one.node.label, one.phase) for one in planned] == [
        ("a", "b", None),
        ("b", "node-1", None),
    ]
    assert not here.cloud.allocations
    assert set(here.cloud.asked) == {"nodes", "allocation"}


def test_services_come_after_ssh_and_before_done(stage: Callable[..., Stage]) -> None:
    here = stage("node-1", "node-2")
    here.delivery = FakeDelivery()
    here.prober = FakeProber(**{"192_0_2_12": [Answer.NOT_YET] * 3 + [Answer.VERIFIED]})
    leases = here.provision(order("a", "b"))
    assert summary(leases) == [("a", "done", None), ("b", "done", None)]
    assert here.phases("a")[-3:] == ["ssh", "services", "done"]
    # one that is ready does not wait for one that is not
    assert here.delivery.batches == [["a"], ["b"]]


def test_a_host_whose_services_fail_has_failed(stage: Callable[..., Stage]) -> None:
    here = stage("node-1", "node-2")
    here.delivery = FakeDelivery(b="services: db: it did not come up")
    leases = here.provision(order("a", "b"))
    assert summary(leases) == [
        ("a", "done", None),
        ("b", "failed", "services: db: it did not come up"),
    ]
    assert here.phases("b")[-3:] == ["services", "failed", "released"]
    assert [one.name for one in here.cloud.allocations.values()] == ["a"]


def test_a_host_whose_services_fail_can_be_kept(stage: Callable[..., Stage]) -> None:
    here = stage("node-1")
    here.delivery = FakeDelivery(a="services: db: it did not come up")
    assert summary(here.provision(order("a"), keep=True))[0][1] == "failed"
    assert here.cloud.state("node-1") == "active"
    here.delivery = FakeDelivery()
    assert summary(here.provision(order("a"))) == [("a", "done", None)]


def test_services_count_into_the_limit(stage: Callable[..., Stage]) -> None:
    here = stage("node-1")
    here.delivery = FakeDelivery(looks=1000)
    (one,) = here.provision(order("a"), wait_s=90)
    assert one.error == (
        "not ready within 90 seconds; phase services, node node-1; last seen: its services were "
        "not done"
    )
