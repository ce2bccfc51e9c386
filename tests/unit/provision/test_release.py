"""Giving nodes back."""

from pathlib import Path

import pytest

from atomic_baremetal.errors import CloudError
from provision.known_hosts import KnownHosts
from provision.lookup import LookupFailed, find
from provision.node import Allocation, Busy, Refused
from provision.release import Claim, Release, Returned, find_claims
from tests.unit.provision.fakes import FakeClock, FakeCloud


@pytest.fixture
def cloud() -> FakeCloud:
    """A cloud where host `a` runs on node-1, and node-2 is free."""
    cloud = FakeCloud("node-1", "node-2")
    cloud.allocate("a", resource_class="baremetal", candidates=["node-1"])
    cloud.change("node-1", provision_state="active", host_name="a", image_id="image-1")
    return cloud


def release(
    cloud: FakeCloud, path: Path, *names: str, limit_s: float = 100, until_available: bool = True
) -> list[tuple[str, bool, str]]:
    hosts = KnownHosts(path / "known_hosts")
    hosts.pin("uuid-of-node-1", "ssh-ed25519 AAAA")
    hosts.pin("another", "ssh-ed25519 BBBB")
    claims, errors = find_claims(cloud, names)
    assert not errors
    reported: list[Returned] = []
    work = Release(
        cloud, hosts, FakeClock(), until_available=until_available, report=reported.append
    )
    done = work.run(claims, limit_s=limit_s)
    assert set(map(id, reported)) == set(map(id, done))
    assert hosts.key("another") == "ssh-ed25519 BBBB"
    return [(one.claim.name, one.ok, one.said) for one in done]


@pytest.mark.parametrize("name", ["a", "node-1", "uuid-of-node-1", "allocation-1"])
def test_by_any_name(cloud: FakeCloud, tmp_path: Path, name: str) -> None:
    assert release(cloud, tmp_path, name) == [("a", True, "given back (node node-1 is available)")]
    assert cloud.state("node-1") == "available"
    assert not cloud.allocations
    assert KnownHosts(tmp_path / "known_hosts").key("uuid-of-node-1") is None


def test_names_of_one_node_count_once(cloud: FakeCloud, tmp_path: Path) -> None:
    assert len(release(cloud, tmp_path, "a", "node-1", "node-2")) == 2
    assert cloud.asked.count("undeploy node-1") == 1


def test_what_is_free_already_is_fine(cloud: FakeCloud, tmp_path: Path) -> None:
    assert release(cloud, tmp_path, "node-2") == [
        ("node-2", True, "given back (node node-2 is available)")
    ]


def test_a_claim_that_never_ran(cloud: FakeCloud, tmp_path: Path) -> None:
    cloud.change("node-1", provision_state="available")
    assert release(cloud, tmp_path, "a") == [("a", True, "given back (node node-1 is available)")]
    assert not cloud.allocations
    assert cloud.machines["uuid-of-node-1"].image_id is None
    assert KnownHosts(tmp_path / "known_hosts").key("uuid-of-node-1") is None


def test_a_claim_without_a_node(cloud: FakeCloud, tmp_path: Path) -> None:
    cloud.allocations["x"] = Allocation(uuid="x", name="lost", state="error")
    assert release(cloud, tmp_path, "lost") == [("lost", True, "given back")]
    assert "x" not in cloud.allocations


def test_without_waiting_for_cleaning(cloud: FakeCloud, tmp_path: Path) -> None:
    assert release(cloud, tmp_path, "a", until_available=False) == [
        ("a", True, "given back (node node-1 is being cleaned)")
    ]
    assert KnownHosts(tmp_path / "known_hosts").key("uuid-of-node-1") is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"maintenance": True, "maintenance_reason": "fan"},
            "node node-1 is in maintenance (fan) (take it out first: openstack baremetal node "
            "maintenance unset node-1)",
        ),
        (
            {"protected": True},
            "node node-1 is protected from being torn down (lift it first: openstack baremetal "
            "node unset --protected node-1)",
        ),
        (
            {"provision_state": "clean failed", "last_error": "no disk"},
            "node node-1 could not be cleaned; Ironic: no disk (repair it, then: openstack "
            "baremetal node manage node-1)",
        ),
        (
            {"provision_state": "deploying", "last_error": "slow"},
            "not given back within 100 seconds; last seen: node node-1 is 'deploying', "
            "Ironic: slow",
        ),
    ],
)
def test_what_cannot_be_given_back(
    cloud: FakeCloud, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    """The others are given back all the same."""
    cloud.change("node-1", **changes)
    assert release(cloud, tmp_path, "a", "node-2") == [
        ("a", False, said),
        ("node-2", True, "given back (node node-2 is available)"),
    ]


def test_a_tear_down_that_fails(cloud: FakeCloud, tmp_path: Path) -> None:
    def undeploy(uuid: str) -> None:
        cloud.change(uuid, provision_state="error", last_error="no power")

    cloud.undeploy = undeploy  # type: ignore[method-assign]
    assert release(cloud, tmp_path, "a") == [
        (
            "a",
            False,
            "node node-1 could not be torn down; Ironic: no power (repair what it says, then "
            "release it again)",
        )
    ]


def test_a_locked_node_is_asked_again(cloud: FakeCloud, tmp_path: Path) -> None:
    cloud.raises["undeploy"] = [Busy("locked"), Refused("it is deploying"), CloudError("down")]
    assert release(cloud, tmp_path, "a")[0][1] is True


def test_a_node_that_goes_on_refusing_ends_it(cloud: FakeCloud, tmp_path: Path) -> None:
    cloud.raises["undeploy"] = [Refused("Ironic refused: never") for _ in range(99)]
    assert release(cloud, tmp_path, "a", limit_s=10_000) == [("a", False, "Ironic refused: never")]


def test_what_is_left_is_known_after_an_interrupt(cloud: FakeCloud, tmp_path: Path) -> None:
    cloud.raises["undeploy"] = [KeyboardInterrupt()]
    work = Release(cloud, KnownHosts(tmp_path / "k"), FakeClock(), until_available=True)
    claims = [Claim(name="node-2", node_uuid="uuid-of-node-2"), Claim(name="a", allocation="a")]
    with pytest.raises(KeyboardInterrupt):
        work.run(claims, limit_s=10)
    assert [one.name for one in work.left] == ["a"]


def test_unknown_names_are_reported_and_the_others_found(cloud: FakeCloud) -> None:
    claims, errors = find_claims(cloud, ["nobody", "a"])
    assert [one.name for one in claims] == ["a"]
    assert errors == {
        "nobody": "there is no node and no host 'nobody' (what is there: provision list)"
    }


def test_a_name_with_two_meanings_is_refused(cloud: FakeCloud) -> None:
    """Host node-2 on node-1, beside the node node-2: releasing the wrong one cannot be undone."""
    cloud.allocations["allocation-1"] = Allocation(
        uuid="allocation-1", name="node-2", state="active", node_uuid="uuid-of-node-1"
    )
    with pytest.raises(LookupFailed) as raised:
        find(cloud, "node-2")
    assert str(raised.value) == (
        "'node-2' is both a node and the host on another node (give a uuid: uuid-of-node-2 is the "
        "node, allocation-1 the host)"
    )
