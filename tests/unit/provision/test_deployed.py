"""Which deployed hosts services can run on, and how services come to new ones."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from provision import deployed
from provision.events import Phase
from provision.known_hosts import KnownHosts
from provision.lease import Lease
from provision.node import ACTIVE
from provision.services import reach
from provision.services.file.problems import FileError
from provision.services.host import HostError
from provision.services.hosts import Target
from tests.unit.provision.fakes import FakeCloud
from tests.unit.provision.services.fakes import FILE, Stage

KEY = "ssh-ed25519 AAAA"


def test_deployed_hosts_and_what_is_in_the_way_of_others(tmp_path: Path) -> None:
    cloud = FakeCloud("node-1", "node-2", "node-3", "node-4")
    known_hosts = KnownHosts(tmp_path / "known_hosts")
    cloud.change(
        "node-1",
        provision_state=ACTIVE,
        host_name="web-1",
        ssh_port=2222,
        labels=(("zone", "a"),),
    )
    cloud.change("node-2", provision_state=ACTIVE, host_name="web-2")
    cloud.change("node-3", provision_state=ACTIVE, address=None)
    for name in ("node-1", "node-3", "node-4"):
        known_hosts.pin(f"uuid-of-{name}", KEY)
    found = deployed.hosts(cloud, known_hosts)
    assert found.targets == (
        Target(
            name="web-1",
            address="192.0.2.11",
            host_key=KEY,
            port=2222,
            labels=(("zone", "a"),),
        ),
    )
    assert found.passed_over == {
        "web-2": "no host key is pinned here: it was deployed from elsewhere",
        "node-3": "no address is known",
    }


def test_the_labs_registry_is_trusted_when_the_lab_is_the_cloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for name in ("ATOMIC_LAB", "OS_CLOUD", "OS_AUTH_TYPE", "OS_AUTH_URL", "OS_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    caplog.set_level("INFO")
    lab = tmp_path / "atomic-baremetal" / "labs" / "default"
    (lab / "registry").mkdir(parents=True)
    (lab / "registry" / "ca.crt").write_text("-----BEGIN CERTIFICATE-----\n")
    assert deployed.lab_registries(None) == {}  # no lab is up
    (lab / "clouds.yaml").touch()
    assert deployed.lab_registries("another") == {}
    assert not caplog.messages
    for cloud in (None, "lab-default"):
        assert list(deployed.lab_registries(cloud)) == ["registry.lab:5000"]
    assert caplog.messages[0] == (
        "trusting the lab's registry registry.lab:5000 by its own certificate"
    )
    monkeypatch.setenv("OS_CLOUD", "mine")
    assert deployed.lab_registries(None) == {}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    stage = Stage(tmp_path, "n1", "n2")
    monkeypatch.setattr(
        reach, "_host", lambda target, _: contextlib.nullcontext(stage.hosts[target.name])
    )
    monkeypatch.setattr(deployed, "ASK_AGAIN_S", 0.01)
    return stage


@pytest.fixture
def deliver(here: Stage, tmp_path: Path) -> Callable[..., dict[str, str | None]]:
    cloud = FakeCloud("node-1", "node-2")
    delivery = deployed.BackgroundDelivery(
        tmp_path / "services.yaml",
        cloud,
        KnownHosts(tmp_path / "known_hosts"),
        identity=None,
        registries={},
    )

    def run(*names: str) -> dict[str, str | None]:
        leases = [
            Lease(
                host_name=name,
                node=cloud.machines[f"uuid-of-node-{name[1:]}"],
                phase=Phase.SERVICES,
                taken=True,
                host_key=KEY,
                address="192.0.2.1",
            )
            for name in names
        ]
        assert delivery.ask(leases) == {}
        deadline = time.monotonic() + 30
        while not (found := delivery.ask(leases)):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return dict(found)

    return run


def test_services_come_to_hosts(here: Stage, deliver: Callable[..., dict[str, str | None]]) -> None:
    # cloud-init is not done at once
    here["n1"].raises["observe"] = [HostError("n1: nobody may log in")] * 3
    assert deliver("n1") == {"n1": None}
    here.registry.push("httpd", "9")
    assert deliver("n2") == {"n2": None}
    # the same tag is the same image on all hosts of a run, whenever they came
    assert [one.running() for one in here.hosts.values()] == [
        {"api": "2", "db": "1", "web": "3"}
    ] * 2
    assert here["n1"].starts() == {"api": 1, "db": 1, "web": 1}


def test_what_fails_is_said_with_the_way_on(
    here: Stage, deliver: Callable[..., dict[str, str | None]], tmp_path: Path
) -> None:
    here["n1"].broken = ["mariadb"]
    assert deliver("n1") == {
        "n1": "services: db: it did not come up: db failed: exit status 1; taken away again; "
        "api: not touched: the roll-out was stopped; web: not touched: the roll-out was stopped "
        f"(try again: provision services apply {tmp_path / 'services.yaml'} --on n1)"
    }


def test_a_registry_that_is_down_fails_the_hosts(
    here: Stage, deliver: Callable[..., dict[str, str | None]], tmp_path: Path
) -> None:
    here.registry.down = True
    found = deliver("n1", "n2")
    assert found["n2"] == (
        "services: n1: pull of registry.lab:5000/mariadb:1 failed: connection refused: nothing "
        "was changed on any node (try again: provision services apply "
        f"{tmp_path / 'services.yaml'} --on n2)"
    )


def test_a_bad_file_is_refused_before_anything(tmp_path: Path) -> None:
    (tmp_path / "services.yaml").write_text(FILE.replace("image:", "imag:"))
    with pytest.raises(FileError):
        deployed.BackgroundDelivery(
            tmp_path / "services.yaml",
            FakeCloud(),
            KnownHosts(tmp_path / "known_hosts"),
            identity=None,
            registries={},
        )
