"""Prove the main job on real parts: a qcow2 goes in, machines that answer ssh come out.

The tests follow the life of two nodes, in order; each needs what those before it have done.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import openstack
import pytest

from tests.e2e.support import (
    IMAGE_NAME,
    LAB,
    Key,
    Shell,
    order,
    run,
    run_json,
    say,
    sha256,
    wait_for,
)

Nodes = dict[str, dict[str, Any]]
NODES = ("atomic-1", "atomic-2")
MIB = 1 << 20


def ironic(*argv: str, timeout_s: float = 120) -> str:
    """Call python-ironicclient's own command, nothing of ours on the way."""
    return run("baremetal", "--os-cloud", f"lab-{LAB}", *argv, timeout_s=timeout_s).stdout


def ironic_node(uuid: str) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(ironic("node", "show", uuid, "-f", "json"))
    return shown


def test_one_node_is_bios_by_ssh_and_one_uefi_by_redfish(nodes: Nodes, shell: Shell) -> None:
    assert sorted(nodes) == list(NODES)
    firmware = {
        ironic_node(node["uuid"])["driver"]: shell(
            name, "test -d /sys/firmware/efi && echo uefi || echo bios"
        )
        for name, node in nodes.items()
    }
    assert firmware == {"ssh": "bios", "redfish-netboot": "uefi"}


@pytest.mark.parametrize("name", NODES)
def test_the_node_runs_the_image(nodes: Nodes, bundle: Path, shell: Shell, name: str) -> None:
    answer = shell(name, "uname -r; findmnt -no SOURCE /; cat /proc/cmdline; hostname")
    kernel, root, cmdline, hostname = answer.splitlines()
    manifest = json.loads((bundle / f"{IMAGE_NAME}.json").read_text())
    assert kernel == manifest["deployment"]["kernel_version"]
    assert root.startswith("/dev/mapper/atomicos-root[/ostree/deploy/")
    for argument in manifest["kernel_cmdline"].split():
        assert argument in cmdline.split()
    assert cmdline.split().count("root=/dev/mapper/atomicos-root") == 1
    assert any(word.startswith("ostree=/ostree/boot.0/") for word in cmdline.split())
    assert hostname == name
    assert shell(name, "cloud-init status --wait").splitlines()[-1] == "status: done"
    assert shell(name, "systemctl list-units --failed --no-legend --plain") == ""


def test_nodes_that_were_there_are_not_deployed_twice(nodes: Nodes, key: Key) -> None:
    command = order(key, name="atomic-{n}", count=2, wait_s=300)
    again = run_json(*command, timeout_s=320)
    assert {node["uuid"] for node in again} == {node["uuid"] for node in nodes.values()}


def test_a_third_node_is_not_to_be_had(nodes: Nodes, key: Key) -> None:
    refused = run(*order(key, name="one-more", count=1, wait_s=60), ok=False)
    assert refused.returncode == 1
    assert "no free node" in refused.stderr
    assert "one-more" not in ironic("allocation", "list")


def test_a_wrong_pinned_host_key_is_refused(nodes: Nodes, shell: Shell, tmp_path: Path) -> None:
    known_hosts = Path(os.environ["XDG_STATE_HOME"]) / "atomic-baremetal" / "known_hosts"
    kept = known_hosts.read_text()
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other")
    other = " ".join((tmp_path / "other.pub").read_text().split()[:2])
    uuid = nodes["atomic-1"]["uuid"]
    known_hosts.write_text(
        "".join(
            f"{uuid} {other}\n" if line.startswith(uuid) else f"{line}\n"
            for line in kept.splitlines()
        )
    )
    try:
        refused = shell.try_("atomic-1", "true")
    finally:
        known_hosts.write_text(kept)
    assert refused.returncode != 0
    assert (
        "Host key verification failed" in refused.stderr
        or "HOST IDENTIFICATION HAS CHANGED" in refused.stderr
    )
    assert shell.try_("atomic-1", "true").returncode == 0


def test_nodes_come_back_from_a_reboot(nodes: Nodes, shell: Shell) -> None:
    before = {name: shell(name, "cat /proc/sys/kernel/random/boot_id") for name in NODES}
    for name in NODES:
        shell.try_(name, "systemctl reboot")
    for name in NODES:
        shell.wait_for_boot(name, after=before[name])


