"""The two ends of a deployment against each other: the agent's target and the conductor's writer.

Real tgtd, real qemu-img over libiscsi, a real block device that is full of garbage at first.
"""

import hashlib
import logging
import os
import random
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ironic.common import exception
from ironic_python_agent import errors, hardware

from provision.agent import config_drive, iscsi
from provision.driver import iscsi_target, partition_table, writer
from tests.functional.driver.support import listens, need, run
from tests.functional.ports import free_port

MIB = 1 << 20
DISK_BYTES = 96 * MIB
ROOT_BYTES = 64 * MIB
TOKEN = "the-token-of-this-boot"
NONCE = "0123456789abcdef" * 2


class Agent:
    """What the extension needs of the agent's process."""

    agent_token = TOKEN

    def force_heartbeat(self) -> None:
        """The agent tells Ironic at once when an asynchronous command is done."""


class Node:
    """A disk, the agent on it, and the address to reach it at."""

    def __init__(self, disk: Path, device: str) -> None:
        self.disk = disk
        self.device = device
        self.port = free_port()
        self.extension = iscsi.ISCSIExtension(agent=Agent())

    def command(self, name: str, **parameters: Any) -> dict[str, Any]:
        """Run a command as the agent's API does, and wait for it."""
        result = self.extension.execute(name, **parameters)
        result.join()
        if result.command_error is not None:
            raise result.command_error
        return dict(result.command_result)

    def start(self, **different: Any) -> iscsi_target.Target:
        """Start the target; return how the conductor would reach it."""
        parameters = {
            "iqn": "iqn.2008-10.org.openstack:node",
            "portal_address": "127.0.0.1",
            "portal_port": self.port,
            "initiator_address": "127.0.0.1",
            "chap_user": iscsi_target.CHAP_USER,
            "chap_nonce": NONCE,
        }
        parameters.update(different)
        self.command("start_iscsi_target", **parameters)
        return iscsi_target.Target(
            address="127.0.0.1",
            port=self.port,
            iqn="iqn.2008-10.org.openstack:node",
            user=iscsi_target.CHAP_USER,
            password=iscsi_target.chap_password(TOKEN, NONCE),
        )


