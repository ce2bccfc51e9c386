"""A cloud of real services and fake machines, and the provision command run against it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from openstack.config import OpenStackConfig
from openstack.connection import Connection

from tests.functional import glance, ironic
from tests.functional.ironic import Ironic

PROVISION = Path(sys.executable).parent / "provision"
KERNEL_CMDLINE = "root=/dev/mapper/atomicos-root ostree=/ostree/boot.0/os/0123/0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """Know the services of a cloud, and what its API says behind the command's back."""

    ironic: Ironic
    glance_url: str
    image_id: str
    connection: Any

    def entry(self, **changes: Any) -> dict[str, Any]:
        return {
            "auth_type": "http_basic",
            "auth": {
                "endpoint": self.ironic.url,
                "username": self.ironic.user,
                "password": changes.pop("password", self.ironic.password),
            },
            "baremetal_endpoint_override": self.ironic.url,
            "image_endpoint_override": self.glance_url,
            "image_api_version": "2",
            **changes,
        }

    def node(self, name: str) -> Any:
        return self.connection.baremetal.get_node(name)

    def node_names(self) -> set[str]:
        return {node.name for node in self.connection.baremetal.nodes()}

    def allocations(self) -> list[str]:
        return [one.name for one in self.connection.baremetal.allocations()]

    def add_node(self, name: str, *, resource_class: str, **fields: Any) -> Any:
        """Put a free machine into Ironic."""
        baremetal = self.connection.baremetal
        baremetal.create_node(
            name=name, driver="fake-hardware", resource_class=resource_class, **fields
        )
        baremetal.set_node_provision_state(name, "manage")
        self.until(name, provision_state="manageable")
        # its power state is known only after it was switched once
        baremetal.set_node_power_state(name, "power off")
        self.until(name, power_state="power off", reservation=None)
        baremetal.set_node_provision_state(name, "provide")
        self.until(name, provision_state="available")
        return self.node(name)

    def until(self, name: str, **state: Any) -> None:
        deadline = time.monotonic() + 20
        while {key: self.node(name)[key] for key in state} != state:
            assert time.monotonic() < deadline, f"{name} is not {state}"
            time.sleep(0.05)


@dataclass
class Operator:
    """Run provision as somebody with a home, keys and a clouds.yaml."""

    home: Path
    cloud: Cloud
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.home / ".ssh").mkdir(mode=0o700)
        self.key = self.home / ".ssh" / "id_ed25519"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)
        self.clouds(test=self.cloud.entry())
        kept = {key: value for key, value in os.environ.items() if not key.startswith("OS_")}
        self.env = {
            **kept,
            "HOME": str(self.home),
            "XDG_STATE_HOME": str(self.home / "state"),
            "OS_CLIENT_CONFIG_FILE": str(self.home / "clouds.yaml"),
            "OS_CLOUD": "test",
        }

    @property
    def known_hosts(self) -> Path:
        return self.home / "state" / "atomic-baremetal" / "known_hosts"

    def events(self) -> list[dict[str, Any]]:
        """The events of the latest run."""
        runs = self.home / "state" / "atomic-baremetal" / "runs"
        latest = max(runs.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        return [json.loads(line) for line in (latest / "events.jsonl").read_text().splitlines()]

    def clouds(self, **entries: dict[str, Any]) -> None:
        (self.home / "clouds.yaml").write_text(yaml.safe_dump({"clouds": entries}))

    def start(self, *argv: str | Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [PROVISION, *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.env,
        )

    def run(self, *argv: str | Path) -> subprocess.CompletedProcess[str]:
        with self.start(*argv) as process:
            stdout, stderr = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def json(self, *argv: str | Path) -> Any:
        done = self.run(*argv, "-f", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="package")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud with an image in it and no machines."""
    with (
        glance.running(tmp_path_factory.mktemp("glance")) as images,
        ironic.running(
            tmp_path_factory.mktemp("ironic"),
            glance_url=images.url,
            glance_user=images.user,
            glance_password=images.password,
        ) as service,
    ):
        config = tmp_path_factory.mktemp("config") / "clouds.yaml"
        plain = Cloud(ironic=service, glance_url=images.url, image_id="", connection=None)
        config.write_text(yaml.safe_dump({"clouds": {"test": plain.entry()}}))
        files = OpenStackConfig(config_files=[str(config)], load_envvars=False)
        connection = Connection(config=files.get_one(cloud="test"))
        parts = {
            f"{format_}": _image(connection, f"atomic-{format_}", format_, format_)
            for format_ in ("aki", "ari")
        }
        image = _image(
            connection,
            "atomic",
            "bare",
            "raw",
            min_disk=7,
            kernel_id=parts["aki"],
            ramdisk_id=parts["ari"],
            kernel_cmdline=KERNEL_CMDLINE,
        )
        _image(connection, "bare", "bare", "raw")
        yield Cloud(ironic=service, glance_url=images.url, image_id=image, connection=connection)
        connection.close()


def _image(connection: Any, name: str, container: str, disk: str, **properties: Any) -> str:
    # openstacksdk's own call warns of its deprecated parts, and warnings are errors
    facts = {"name": name, "container_format": container, "disk_format": disk, **properties}
    image: str = connection.image.post("/images", json=facts).json()["id"]
    done = connection.image.put(
        f"/images/{image}/file",
        data=b"not much of an image",
        headers={"Content-Type": "application/octet-stream"},
    )
    assert done.status_code == 204, done.text
    return image


@pytest.fixture
def operator(tmp_path: Path, cloud: Cloud) -> Operator:
    return Operator(home=tmp_path, cloud=cloud)


@pytest.fixture
def machines(
    cloud: Cloud, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Sequence[Any]]]:
    """A function that adds machines of a class named after the test; they go away with it."""
    names: list[str] = []

    def add(count: int = 1, **fields: Any) -> Sequence[Any]:
        class_ = request.node.name.removeprefix("test_")[:40]
        for number in range(len(names) + 1, len(names) + count + 1):
            names.append(f"{class_.replace('_', '-')}-{number}")
            cloud.add_node(names[-1], resource_class=class_, **fields)
        return [cloud.node(name) for name in names]

    yield add
    baremetal = cloud.connection.baremetal
    for name in names:
        baremetal.set_node_maintenance(name)
        node = cloud.node(name)
        if node.provision_state == "active":
            baremetal.unset_node_maintenance(name)
            baremetal.set_node_provision_state(name, "deleted")
            cloud.until(name, provision_state="available")
            baremetal.set_node_maintenance(name)
        elif node.allocation_id:
            baremetal.delete_allocation(node.allocation_id)
        baremetal.delete_node(name)
