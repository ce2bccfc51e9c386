"""Prove that a deployed node hosts the example services, through changes, failures and reboots.

The tests follow the life of one node, in order; each needs what those before it have done.
"""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.support import Key, Shell, order, run, run_json, say, wait_for

ROOT = Path(__file__).parents[2]
NODE = "services-1"
BOOT_S = 900  # until emulated services answer again
# SeaBIOS finds no disk, tries the network, and waits: a guest that runs for as long as it may
GUEST = """\
<domain type='qemu'>
  <name>guest</name>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator></devices>
</domain>
"""
VIRSH = "podman exec -i compute-libvirt virsh --quiet"


class Site:
    """A copy of the examples, whose files the tests may change, and the commands on it."""

    def __init__(self, directory: Path, key: Key) -> None:
        self.directory = directory
        self._key = key

    def __call__(
        self, verb: str, file: str, *words: str, ok: bool = True
    ) -> subprocess.CompletedProcess[str]:
        what = ["provision", "services", verb, self.directory / file, *words]
        return run(*what, "--identity", self._key.private, ok=ok, timeout_s=2400)

    def json(self, verb: str, file: str, *words: str) -> Any:
        return json.loads(self(verb, file, *words, "-f", "json").stdout)

    @property
    def password(self) -> str:
        """Keystone's administrator's."""
        return (self.directory / "secrets" / "keystone-admin-password").read_text()

    def edit(self, file: str, before: str, after: str) -> None:
        path = self.directory / file
        text = path.read_text()
        assert before in text
        path.write_text(text.replace(before, after))

    def status(self, file: str = "openstack.yaml") -> dict[str, dict[str, Any]]:
        return {one["service"]: one for one in self.json("status", file)}


@pytest.fixture(scope="module")
def site(lab: Path, key: Key, tmp_path_factory: pytest.TempPathFactory) -> Site:
    directory = tmp_path_factory.mktemp("services") / "examples"
    shutil.copytree(ROOT / "examples" / "services", directory)
    for made in ("secrets", "registry-ca.crt"):  # of the checkout's own lab
        subprocess.run(["rm", "-rf", str(directory / made)], check=True)
    run("provision", "lab", "push-images", timeout_s=1800)
    run(directory / "prepare")
    return Site(directory, key)


@pytest.fixture(scope="module")
def address(site: Site, bundle: Path, key: Key) -> str:
    """The address of a node that was deployed with its services by one command."""
    command = order(key, name="services-{n}", count=1, wait_s=2400)
    (node,) = run_json(*command, "--services", site.directory / "openstack.yaml", timeout_s=2500)
    address: str = node["address"]
    return address


def token(address: str, password: str) -> str | None:
    """Ask Keystone for a token with the stock client; None when it does not give one."""
    who = {
        "OS_CLIENT_CONFIG_FILE": os.devnull,
        "OS_AUTH_URL": f"http://{address}:5000/v3",
        "OS_USERNAME": "admin",
        "OS_PASSWORD": password,
        "OS_PROJECT_NAME": "admin",
        "OS_USER_DOMAIN_ID": "default",
        "OS_PROJECT_DOMAIN_ID": "default",
    }
    ask = ("openstack", "token", "issue", "-f", "value", "-c", "id")
    asked = run(*ask, ok=False, timeout_s=300, env=who)
    return asked.stdout.strip() if asked.returncode == 0 else None


def containers(shell: Shell) -> dict[str, str]:
    """Ids of the running containers by name: a new one means a restart."""
    listed = shell(NODE, "podman ps --no-trunc --format '{{.Names}} {{.ID}}'")
    return dict(line.split() for line in listed.splitlines())


def test_one_command_gives_a_node_with_a_keystone_that_answers(address: str, site: Site) -> None:
    assert {name: one["state"] for name, one in site.status().items()} == {
        "mariadb": "healthy",
        "keystone": "healthy",
    }
    assert token(address, site.password)


def test_again_nothing_is_restarted(address: str, site: Site, shell: Shell) -> None:
    before = containers(shell)
    said = site("apply", "openstack.yaml", "--verbose").stdout
    assert "nothing to do" in said
    assert containers(shell) == before


def test_a_change_of_config_restarts_what_it_touches(
    address: str, site: Site, shell: Shell
) -> None:
    before = containers(shell)
    site.edit("config/keystone.conf", "expiration = 3600", "expiration = 7200")
    site("apply", "openstack.yaml")
    after = containers(shell)
    assert {name for name in after if after[name] != before[name]} == {"openstack-keystone"}
    assert token(address, site.password)


