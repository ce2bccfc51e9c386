"""The deploy interface's step write_image, whole: its own code on both sides, and real tools.

Only the HTTP between conductor and agent is missing: the commands are called directly, their
parameters and results passed through JSON.
"""

import base64
import gzip
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ironic.common import exception
from ironic_python_agent import encoding, hardware

from provision.agent import iscsi
from provision.driver import deploy, writer
from tests.functional.driver.support import listens, need, run
from tests.functional.driver.test_target import sparse_image
from tests.functional.ports import free_port
from tests.unit.provision.driver.support import UUID, Node, Task

MIB = 1 << 20
GIB = 1 << 30
DISK_BYTES = GIB + 80 * MIB


class Client:
    """Ironic's client of the agent, with the agent in the same process."""

    def __init__(self, token: str) -> None:
        agent = SimpleNamespace(agent_token=token, force_heartbeat=lambda: None)
        self.extension = iscsi.ISCSIExtension(agent=agent)
        self.results: list[Any] = []
        self.sent: list[str] = []
        self.fail: str | None = None

    def _command(
        self, node: Any, method: str, params: dict[str, Any], wait: bool = False
    ) -> dict[str, Any]:
        self.sent.append(json.dumps({"name": method, "params": params}))
        extension, name = method.split(".")
        assert extension == "iscsi"
        if self.fail == name:
            raise exception.AgentConnectionFailed(reason="the node lost its power")
        try:
            result = self.extension.execute(name, **json.loads(json.dumps(params)))
        except Exception as error:
            result = iscsi.base.SyncCommandResult(method, params, False, error)
        if wait:
            result.join()
        self.results.append(result)
        return self.answer(result)

    def get_commands_status(self, node: Any, retry_connection: bool = True) -> list[dict[str, Any]]:
        return [self.answer(result) for result in self.results]

    @staticmethod
    def answer(result: Any) -> dict[str, Any]:
        return dict(json.loads(encoding.RESTJSONEncoder().encode(result)))


@pytest.fixture
def disk(
    tmp_path: Path, loop_device: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    need("tgtd", "qemu-img", "blkdiscard", "partprobe", "parted", "sgdisk", "lsblk", "genisoimage")
    disk = tmp_path / "disk"
    garbage = random.Random(5).randbytes(MIB)  # noqa: S311
    with disk.open("wb") as stream:
        stream.truncate(DISK_BYTES)
        for offset in (0, 3 * MIB, 30 * MIB, 900 * MIB, GIB, DISK_BYTES - MIB):
            stream.seek(offset)
            stream.write(garbage)
    device = loop_device(disk)
    monkeypatch.setattr(iscsi, "CONTROL_SOCKET", str(tmp_path / "tgtd.sock"))
    real = hardware.dispatch_to_managers

    def dispatch(method: str, *arguments: Any, **options: Any) -> Any:
        if method == "get_os_install_device":
            return device
        return real(method, *arguments, **options)

    monkeypatch.setattr(hardware, "dispatch_to_managers", dispatch)
    yield disk


@pytest.fixture
def task(conf: Any, tmp_path: Path) -> Iterator[Task]:
    conf.set_override("images_path", str(tmp_path / "images"), group="pxe")
    conf.set_override("portal_port", free_port(), group="iscsi")
    conf.set_override("poll_interval", 0.1, group="iscsi")
    raw = tmp_path / "base.raw"
    sparse_image(raw)
    node = Node(
        driver_internal_info={
            "agent_url": "http://127.0.0.1:9999",
            "agent_secret_token": "the-token",
            "iscsi_deploy": {
                "disk_format": "qcow2",
                "root_bytes": GIB,
                "lvm": True,
                "filesystem_uuid": None,
            },
        }
    )
    image = deploy.image_path(node)
    image.parent.mkdir(parents=True)
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(image))
    task = Task(node)
    task.cached_agent_client = Client("the-token")
    yield task
    task.cached_agent_client.extension._tear_down()
    for name, group in (
        ("images_path", "pxe"),
        ("portal_port", "iscsi"),
        ("poll_interval", "iscsi"),
    ):
        conf.clear_override(name, group=group)


