"""Make the lab's machines known to Ironic, and bring them to `available`."""

import logging
import time
from collections.abc import Callable, Collection
from typing import Any

from openstack.connection import Connection

from atomic_baremetal import cloud
from provision.lab import model
from provision.lab.configuration import CPUS, DISK_GIB, MEMORY_MIB
from provision.lab.model import Lab, LabError, Machine

LOG = logging.getLogger(__name__)
RESOURCE_CLASS = "baremetal"
STEP_S = 120
POWER_S = 90
PAUSE_S = 0.25
# the way from a new node to one that can be deployed; a node is taken from wherever it was left
NEXT = {"enroll": "manage", "manageable": "provide"}
ENROLLING = "enrolling"  # in `extra` of a node that is not yet ready to be used


def ensure(lab: Lab) -> list[str]:
    """Enrol the machines that Ironic does not know, bring them to `available`, and name them.

    Nodes that are in use, or that somebody has put elsewhere, stay as they are.

    :raises LabError: a node does not get there.
    :raises CloudError: Ironic refuses or does not answer.
    """
    connection = cloud.connect(lab.cloud)
    with cloud.translated("Ironic"):
        known = {node.name: node for node in connection.baremetal.nodes(details=True)}
        made = [machine for machine in lab.machines if machine.name not in known]
        for machine in made:
            _create(connection, lab, machine)
        unfinished = {
            machine.name
            for machine in lab.machines
            if machine in made or _is_unfinished(known[machine.name])
        }
        for machine in lab.machines:
            if machine.name in unfinished:
                _ensure_port(connection, machine)
        _make_available(connection, unfinished)
    return [machine.name for machine in made]


def list_all(lab: Lab) -> list[Any]:
    """List Ironic's nodes, with details.

    :raises CloudError: Ironic refuses or does not answer.
    """
    with cloud.translated("Ironic"):
        return list(cloud.connect(lab.cloud).baremetal.nodes(details=True))


def power_off(lab: Lab) -> None:
    """Power the lab's nodes off through Ironic, which would else start those that are in use again.

    :raises CloudError: Ironic refuses or does not answer.
    :raises LabError: a node stays on.
    """
    names = {machine.name for machine in lab.machines}
    connection = cloud.connect(lab.cloud)
    with cloud.translated("Ironic"):
        for node in connection.baremetal.nodes(details=True):
            if node.name in names and node.power_state == "power on":
                connection.baremetal.set_node_power_state(node, "power off")

        def still_on() -> dict[str, str]:
            return {
                node.name: str(node.power_state)
                for node in connection.baremetal.nodes(details=True)
                if node.name in names and node.power_state == "power on"
            }

        _wait("power off", still_on, limit_s=POWER_S)


def driver_info(lab: Lab, machine: Machine) -> dict[str, Any]:
    """Return what Ironic needs to control a machine."""
    if machine.driver == "ssh":
        return {
            "ssh_address": lab.address,
            "ssh_port": model.SSH_PORT,
            "ssh_username": "root",
            "ssh_key_filename": str(lab.ssh / "conductor_key"),
            "ssh_known_hosts_file": str(lab.ssh / "known_hosts"),
            "ssh_domain": machine.name,
            "ssh_libvirt_uri": "qemu:///system",
        }
    return {
        "redfish_address": lab.redfish_url,
        "redfish_system_id": f"/redfish/v1/Systems/{machine.uuid}",
        "redfish_username": model.USER,
        "redfish_password": lab.redfish_password,
        "redfish_auth_type": "basic",  # the emulator has no sessions
        "redfish_verify_ca": False,  # plain http, inside the lab's own network
    }


def _create(connection: Connection, lab: Lab, machine: Machine) -> None:
    connection.baremetal.create_node(
        id=machine.uuid,
        name=machine.name,
        driver=machine.driver,
        driver_info=driver_info(lab, machine),
        resource_class=RESOURCE_CLASS,
        boot_interface="ipxe-netboot",
        deploy_interface="iscsi",
        network_interface="noop",
        properties={
            "cpus": CPUS,
            "cpu_arch": "x86_64",
            "memory_mb": MEMORY_MIB,
            "local_gb": DISK_GIB - 1,
            "capabilities": f"boot_mode:{machine.boot_mode}",
        },
        extra={"address": machine.address, ENROLLING: True},
        # its disk is blank: cleaning would cost a boot. Both taken back once the node is available.
        automated_clean=False,
    )


def _ensure_port(connection: Connection, machine: Machine) -> None:
    ports = connection.baremetal.ports(node=machine.uuid)
    if machine.mac not in {port.address for port in ports}:
        connection.baremetal.create_port(
            node_id=machine.uuid, address=machine.mac, is_pxe_enabled=True
        )


def _is_unfinished(node: Any) -> bool:
    """Say whether a node is one that an `up` began to enrol and did not bring to its end."""
    return ENROLLING in (node.extra or {})


def _make_available(connection: Connection, names: Collection[str]) -> None:
    """Take nodes to `available`, all at once, and turn their automated cleaning on."""
    asked: dict[str, str] = {}

    def step() -> dict[str, str]:
        missing = {}
        for node in connection.baremetal.nodes(details=True):
            if node.name not in names or node.provision_state == "available":
                continue
            missing[node.name] = f"{node.provision_state} ({node.last_error})"
            target = NEXT.get(node.provision_state)
            if target is None or node.reservation:
                continue
            if asked.get(node.name) == target and node.last_error:
                raise LabError(f"node {node.name}: Ironic could not {target} it: {node.last_error}")
            if asked.get(node.name) != target:
                connection.baremetal.set_node_provision_state(node, target)
                asked[node.name] = target
        return missing

    _wait("become available", step, limit_s=STEP_S)
    for name in names:
        # null rather than "remove", which Ironic 39 answers with status 500 (KeyError: 'value')
        clean = {"op": "replace", "path": "/automated_clean", "value": None}
        mark = {"op": "remove", "path": f"/extra/{ENROLLING}"}
        connection.baremetal.patch_node(name, [clean, mark])


def _wait(what: str, left: Callable[[], dict[str, str]], *, limit_s: float) -> None:
    """Wait until no node is left.

    :raises LabError: some are, when the time is over; says what they were last.
    """
    deadline = time.monotonic() + limit_s
    while last := left():
        if time.monotonic() > deadline:
            states = ", ".join(f"{name}: {state}" for name, state in sorted(last.items()))
            raise LabError(f"nodes did not {what} within {limit_s:g} seconds: {states}")
        time.sleep(PAUSE_S)