def test_a_file_edited_on_the_node_is_found_and_restored(
    address: str, site: Site, shell: Shell
) -> None:
    path = shell(NODE, "ls /var/lib/provision-services/openstack/mariadb/config/*/*")
    was = shell(NODE, f"sha256sum {path}")
    shell(NODE, f"echo tampered >> {path}")
    by_hand = "podman run --detach --name by-hand --network host --pull=never --entrypoint sleep"
    image = site.status()["keystone"]["pinned"]
    shell(NODE, f"{by_hand} {image} 86400")
    found = site("diff", "openstack.yaml", ok=False)
    assert found.returncode == 1
    assert Path(path).name in found.stdout
    assert "by-hand" in found.stdout
    site("apply", "openstack.yaml")
    assert shell(NODE, f"sha256sum {path}") == was
    assert site("diff", "openstack.yaml").returncode == 0
    assert "by-hand" in containers(shell)
    shell(NODE, "podman rm --force --time 1 by-hand")


def test_an_upgrade_to_a_broken_image_goes_back(address: str, site: Site, shell: Shell) -> None:
    before = site.status()
    # an image that starts, and is no Keystone
    site.edit("openstack.yaml", "/keystone:1", "/mariadb:2")
    failed = site("upgrade", "openstack.yaml", "keystone", "--wait", "900", ok=False)
    site.edit("openstack.yaml", "/mariadb:2", "/keystone:1")
    assert failed.returncode == 1
    assert "keystone" in failed.stderr
    after = site.status()
    assert after["keystone"]["pinned"] == before["keystone"]["pinned"]
    assert {one["state"] for one in after.values()} == {"healthy"}
    assert token(address, site.password)


def test_a_good_upgrade_restarts_what_it_upgrades(address: str, site: Site, shell: Shell) -> None:
    before = containers(shell)
    site.edit("openstack.yaml", "/mariadb:1", "/mariadb:2")
    site("upgrade", "openstack.yaml", "mariadb")
    after = containers(shell)
    assert after["openstack-mariadb"] != before["openstack-mariadb"]
    assert token(address, site.password)


def test_services_come_back_from_a_reboot_without_the_registry(
    address: str, site: Site, shell: Shell, lab: Path
) -> None:
    status = run_json("provision", "lab", "status")
    registry = next(one for one in status["services"] if one["name"] == "registry")
    os.kill(registry["pid"], signal.SIGTERM)
    try:
        before = shell(NODE, "cat /proc/sys/kernel/random/boot_id")
        shell.try_(NODE, "systemctl reboot")
        shell.wait_for_boot(NODE, after=before)
        wait_for("a token", lambda: token(address, site.password), timeout_s=BOOT_S, interval_s=10)
    finally:
        run("provision", "lab", "up", timeout_s=300)
    # the token may come before the next health check
    wait_for(
        "healthy services",
        lambda: {one["state"] for one in site.status().values()} == {"healthy"},
        timeout_s=BOOT_S,
        interval_s=5,
    )


def test_a_guest_survives_the_upgrade_of_its_libvirtd(
    address: str, site: Site, shell: Shell
) -> None:
    """The seeds' demonstration: a super-privileged container, host network and process table."""
    site("apply", "libvirt.yaml")
    shell(NODE, f"{VIRSH} create /dev/stdin <<'XML'\n{GUEST}XML")
    process = shell(NODE, "pgrep -f '[g]uest=guest'")
    before = containers(shell)
    site.edit("libvirt.yaml", "/libvirt:1", "/libvirt:2")
    site("upgrade", "libvirt.yaml")
    assert containers(shell)["compute-libvirt"] != before["compute-libvirt"]
    assert shell(NODE, "pgrep -f '[g]uest=guest'") == process
    assert shell(NODE, f"{VIRSH} domstate guest") == "running"
    shell(NODE, f"{VIRSH} suspend guest")
    assert shell(NODE, f"{VIRSH} domstate guest") == "paused"
    shell(NODE, f"{VIRSH} destroy guest")
    assert shell(NODE, "pgrep -f '[g]uest=guest' || echo gone") == "gone"
    say("the guest lived through the upgrade, and its new libvirtd ended it")
