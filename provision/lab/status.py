"""Say how a lab is."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from atomic_baremetal.errors import Error
from provision.lab import checks, network, nodes, processes
from provision.lab.model import Lab
from provision.lab.services import services


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStatus:
    """One service.

    :ivar problem: None when it answers as it should.
    """

    name: str
    up: bool
    pid: int | None
    address: str
    problem: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus:
    """One node; what only Ironic knows is None while it does not answer."""

    name: str
    uuid: str
    driver: str
    boot_mode: str
    provision_state: str | None
    power_state: str | None
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A whole lab."""

    lab: str
    up: bool
    cloud: str | None
    directory: str | None
    services: tuple[ServiceStatus, ...]
    nodes: tuple[NodeStatus, ...]

    def as_data(self) -> dict[str, Any]:
        """Return it as plain data, for json and yaml."""
        data = asdict(self)
        return {**data, "services": list(data["services"]), "nodes": list(data["nodes"])}


def status(name: str, lab: Lab | None) -> Status:
    """Look at every service and node of a lab.

    :param lab: None: there is none of this name.
    """
    if lab is None:
        return Status(lab=name, up=False, cloud=None, directory=None, services=(), nodes=())
    wired = network.is_wired(lab)
    with ThreadPoolExecutor() as pool:
        troubles = pool.map(
            lambda service: (
                checks.trouble(lab, service.name) if wired else "the lab's network is not there"
            ),
            services(lab),
        )
        found = tuple(
            ServiceStatus(
                name=service.name,
                up=trouble is None,
                pid=processes.running(lab, service.name),
                address=service.endpoint,
                problem=trouble,
            )
            for service, trouble in zip(services(lab), troubles, strict=True)
        )
    ironic_is_up = any(service.name == "ironic" and service.up for service in found)
    return Status(
        lab=name,
        up=all(service.up for service in found),
        cloud=lab.cloud,
        directory=str(lab.directory),
        services=found,
        nodes=_nodes(lab, ironic_is_up=ironic_is_up),
    )


def _nodes(lab: Lab, *, ironic_is_up: bool) -> tuple[NodeStatus, ...]:
    known: Mapping[str, Any] = {}
    if ironic_is_up and lab.clouds_file.exists():
        try:
            known = {node.id: node for node in nodes.list_all(lab)}
        except Error:
            known = {}  # it went in between; the nodes are listed without what it knows
    return tuple(
        NodeStatus(
            name=machine.name,
            uuid=machine.uuid,
            driver=machine.driver,
            boot_mode=str(machine.boot_mode),
            provision_state=getattr(known.get(machine.uuid), "provision_state", None),
            power_state=getattr(known.get(machine.uuid), "power_state", None),
            address=machine.address,
        )
        for machine in lab.machines
    )
