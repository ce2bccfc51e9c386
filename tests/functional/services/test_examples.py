"""Run the example services on a stand-in host, with images built from their files.

The tests build on each other, as a host's life does.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from provision.lab import service_images
from tests import standin

pytestmark = pytest.mark.slow
# without a disk: its firmware looks for one for ever
GUEST = """\
<domain type="qemu">
  <name>guest</name><memory unit="MiB">32</memory><vcpu>1</vcpu>
  <os><type arch="x86_64" machine="pc">hvm</type></os>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <serial type="pty"><target port="0"/></serial><memballoon model="none"/>
  </devices>
</domain>
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A host, a registry with the images, and a copy of the examples."""

    host: standin.Host
    registry: standin.Registry
    directory: Path

    def services(self, *words: str, timeout_s: float = 300) -> str:
        """Run `provision services WORDS`; return its stdout."""
        return self.run(
            *(sys.executable, "-m", "provision", "services", *words),
            *("--hosts", str(self.directory / "hosts.yaml")),
            *("--identity", str(self.host.identity)),
            timeout_s=timeout_s,
        )

    def run(self, *argv: str, status: int = 0, timeout_s: float = 120) -> str:
        done = subprocess.run(
            argv,
            env={**self.environment(), "XDG_STATE_HOME": str(self.directory / "state")},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
            cwd=self.directory,
        )
        assert done.returncode == status, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    @staticmethod
    def environment() -> dict[str, str]:
        return {key: value for key, value in os.environ.items() if not key.startswith("OS_")}

    def token(self, password: str, *, status: int = 0) -> str:
        """Ask Keystone for a token, from outside, as people do."""
        return self.run(
            *(str(Path(sys.executable).with_name("openstack")), "token", "issue", "-f", "json"),
            *(f"--os-auth-url=http://{self.host.address}:5000/v3", f"--os-password={password}"),
            *("--os-username=admin", "--os-project-name=admin", "--os-identity-api-version=3"),
            *("--os-user-domain-id=default", "--os-project-domain-id=default"),
            status=status,
        )

    def virsh(self, *words: str) -> str:
        return self.host.run("podman", "exec", "compute-libvirt", "virsh", "--quiet", *words)

    def started(self, *containers: str) -> list[str]:
        said = self.host.run("podman", "inspect", "--format", "{{.State.StartedAt}}", *containers)
        return said.splitlines()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    standin.need()
    directory = tmp_path_factory.mktemp("examples")
    for name in ("openstack.yaml", "libvirt.yaml", "prepare", "config"):
        source = service_images.examples() / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, directory / name)
    images = service_images.service_images()
    with standin.hosts(1) as hosts, standin.registry(hosts) as registry:
        for name, layout in images.items():
            registry.push(f"oci:{layout}:1", f"{name}:1")
        host = hosts[0]
        entry = {"address": host.address, "user": "root", "host_key": host.host_key}
        (directory / "hosts.yaml").write_text(yaml.safe_dump({"hosts": {"one": entry}}))
        made = Site(host=host, registry=registry, directory=directory)
        made.run(str(directory / "prepare"), str(registry.ca))
        yield made


def secret(site: Site, name: str) -> Path:
    return site.directory / "secrets" / name


def test_keystone_with_its_database_lets_the_administrator_in(site: Site) -> None:
    site.services("apply", "openstack.yaml")
    password = secret(site, "keystone-admin-password").read_text()
    token: dict[str, Any] = json.loads(site.token(password))
    assert token["project_id"]
    site.token("another", status=1)
    for container, user in (("mariadb", "mysql"), ("keystone", "keystone")):
        assert site.host.run("podman", "exec", f"openstack-{container}", "id", "-un") == f"{user}\n"


def test_applied_again_nothing_is_touched(site: Site) -> None:
    containers = ("openstack-mariadb", "openstack-keystone")
    before = site.started(*containers)
    site.services("apply", "openstack.yaml")
    assert site.started(*containers) == before


def test_a_new_password_is_keystones_alone_and_the_old_one_is_no_good(site: Site) -> None:
    before = site.started("openstack-mariadb", "openstack-keystone")
    file = secret(site, "keystone-admin-password")
    old = file.read_text()
    file.write_text("a-new-password")
    site.services("apply", "openstack.yaml")
    after = site.started("openstack-mariadb", "openstack-keystone")
    assert (after[0] == before[0], after[1] == before[1]) == (True, False)
    site.token("a-new-password")
    site.token(old, status=1)


def test_passwords_are_in_secrets_and_nowhere_else(site: Site) -> None:
    password = secret(site, "keystone-db-password").read_text()
    places = "/etc/systemd /var/lib/provision-services /var/log/journal /run/log/journal"
    files = f"{places} /proc/[0-9]*/cmdline /proc/[0-9]*/environ"
    # by stdin: as an argument it would find itself
    found = site.host.ask(f"grep -rlF -f - {files}", stdin=f"{password}\n".encode())
    assert found.out == ""
    for container in ("openstack-mariadb", "openstack-keystone"):
        assert password not in site.host.run("podman", "inspect", container)
        assert password not in site.host.run("podman", "logs", container)


def test_a_guest_outlives_its_libvirtd_and_obeys_the_next_one(site: Site) -> None:
    site.services("apply", "libvirt.yaml")
    site.host.run("podman exec -i compute-libvirt sh -c 'cat >/tmp/x'", stdin=GUEST.encode())
    site.virsh("define", "/tmp/x")
    site.virsh("start", "guest")
    guest = site.host.run("pgrep", "-x", "qemu-system-x86")
    before = site.started("compute-libvirt")
    layout = service_images.service_images()["libvirt"]
    site.registry.push(f"oci:{layout}:2", "libvirt:1")
    site.services("upgrade", "libvirt.yaml")
    assert site.started("compute-libvirt") != before
    labels = site.host.run("podman inspect --format '{{json .Config.Labels}}' compute-libvirt")
    assert json.loads(labels)["org.opencontainers.image.version"] == "2"
    assert site.host.run("pgrep", "-x", "qemu-system-x86") == guest
    for word, state in (("suspend", "paused"), ("resume", "running"), ("destroy", "shut off")):
        site.virsh(word, "guest")
        assert site.virsh("domstate", "guest").strip() == state
    assert site.host.ask("pgrep", "-x", "qemu-system-x86").status == 1


def test_all_is_back_after_a_reboot_with_no_registry(site: Site) -> None:
    site.virsh("start", "guest")
    site.registry.stop()
    site.host.reboot()
    units = ("openstack-mariadb", "openstack-keystone", "compute-libvirt")
    # "degraded" says no more than that something failed once: a health check that came too early
    site.host.run("systemctl", "is-system-running", "--wait", ok=False)
    assert site.host.run("systemctl", "is-active", *units) == "active\n" * 3
    site.token("a-new-password")
    # what libvirtd knew of running guests was of another boot
    assert site.virsh("domstate", "guest").strip() == "shut off"
