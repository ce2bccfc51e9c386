"""The ssh power and management interfaces against a real sshd, libvirtd and qemu."""

import logging
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ironic.common import exception, states
from ironic.conductor import task_manager

from provision.driver import connection, management, power
from tests.functional.driver.support import listens, need, run, wait_for
from tests.functional.ports import free_port

# A machine with firmware and nothing to boot. An old-style <os><boot>, as virt-install writes it.
DOMAIN = """
<domain type='qemu'>
  <name>node one</name>
  <memory unit='MiB'>32</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type><boot dev='hd'/></os>
  <features><acpi/></features>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'><driver name='qemu' type='raw'/>
      <source file='{disk}'/><target dev='vda' bus='virtio'/></disk>
    <interface type='user'><model type='virtio'/></interface>
    <graphics type='vnc' port='-1' autoport='yes' listen='127.0.0.1' passwd='secret01'/>
    <memballoon model='none'/>
  </devices>
</domain>
"""
# Own /run and /var of libvirt, and every process in a pid namespace that ends with the first.
SCRIPT = """
set -eu
for d in /run/libvirt /var/lib/libvirt /var/log/libvirt /var/cache/libvirt /etc/libvirt; do
    mkdir -p "$d"; mount -t tmpfs none "$d"
done
mkdir -p /run/sshd
# libvirtd insists on its package's user, which not every container has
for f in passwd group; do
    cp "/etc/$f" "$1/$f"; mount --bind "$1/$f" "/etc/$f"
done
grep -q ^libvirt-qemu: /etc/passwd || echo libvirt-qemu:x:64055:64055::/:/bin/false >> /etc/passwd
grep -q ^libvirt-qemu: /etc/group || echo libvirt-qemu:x:64055: >> /etc/group
cp "$1/qemu.conf" /etc/libvirt/qemu.conf
/usr/sbin/libvirtd -f "$1/libvirtd.conf" -p "$1/libvirtd.pid" > "$1/libvirtd.log" 2>&1 &
exec /usr/sbin/sshd -D -e -f "$1/sshd_config" > "$1/sshd.log" 2>&1
"""
SSHD = """
Port {port}
ListenAddress 127.0.0.1
HostKey {here}/host_key
AuthorizedKeysFile {here}/user_key.pub
StrictModes no
PermitRootLogin yes
PasswordAuthentication yes
UsePAM no
PidFile none
"""
QEMU = """
user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = [ ]
dynamic_ownership = 0
stdio_handler = "file"
remember_owner = 0
namespaces = [ ]
"""