@pytest.fixture
def node(
    tmp_path: Path,
    conf: Any,
    loop_device: Callable[[Path], str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Node]:
    need("tgtd", "tgtadm", "qemu-img", "blkdiscard", "partprobe")
    disk = tmp_path / "disk"
    disk.write_bytes(random.Random(1).randbytes(DISK_BYTES))  # noqa: S311
    device = loop_device(disk)
    monkeypatch.setattr(iscsi, "CONTROL_SOCKET", str(tmp_path / "tgtd.sock"))

    def dispatch(method: str, *arguments: Any, **options: Any) -> Any:
        assert method == "get_os_install_device"
        return device

    monkeypatch.setattr(hardware, "dispatch_to_managers", dispatch)
    node = Node(disk, device)
    yield node
    node.extension._tear_down()


def sparse_image(path: Path) -> bytes:
    """A base with holes: LVM's label, data in two places, zeros elsewhere."""
    content = bytearray(48 * MIB)
    content[512:520] = b"LABELONE"
    content[536:544] = b"LVM2 001"
    content[5 * MIB : 9 * MIB] = random.Random(2).randbytes(4 * MIB)  # noqa: S311
    content[47 * MIB :] = random.Random(3).randbytes(MIB)  # noqa: S311
    path.write_bytes(content)
    return bytes(content)


@pytest.mark.parametrize("disk_format", ["raw", "qcow2"])
def test_a_used_disk_holds_the_image_and_zeros_afterwards(
    node: Node, tmp_path: Path, disk_format: str
) -> None:
    raw = tmp_path / "base.raw"
    content = sparse_image(raw)
    base = tmp_path / f"base.{disk_format}"
    if disk_format == "qcow2":
        run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", str(raw), str(base))
    before = hashlib.sha256(base.read_bytes()).hexdigest()

    size_bytes = writer.virtual_size_bytes(base, disk_format)
    found = writer.probe(base, disk_format)
    zeroed = node.command("zero", head_bytes=MIB + ROOT_BYTES, tail_bytes=2 * MIB)
    target = node.start()
    with writer.session(target) as session:
        session.write_image(base, disk_format, start_bytes=MIB, size_bytes=ROOT_BYTES)
        table = partition_table.mbr(
            size_bytes=ROOT_BYTES,
            partition_type=partition_table.TYPE_LINUX_LVM,
            sector_size_bytes=zeroed["sector_size_bytes"],
            disk_signature=0x12345678,
        )
        session.write_bytes(table, start_bytes=0)
    node.command("stop_iscsi_target")

    assert size_bytes == 48 * MIB
    assert found == writer.Content(lvm=True, filesystem_uuid=None)
    assert zeroed["size_bytes"] == DISK_BYTES
    disk = node.disk.read_bytes()
    assert disk[:MIB] == table
    assert disk[MIB : 49 * MIB] == content
    assert disk[49 * MIB : MIB + ROOT_BYTES] == bytes(16 * MIB)
    assert disk[-2 * MIB :] == bytes(2 * MIB)
    # In between nothing was promised, and nothing was touched.
    garbage = random.Random(1).randbytes(DISK_BYTES)  # noqa: S311
    assert disk[MIB + ROOT_BYTES : -2 * MIB] == garbage[MIB + ROOT_BYTES : -2 * MIB]
    dump = run("sfdisk", "--dump", node.device)
    assert "label-id: 0x12345678" in dump
    assert "start=        2048, size=      131072, type=8e" in dump
    assert not listens(node.port)
    assert hashlib.sha256(base.read_bytes()).hexdigest() == before
    assert not list(tmp_path.glob("tmp*")), "a temporary directory with the password was left"


def test_who_may_log_in(node: Node, tmp_path: Path) -> None:
    target = node.start()
    with writer.session(target) as session:  # the positive control: this one may
        session.write_bytes(b"\x01" * MIB, start_bytes=0)
    wrong = replace(target, password="0" * 32)
    with (
        writer.session(wrong) as session,
        pytest.raises(exception.InstanceDeployFailure) as refused,
    ):
        session.write_bytes(b"\x02" * MIB, start_bytes=0)
    assert "Failed to log in to target" in str(refused.value)
    assert wrong.password not in str(refused.value)
    # The same password, but from an address that the target was not told of.
    target = node.start(initiator_address="127.0.0.2")
    with (
        writer.session(target) as session,
        pytest.raises(exception.InstanceDeployFailure) as refused,
    ):
        session.write_bytes(b"\x02" * MIB, start_bytes=0)
    assert "Failed to log in to target" in str(refused.value)
    node.command("stop_iscsi_target")
    assert node.disk.read_bytes()[:MIB] == b"\x01" * MIB


def test_the_password_is_in_no_log(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        target = node.start()
        with writer.session(target) as session:
            session.write_bytes(b"\x01" * MIB, start_bytes=0)
        node.command("stop_iscsi_target")
    assert "--op new --mode account" in caplog.text  # the log does hold the command
    assert target.password not in caplog.text
    assert target.password not in repr(target)


def test_starting_and_stopping_twice(node: Node) -> None:
    node.start()
    target = node.start()
    with writer.session(target) as session:
        session.write_bytes(b"\x01" * MIB, start_bytes=0)
    assert node.command("stop_iscsi_target") == {"device": node.device}
    assert node.command("stop_iscsi_target") == {"device": node.device}
    assert node.disk.read_bytes()[:MIB] == b"\x01" * MIB


def test_a_disk_that_is_too_small(node: Node) -> None:
    with pytest.raises(errors.CommandExecutionError) as refused:
        node.command("zero", head_bytes=DISK_BYTES, tail_bytes=MIB)
    assert refused.value.details == (
        f"disk {node.device} of {DISK_BYTES} bytes is too small: the image needs {DISK_BYTES}, "
        f"the end of the disk {MIB} more"
    )


def test_a_port_that_is_taken(node: Node) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", node.port))
        taken.listen()
        with pytest.raises(errors.CommandExecutionError) as refused:
            node.start()
    assert refused.value.details == (
        f"tgtd cannot listen on 127.0.0.1:{node.port}: is the port taken?"
    )
    assert not iscsi._answers()


def test_a_dead_target_is_reported(conf: Any) -> None:
    need("qemu-img")
    target = iscsi_target.Target(
        address="127.0.0.1",
        port=free_port(),
        iqn="iqn.2008-10.org.openstack:none",
        user="ironic",
        password="x",
    )
    with (
        writer.session(target) as session,
        pytest.raises(exception.InstanceDeployFailure) as refused,
    ):
        session.write_bytes(b"\x01" * MIB, start_bytes=0)
    assert "qemu-img convert failed with status 1" in str(refused.value)
    assert "Failed to connect to LUN" in str(refused.value)


def test_a_plain_file_system_has_its_uuid(conf: Any, tmp_path: Path) -> None:
    need("mkfs.ext4", "qemu-img", "blkid")
    uuid = "11111111-2222-4333-8444-555555555555"
    base = tmp_path / "base.raw"
    with base.open("wb") as stream:
        stream.truncate(16 * MIB)
    run("mkfs.ext4", "-q", "-U", uuid, str(base), env={**os.environ, "MKE2FS_SYNC": "0"})
    assert writer.probe(base, "raw") == writer.Content(lvm=False, filesystem_uuid=uuid)
    empty = tmp_path / "empty.raw"
    empty.write_bytes(bytes(4 * MIB))
    assert writer.probe(empty, "raw") == writer.Content(lvm=False, filesystem_uuid=None)


def test_an_image_that_claims_another_format_is_not_followed(conf: Any, tmp_path: Path) -> None:
    need("qemu-img")
    inner = tmp_path / "evil.qcow2"
    backing = ("-b", "/etc/passwd", "-F", "raw")
    run("qemu-img", "create", "-q", "-f", "qcow2", *backing, str(inner), "1M")
    assert writer.virtual_size_bytes(inner, "raw") == -(-inner.stat().st_size // 512) * 512


def test_the_config_drive_is_erased(
    tmp_path: Path, loop_device: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    need("mkfs.vfat", "lsblk", "blkdiscard")
    key = b"-----BEGIN OPENSSH PRIVATE KEY-----"
    disk = tmp_path / "config-drive"
    disk.write_bytes(bytes(8 * MIB))
    run("mkfs.vfat", "-n", "config-2", str(disk))
    with disk.open("r+b") as stream:
        stream.seek(4 * MIB)
        stream.write(key)
    other = tmp_path / "other"
    other.write_bytes(key * 1000)
    devices = [loop_device(disk), loop_device(other)]

    class Disk:
        def __init__(self, name: str) -> None:
            self.name = name

    monkeypatch.setattr(
        hardware, "dispatch_to_managers", lambda method, node: [Disk(name) for name in devices]
    )
    manager = config_drive.ConfigDriveHardwareManager()
    manager.erase_config_drive({"uuid": "node"}, [])
    run("sync")
    assert disk.read_bytes() == bytes(8 * MIB)
    assert other.read_bytes() == key * 1000