def test_nodes_come_back_after_ironic_was_restarted(nodes: Nodes, shell: Shell, lab: Path) -> None:
    """And after the files that they boot from were lost."""
    before = {name: shell(name, "cat /proc/sys/kernel/random/boot_id") for name in NODES}
    http_root = lab / "http"
    lost = [http_root / nodes[name]["uuid"] for name in NODES]
    for directory in lost:
        assert directory.is_dir()
        shutil.rmtree(directory)
    run("provision", "lab", "restart", "ironic")
    wait_for(
        "http_root is repaired", lambda: all((d / "kernel").exists() for d in lost), timeout_s=300
    )
    for name in NODES:
        ironic("node", "reboot", nodes[name]["uuid"])
    for name in NODES:
        shell.wait_for_boot(name, after=before[name])


def test_release_gives_the_nodes_back_clean(nodes: Nodes, lab: Path) -> None:
    # side by side: cleaning boots the ramdisk
    run("provision", "release", *NODES, "--wait", "1200", timeout_s=1300)
    for node in nodes.values():
        shown = ironic_node(node["uuid"])
        assert shown["provision_state"] == "available"
        assert shown["allocation_uuid"] is None
        assert shown["instance_uuid"] is None
        assert not (lab / "http" / node["uuid"]).exists()
    assert ironic("allocation", "list", "-f", "value") == ""
    for disk in (lab / "vms").glob("node-*.qcow2"):
        assert_nobody_claims(disk)


def assert_nobody_claims(disk: Path) -> None:
    """No partition table, no LVM label, and nothing of the config drive, which held a private key.

    Other data stay where they were: erasing whole disks is the operator's choice (erase_devices).
    """
    raw = disk.with_suffix(".look")
    run("qemu-img", "convert", "-U", "-f", "qcow2", "-O", "raw", disk, raw, timeout_s=300)
    try:
        for offset in (0, MIB):  # the disk, and where the root partition began
            probe = ["blkid", "-p", "-O", str(offset), raw]
            probed = subprocess.run(probe, capture_output=True, text=True)
            assert probed.returncode == 2, probed.stdout
        with raw.open("rb") as file:
            file.seek(-65 * MIB, os.SEEK_END)
            assert b"OPENSSH PRIVATE KEY" not in file.read()
    finally:
        raw.unlink()


def test_a_stock_client_deploys_the_image_too(
    nodes: Nodes, bundle: Path, key: Key, lab: Path, tmp_path: Path
) -> None:
    """Nothing of ours on the client: the kernel arguments arrive from the Glance property."""
    uuid = nodes["atomic-1"]["uuid"]
    cloud = openstack.connect(
        cloud=f"lab-{LAB}", config_files=[os.environ["OS_CLIENT_CONFIG_FILE"]]
    )
    image = next(cloud.image.images(name=IMAGE_NAME))
    config_drive = tmp_path / "config-drive.json"
    public = key.public.read_text().strip()
    user_data = f"#cloud-config\ndisable_root: false\nssh_authorized_keys: ['{public}']\n"
    config_drive.write_text(
        json.dumps({"meta_data": {"hostname": "stock"}, "user_data": user_data})
    )
    ironic("node", "set", uuid, "--instance-info", f"image_source={image.id}")
    ironic(
        "node",
        "deploy",
        uuid,
        "--config-drive",
        config_drive.read_text(),
        "--wait",
        "1500",
        timeout_s=1600,
    )
    address = ironic_node(uuid)["extra"]["address"]

    def ask() -> str | None:
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes")
        ssh = ["ssh", "-i", key.private, *(f"-o{one}" for one in options), f"root@{address}"]
        command = "hostname; cat /proc/cmdline; findmnt -no SOURCE /"
        done = subprocess.run(["timeout", "60", *ssh, command], capture_output=True, text=True)
        return done.stdout if done.returncode == 0 else None

    hostname, cmdline, root = wait_for("ssh", ask, timeout_s=600, interval_s=5).splitlines()
    say(f"{hostname}: {cmdline}")
    assert hostname == "stock"
    assert image.properties["kernel_cmdline"] in cmdline
    assert root.startswith("/dev/mapper/atomicos-root[/ostree/deploy/")
    ironic("node", "undeploy", uuid, "--wait", "900", timeout_s=1000)
    assert not (lab / "http" / uuid).exists()


def test_registering_again_creates_nothing(bundle: Path) -> None:
    before = run("openstack", "--os-cloud", f"lab-{LAB}", "image", "list", "-f", "value").stdout
    run("imgprep", "register", bundle, timeout_s=300)
    assert (
        run("openstack", "--os-cloud", f"lab-{LAB}", "image", "list", "-f", "value").stdout
        == before
    )


def test_the_sample_image_is_as_it_was(bundle: Path, sample_image: Path) -> None:
    manifest = json.loads((bundle / f"{IMAGE_NAME}.json").read_text())
    assert sha256(bundle / manifest["base"]["file"]) == manifest["base"]["sha256"]
    run("imgprep", "verify", bundle, timeout_s=300)
