"""Render and write what the lab's services read: configuration, keys, password files."""

import ipaddress
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from string import Template
from xml.sax.saxutils import escape

import bcrypt
import yaml

from atomic_baremetal.command import run
from atomic_baremetal.durable import write
from provision.lab import certificates, model
from provision.lab.model import BootMode, Lab, Machine

# the console is the serial port; the journal goes there too, as nothing else is left of a ramdisk
# that failed
RAMDISK_ARGUMENTS = "nofb nomodeset console=ttyS0 systemd.journald.forward_to_console=yes"
OVMF_CODE = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
OVMF_VARS = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
MEMORY_MIB = 2560
CPUS = 2
DISK_GIB = 10
KVM_CPU = '<cpu mode="host-passthrough"/>'
# "max" is slower than this when emulated, and the default lacks what newer systems are compiled for
EMULATED_CPU = '<cpu mode="custom" match="exact"><model fallback="allow">Nehalem</model></cpu>'
# The hypervisor's users: only a system libvirtd's package makes the ones that libvirtd wants to
# know
# at its start, and root's password is locked in many ways, of which sshd takes some for an answer.
USERS = {
    "passwd": "root:x:0:0::/:/bin/sh\n"
    "sshd:x:103:65534::/run/sshd:/usr/sbin/nologin\n"
    "libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin\n",
    "group": "root:x:0:\ntty:x:5:\nkvm:x:107:\nlibvirt:x:111:\n"
    "libvirt-qemu:x:64055:\nnogroup:x:65534:\n",
    "shadow": "root:*:20000:0:99999:7:::\nsshd:*:20000:0:99999:7:::\n",
}
BCRYPT_ROUNDS = 5  # a request costs 2 ms, not 200; the passwords are random, nobody can guess them


def render(lab: Lab) -> dict[Path, str]:
    """Render every configuration file of the lab that follows from the lab alone."""
    values = _values(lab)
    etc = lab.configuration
    templates = {
        etc / "ironic.conf": "ironic.conf",
        etc / "dnsmasq.conf": "dnsmasq.conf",
        etc / "registry.yml": "registry.yml",
        etc / "sshd_config": "sshd_config",
        etc / "sushy.conf": "sushy.conf",
        etc / "glance" / "glance-api.conf": "glance-api.conf",
        etc / "glance" / "glance-api-paste.ini": "glance-api-paste.ini",
        etc / "glance" / "policy.yaml": "policy.yaml",
        lab.hypervisor / "etc" / "libvirtd.conf": "libvirtd.conf",
        lab.hypervisor / "etc" / "qemu.conf": "qemu.conf",
    }
    files = {path: fill(name, values) for path, name in templates.items()}
    files[etc / "dnsmasq.conf"] += "".join(
        f"dhcp-host={machine.mac},{machine.address},{machine.name}\n" for machine in lab.machines
    )
    files |= {lab.hypervisor / "users" / name: text for name, text in USERS.items()}
    return files


def write_all(lab: Lab) -> None:
    """Write directories, configuration, passwords and keys, where they are missing or differ."""
    for directory in (
        *(lab.hypervisor / name for name in ("etc", "run", "lib", "cache", "log")),
        *(lab.directory / "ironic" / name for name in ("tmp", "images", "locks")),
        *(lab.directory / "glance" / name for name in ("store", "staging", "tasks", "locks")),
        *(lab.http_root, lab.tftp_root, lab.logs, lab.running, lab.directory / "vms"),
        *(lab.registry / "store", lab.directory / "redfish", lab.ssh / "privilege-separation"),
    ):
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    # sshd insists
    (lab.ssh / "privilege-separation").chmod(0o755)
    for path, text in render(lab).items():
        write(path, text)
    certificates.ensure(lab.registry, names=[model.REGISTRY_NAME], addresses=[lab.address])
    _password_file(lab.configuration / "htpasswd", lab.password)
    _password_file(lab.configuration / "redfish-htpasswd", lab.redfish_password)
    _keys(lab)


