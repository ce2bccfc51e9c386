"""Name everything in a lab: its addresses, files, machines. Decides only; touches nothing.

Glossary: a *lab* is one network namespace with an Ironic, a Glance, a hypervisor and its virtual
machines; a *machine* is one virtual machine, which Ironic knows as a *node*; a *service* is one
process that the lab keeps running.
"""

import hashlib
import ipaddress
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from atomic_baremetal.errors import Error

FIRST_SUBNET, LAST_SUBNET = 99, 254
FIRST_MACHINE = 11
MOST_NODES = 64
USER = "admin"
BRIDGE = "lab"
UPLINK = "uplink"
IRONIC_PORT, GLANCE_PORT, HTTP_PORT, REDFISH_PORT, SSH_PORT = 6385, 9292, 8088, 8000, 2222
REGISTRY_NAME, REGISTRY_PORT = "registry.lab", 5000
LONGEST_INTERFACE_NAME = 15  # IFNAMSIZ less the closing zero


class LabError(Error):
    """The lab cannot be made, repaired or taken down."""


class BootMode(StrEnum):
    """The firmware of a machine."""

    BIOS = "bios"
    UEFI = "uefi"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One virtual machine and the node that Ironic knows it as.

    :ivar uuid: of the libvirt domain, of the node, and the last part of its Redfish address.
    :ivar address: the fixed IPv4 address that DHCP gives to its MAC address, whoever asks there.
    """

    name: str
    uuid: str
    mac: str
    address: str
    driver: str
    boot_mode: BootMode
    disk: Path
    nvram: Path
    console: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """One lab, from which every name, address and path in it follows.

    :ivar id: random; marks the lab's processes as its own.
    :ivar subnet: the third byte of 192.168.x.0/24.
    :ivar nodes: how many machines.
    """

    name: str
    id: str
    subnet: int
    nodes: int
    password: str
    redfish_password: str
    directory: Path

    @property
    def namespace(self) -> str:
        """Name the network namespace."""
        return f"atomic-{self.name}"

    @property
    def cloud(self) -> str:
        """Name the entry in clouds.yaml."""
        return f"lab-{self.name}"

    @property
    def host_interface(self) -> str:
        """Name the host's end of the wire into the lab."""
        plain = f"atomic-{self.name}"
        if len(plain) <= LONGEST_INTERFACE_NAME:
            return plain
        return f"atomic-{hashlib.sha256(self.name.encode()).hexdigest()[:8]}"

    @property
    def network(self) -> ipaddress.IPv4Network:
        """Return the lab's /24."""
        return ipaddress.IPv4Network(f"192.168.{self.subnet}.0/24")

    @property
    def address(self) -> str:
        """Return the address of all the lab's services."""
        return str(self.network[1])

    @property
    def host_address(self) -> str:
        """Return the address of this host in the lab's network."""
        return str(self.network[2])

    @property
    def bridge_mac(self) -> str:
        """Return the bridge's own address: fixed, as it would else change with its ports."""
        return f"52:54:00:{self.subnet:02x}:00:01"

    @property
    def ironic_url(self) -> str:
        """Return where Ironic listens."""
        return f"http://{self.address}:{IRONIC_PORT}"

    @property
    def glance_url(self) -> str:
        """Return where Glance listens."""
        return f"http://{self.address}:{GLANCE_PORT}"

    @property
    def http_url(self) -> str:
        """Return where the nodes get their boot files."""
        return f"http://{self.address}:{HTTP_PORT}"

    @property
    def redfish_url(self) -> str:
        """Return where the Redfish emulator listens."""
        return f"http://{self.address}:{REDFISH_PORT}"

    @property
    def registry_url(self) -> str:
        """Return where the registry listens; the nodes know it by name."""
        return f"https://{self.address}:{REGISTRY_PORT}"

    @property
    def record(self) -> Path:
        """Name the file that remembers this lab."""
        return self.directory / "lab.json"

    @property
    def clouds_file(self) -> Path:
        """Name the clouds.yaml that is there while the lab is up."""
        return self.directory / "clouds.yaml"

    @property
    def configuration(self) -> Path:
        """Name the directory of the services' configuration files."""
        return self.directory / "etc"

    @property
    def logs(self) -> Path:
        """Name the directory of logs and consoles."""
        return self.directory / "log"

    @property
    def running(self) -> Path:
        """Name the directory of what is known of running processes."""
        return self.directory / "run"

    @property
    def http_root(self) -> Path:
        """Name the directory that the nodes can read over HTTP."""
        return self.directory / "http"

    @property
    def tftp_root(self) -> Path:
        """Name the directory that the nodes can read over TFTP."""
        return self.directory / "tftp"

    @property
    def hypervisor(self) -> Path:
        """Name the directory that stands in for libvirt's fixed system directories."""
        return self.directory / "hypervisor"

    @property
    def registry(self) -> Path:
        """Name the directory of the registry's images, and of the authority to trust for it."""
        return self.directory / "registry"

    @property
    def ssh(self) -> Path:
        """Name the directory of the hypervisor's host key and the conductor's key."""
        return self.directory / "ssh"

    @property
    def machines(self) -> tuple[Machine, ...]:
        """List the machines in order: odd ones ssh on BIOS, even ones Redfish on UEFI."""
        return tuple(self._machine(number) for number in range(1, self.nodes + 1))

    def _machine(self, number: int) -> Machine:
        name = f"node-{number}"
        odd = number % 2 == 1
        return Machine(
            name=name,
            uuid=str(uuid.uuid5(uuid.UUID(self.id), name)),
            mac=f"52:54:00:{self.subnet:02x}:01:{number:02x}",
            address=str(self.network[FIRST_MACHINE + number - 1]),
            driver="ssh" if odd else "redfish-netboot",
            boot_mode=BootMode.BIOS if odd else BootMode.UEFI,
            disk=self.directory / "vms" / f"{name}.qcow2",
            nvram=self.directory / "vms" / f"{name}.nvram",
            console=self.logs / f"{name}.console",
        )


def check_name(name: str) -> str:
    """Return the name of a lab, if it is one that namespaces, files and clouds can all bear.

    :raises LabError: it is not.
    """
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", name):
        raise LabError(
            f"not a name for a lab: {name!r}",
            hint="ATOMIC_LAB takes up to 32 of a-z, 0-9 and -, and no - first or last",
        )
    return name


def choose_subnet(taken: Iterable[ipaddress.IPv4Network]) -> int:
    """Choose x of 192.168.x.0/24, from 99 up: the first that overlaps no network taken.

    :param taken: the host's routes and other labs; a default route counts for nothing.
    :raises LabError: all are taken.
    """
    networks = [network for network in taken if network.prefixlen]
    for number in range(FIRST_SUBNET, LAST_SUBNET + 1):
        candidate = ipaddress.IPv4Network(f"192.168.{number}.0/24")
        if not any(candidate.overlaps(network) for network in networks):
            return number
    raise LabError(
        f"no free network from 192.168.{FIRST_SUBNET}.0/24 to 192.168.{LAST_SUBNET}.0/24",
        hint="the host has routes to all of them (ip route show table all)",
    )