class Task(task_manager.TaskManager):
    """A lock on a node, without a database behind it."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self.shared = False
        self.context = SimpleNamespace(ensure_thread_contain_context=lambda: None)


@dataclass(frozen=True)
class Hypervisor:
    """How to reach the libvirt host under test."""

    here: Path
    port: int

    def task(self, **different: Any) -> Any:
        """Make what Ironic hands to an interface."""
        info = {
            "ssh_address": "127.0.0.1",
            "ssh_port": str(self.port),
            "ssh_username": "root",
            "ssh_key_filename": str(self.here / "user_key"),
            "ssh_known_hosts_file": str(self.here / "known_hosts"),
            "ssh_domain": "node one",
        }
        info.update(different)
        info = {key: value for key, value in info.items() if value is not None}
        return Task(SimpleNamespace(uuid="the-node", driver="ssh", driver_info=info))


@pytest.fixture(scope="module")
def hypervisor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hypervisor]:
    need("sshd", "ssh-keygen", "libvirtd", "virsh", "qemu-system-x86_64", "unshare")
    here = tmp_path_factory.mktemp("hypervisor")
    port = free_port()
    for key in ("host_key", "user_key", "other_key"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(here / key))
    for name, key in (("known_hosts", "host_key"), ("other_hosts", "other_key")):
        public = (here / f"{key}.pub").read_text()
        (here / name).write_text(f"[127.0.0.1]:{port} {public}")
    (here / "no_hosts").write_text("")
    (here / "sshd_config").write_text(SSHD.format(port=port, here=here))
    (here / "libvirtd.conf").write_text('auth_unix_rw = "none"\nlisten_tls = 0\n')
    (here / "qemu.conf").write_text(QEMU)
    (here / "disk").write_bytes(bytes(1 << 20))
    (here / "domain.xml").write_text(DOMAIN.format(disk=here / "disk"))
    apart = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
    process = subprocess.Popen([*apart, "sh", "-c", SCRIPT, "sh", str(here)])
    try:
        wait_for(lambda: listens(port), "sshd")
        found = Hypervisor(here, port)
        wait_for(lambda: _defines(found), "libvirtd")
        yield found
    finally:
        process.kill()  # which --kill-child hands on
        process.wait(20)


def _defines(hypervisor: Hypervisor) -> bool:
    """Define the domain; False while libvirtd does not answer yet."""
    access = connection.access(hypervisor.task().node)
    try:
        with connection.connect(access) as virsh:
            virsh("define", str(hypervisor.here / "domain.xml"))
    except connection.HypervisorError:
        return False
    return True


@pytest.fixture(autouse=True)
def _fresh_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_slots", {})


def test_power_and_one_time_boot(hypervisor: Hypervisor, conf: Any) -> None:
    task, machine, settings = hypervisor.task(), power.SSHPower(), management.SSHManagement()
    assert machine.get_power_state(task) == states.POWER_OFF
    assert settings.get_boot_device(task) == {"boot_device": "disk", "persistent": True}
    assert settings.get_boot_mode(task) == "bios"

    settings.set_boot_device(task, "pxe", persistent=False)
    assert settings.get_boot_device(task) == {"boot_device": "pxe", "persistent": False}
    machine.set_power_state(task, states.POWER_ON)
    assert machine.get_power_state(task) == states.POWER_ON
    with connection.connect(connection.access(task.node)) as virsh:
        running = virsh("dumpxml", "node one")
    assert "<boot dev='network'/>" in running  # what runs was started from the network
    assert settings.get_boot_device(task) == {"boot_device": "disk", "persistent": True}

    machine.set_power_state(task, states.POWER_ON)  # again: nothing to do
    settings.set_boot_device(task, "pxe", persistent=True)
    machine.reboot(task)
    assert machine.get_power_state(task) == states.POWER_ON
    assert settings.get_boot_device(task) == {"boot_device": "pxe", "persistent": True}

    # Nothing in there listens to ACPI: a soft power off ends at its limit, and says so.
    with pytest.raises(exception.PowerStateFailure) as refused:
        machine.set_power_state(task, states.SOFT_POWER_OFF, timeout=1)
    assert str(refused.value) == "Failed to set node power state to power off."
    machine.set_power_state(task, states.POWER_OFF)
    machine.set_power_state(task, states.POWER_OFF)
    assert machine.get_power_state(task) == states.POWER_OFF


def test_an_edit_keeps_the_secrets_of_the_definition(hypervisor: Hypervisor, conf: Any) -> None:
    task = hypervisor.task()
    management.SSHManagement().set_boot_device(task, "disk", persistent=True)
    with connection.connect(connection.access(task.node)) as virsh:
        xml = virsh("dumpxml", "--inactive", "--security-info", "node one")
    assert "passwd='secret01'" in xml


def test_another_boot_mode_is_refused(hypervisor: Hypervisor, conf: Any) -> None:
    task, settings = hypervisor.task(), management.SSHManagement()
    settings.set_boot_mode(task, "bios")
    with pytest.raises(exception.InvalidParameterValue) as refused:
        settings.set_boot_mode(task, "uefi")
    assert str(refused.value) == (
        "Node the-node: its domain boots in bios mode and cannot be switched to uefi; define the "
        "domain anew, or set the node's boot_mode capability to bios"
    )


def _refusal(task: Any) -> str:
    with pytest.raises(exception.DriverOperationError) as refused:
        power.SSHPower().get_power_state(task)
    return str(refused.value)


def test_what_cannot_be_reached(hypervisor: Hypervisor, conf: Any) -> None:
    host = f"libvirt host root@127.0.0.1:{hypervisor.port}"
    here = hypervisor.here
    assert _refusal(hypervisor.task(ssh_known_hosts_file=str(here / "other_hosts"))) == (
        f"{host}: its host key is not the one in {here}/other_hosts: somebody may be in between, "
        "or the host was installed anew"
    )
    assert _refusal(hypervisor.task(ssh_known_hosts_file=str(here / "no_hosts"))) == (
        f"{host}: its host key is not in {here}/no_hosts"
    )
    assert _refusal(hypervisor.task(ssh_key_filename=str(here / "other_key"))) == (
        f"{host}: login refused (key {here}/other_key)"
    )
    assert _refusal(hypervisor.task(ssh_domain="nobody; touch /tmp/x")) == (
        f"{host}: virsh domstate failed: failed to get domain 'nobody; touch /tmp/x'"
    )
    port = free_port()
    assert _refusal(hypervisor.task(ssh_port=port)) == (
        f"libvirt host root@127.0.0.1:{port}: cannot connect: [Errno None] Unable to connect to "
        f"port {port} on 127.0.0.1"
    )


def test_a_password_is_in_no_log_and_no_error(
    hypervisor: Hypervisor, conf: Any, caplog: pytest.LogCaptureFixture
) -> None:
    task = hypervisor.task(ssh_key_filename=None, ssh_password="hunter2-hunter2")
    with caplog.at_level(logging.DEBUG):
        message = _refusal(task)
    assert message.endswith("login refused (password)")
    assert "hunter2" not in caplog.text
    assert "hunter2" not in repr(connection.access(task.node))


def test_the_limit_of_connections_holds(hypervisor: Hypervisor, conf: Any) -> None:
    conf.set_override("max_connections", 2, group="ssh")
    conf.set_override("connect_timeout", 1, group="ssh")
    task = hypervisor.task()
    access = connection.access(task.node)
    with connection.connect(access), connection.connect(access):
        assert _refusal(task) == (
            f"libvirt host root@127.0.0.1:{hypervisor.port}: all 2 connections "
            "([ssh]max_connections) were busy for 1 s"
        )
    conf.set_override("connect_timeout", 20, group="ssh")
    states_seen: list[str] = []
    threads = [
        threading.Thread(target=lambda: states_seen.append(power.SSHPower().get_power_state(task)))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert states_seen == [states.POWER_OFF] * 6


def test_a_command_that_does_not_answer(
    hypervisor: Hypervisor, conf: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf.set_override("command_timeout", 1, group="ssh")
    access = connection.access(hypervisor.task().node)
    with connection.connect(access) as virsh:
        monkeypatch.setattr(connection.shlex, "join", lambda words: "sleep 30")
        with pytest.raises(connection.HypervisorError) as refused:
            virsh("domstate", "node one")
    assert str(refused.value).endswith("virsh domstate did not answer in 1 s")