def clouds(lab: Lab) -> str:
    """Render the lab's clouds.yaml."""
    entry = {
        "auth_type": "http_basic",
        "auth": {"endpoint": lab.ironic_url, "username": model.USER, "password": lab.password},
        "baremetal_endpoint_override": lab.ironic_url,
        "image_endpoint_override": lab.glance_url,
        "image_api_version": "2",
    }
    return yaml.safe_dump({"clouds": {lab.cloud: entry}}, sort_keys=False)


def domain(lab: Lab, machine: Machine, *, kvm: bool) -> str:
    """Render the libvirt domain of a machine.

    :param kvm: use KVM; else everything is emulated.
    """
    values = {
        "domain_type": "kvm" if kvm else "qemu",
        "name": machine.name,
        "uuid": machine.uuid,
        "mac": machine.mac,
        "bridge": model.BRIDGE,
        "memory_mib": str(MEMORY_MIB),
        "cpus": str(CPUS),
        "disk": str(machine.disk),
        "nvram": str(machine.nvram),
        "console": str(machine.console),
        "ovmf_code": str(OVMF_CODE),
        "ovmf_vars": str(OVMF_VARS),
    }
    escaped = {key: escape(value, {'"': "&quot;"}) for key, value in values.items()}
    template = "domain-uefi.xml" if machine.boot_mode is BootMode.UEFI else "domain-bios.xml"
    return fill(template, {**escaped, "cpu": KVM_CPU if kvm else EMULATED_CPU})


def fill(template: str, values: Mapping[str, str]) -> str:
    """Fill one of the package's templates in."""
    text = resources.files("provision.lab").joinpath("templates", template).read_text()
    return Template(text).substitute(values)


def _values(lab: Lab) -> dict[str, str]:
    redfish = [machine.uuid for machine in lab.machines if machine.driver == "redfish-netboot"]
    network: ipaddress.IPv4Network = lab.network
    tls = certificates.files(lab.registry)
    return {
        "name": lab.name,
        "id": lab.id,
        "directory": str(lab.directory),
        "address": lab.address,
        "network": str(network.network_address),
        "bridge": model.BRIDGE,
        "user": model.USER,
        "password": lab.password,
        "ironic_port": str(model.IRONIC_PORT),
        "redfish_port": str(model.REDFISH_PORT),
        "ssh_port": str(model.SSH_PORT),
        "ironic_url": lab.ironic_url,
        "glance_url": lab.glance_url,
        "http_url": lab.http_url,
        "registry_name": model.REGISTRY_NAME,
        "registry_port": str(model.REGISTRY_PORT),
        "registry_store": str(lab.registry / "store"),
        "registry_certificate": str(tls.certificate),
        "registry_key": str(tls.key),
        "ramdisk_arguments": RAMDISK_ARGUMENTS,
        "ovmf_code": str(OVMF_CODE),
        # sushy's configuration is Python
        "address_literal": repr(lab.address),
        "redfish_htpasswd_literal": repr(str(lab.configuration / "redfish-htpasswd")),
        "redfish_state_literal": repr(str(lab.directory / "redfish")),
        "redfish_instances_literal": repr(redfish),
    }


def _password_file(path: Path, password: str) -> None:
    """Write an Apache password file for the lab's user, unless the one there has this password."""
    prefix = f"{model.USER}:"
    if path.exists():
        entry = path.read_text().strip().removeprefix(prefix)
        if bcrypt.checkpw(password.encode(), entry.encode()):
            return
    digest = bcrypt.hashpw(password.encode(), bcrypt.gensalt(BCRYPT_ROUNDS)).decode()
    write(path, f"{prefix}{digest}\n")


def _keys(lab: Lab) -> None:
    """Make the hypervisor's host key and the conductor's key, and let each know the other."""
    for name in ("host_key", "conductor_key"):
        key = lab.ssh / name
        if not key.with_suffix(".pub").exists():
            key.unlink(missing_ok=True)
            words = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"{lab.cloud} {name}")
            run(*words, "-f", key, timeout_s=20)
    kind, public = (lab.ssh / "host_key.pub").read_text().split()[:2]
    write(lab.ssh / "known_hosts", f"[{lab.address}]:{model.SSH_PORT} {kind} {public}\n")
    # the machines are on this network too, and what runs on them is not the lab's
    allowed = f'from="{lab.address}",restrict {(lab.ssh / "conductor_key.pub").read_text()}'
    write(lab.ssh / "authorized_keys", allowed)