def config_drive(tmp_path: Path) -> str:
    """A config drive as Ironic makes it: ISO 9660, gzip, base64."""
    tree = tmp_path / "tree"
    (tree / "openstack/latest").mkdir(parents=True)
    (tree / "openstack/latest/meta_data.json").write_text('{"hostname": "atomic-1"}')
    iso = tmp_path / "iso"
    run("genisoimage", "-quiet", "-J", "-r", "-V", "config-2", "-o", str(iso), str(tree))
    return base64.b64encode(gzip.compress(iso.read_bytes())).decode()


def test_write_image(task: Task, disk: Path, tmp_path: Path) -> None:
    deploy.ISCSIDeploy().write_image(task)
    base = (tmp_path / "base.raw").read_bytes()
    with disk.open("rb") as stream:
        table = stream.read(MIB)
        assert stream.read(len(base)) == base
        rest = stream.read(GIB - len(base))
        assert rest.count(0) == len(rest)
        stream.seek(DISK_BYTES - 2 * MIB)
        assert stream.read() == bytes(2 * MIB)
    assert table[450] == 0x8E
    sent = "\n".join(task.cached_agent_client.sent)
    password = iscsi.chap_password(
        "the-token", json.loads(task.cached_agent_client.sent[1])["params"]["chap_nonce"]
    )
    assert password not in sent
    assert [json.loads(line)["name"] for line in task.cached_agent_client.sent] == [
        "iscsi.zero",
        "iscsi.start_iscsi_target",
        "iscsi.stop_iscsi_target",
    ]


def test_the_config_drive_becomes_the_last_partition(
    task: Task, disk: Path, tmp_path: Path
) -> None:
    drive = config_drive(tmp_path)
    task.node.instance_info["configdrive"] = drive
    deploy.ISCSIDeploy().write_image(task)
    content = gzip.decompress(base64.b64decode(drive))
    dump = run("sfdisk", "--dump", "--quiet", str(disk)).splitlines()
    first, last = (line for line in dump if line.startswith(str(disk)))
    assert "start=        2048, size=     2097152, type=8e" in first
    start = int(last.split("start=")[1].split(",")[0]) * 512
    with disk.open("rb") as stream:
        stream.seek(start)
        assert stream.read(len(content)) == content


def test_a_target_that_dies_leaves_nothing(task: Task, disk: Path, tmp_path: Path) -> None:
    task.cached_agent_client.extension.agent.agent_token = "another-boot-of-the-ramdisk"
    with pytest.raises(exception.InstanceDeployFailure, match="Failed to log in to target"):
        deploy.ISCSIDeploy().write_image(task)
    assert not iscsi._answers()
    assert not listens(deploy.CONF.iscsi.portal_port)
    assert not list(tmp_path.glob("tmp*"))


def test_a_disk_that_is_too_small(task: Task, disk: Path) -> None:
    task.node.driver_internal_info["iscsi_deploy"]["root_bytes"] = 2 * GIB
    device = iscsi._root_device()
    with pytest.raises(exception.InstanceDeployFailure) as refused:
        deploy.ISCSIDeploy().write_image(task)
    assert str(refused.value) == (
        f"Failed to deploy instance: iscsi.zero: disk {device} of {DISK_BYTES} bytes is too small: "
        f"the image needs {2 * GIB + MIB}, the end of the disk {2 * MIB} more"
    )


def test_a_write_that_takes_too_long(
    task: Task, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy.CONF.set_override("write_timeout", 1, group="iscsi")
    real = writer._run
    sleep = ("sleep", "30")
    monkeypatch.setattr(
        writer, "_run", lambda limit_s, *argv, **o: real(limit_s, *("qemu-img", *sleep)[1:], **o)
    )
    try:
        with pytest.raises(exception.InstanceDeployFailure) as refused:
            deploy.ISCSIDeploy().write_image(task)
    finally:
        deploy.CONF.clear_override("write_timeout", group="iscsi")
    assert str(refused.value) == "Failed to deploy instance: sleep was not done in 1 s"
    assert not iscsi._answers()


def test_the_nodes_name_is_in_the_target(task: Task) -> None:
    assert deploy.iscsi_target.iqn(task.node.uuid) == f"iqn.2008-10.org.openstack:{UUID}"
