"""Enrol machines in Ironic through its API: create, change, verify, remove.

Bodies that hold secrets (driver_info) are not logged.
"""

from typing import Any, Protocol

from openstack.connection import Connection

from atomic_baremetal.errors import Error
from provision.baremetal import IronicBareMetal, send
from provision.inventory import Machine
from provision.node import Node


class PortTaken(Error):
    """A MAC address that belongs to another node."""


class Registry(Protocol):
    """Ask Ironic. Each method raises Busy when it should be asked again, Refused, or CloudError."""

    def node(self, name: str) -> Node | None:
        """Find a node by name or uuid."""

    def create(self, machine: Machine) -> Node:
        """Create the node, in state `enroll`, without ports."""

    def update(self, node: Node, machine: Machine) -> bool:
        """Make the node say what the inventory says; return whether more than secrets differed."""

    def add_ports(self, node: Node, machine: Machine) -> bool:
        """Create the ports that are missing; return whether one was."""

    def ask(self, node: Node, verb: str) -> None:
        """Ask for a change of state: `manage`, `provide`."""

    def remove(self, node: Node) -> None:
        """Delete a node that is of no use, in whatever state."""


class IronicRegistry:
    """Be the Registry of a cloud with Ironic's API."""

    def __init__(self, connection: Connection) -> None:
        """Wrap an open connection; nothing is asked yet."""
        self._connection = connection
        self._baremetal = IronicBareMetal(connection)

    def node(self, name: str) -> Node | None:
        """Find a node by name or uuid."""
        return self._baremetal.node(name)

    def create(self, machine: Machine) -> Node:
        """Create the node, in state `enroll`, without ports."""
        body = {"name": machine.name, "driver": machine.driver, **_fields(machine)}
        send(self._connection, "POST", "/nodes", body, secret=True)
        created = self.node(machine.name)
        if created is None:
            raise Error(f"node {machine.name} was created, but Ironic does not find it")
        return created

    def update(self, node: Node, machine: Machine) -> bool:
        """Make the node say what the inventory says; return whether anything but secrets differed.

        Ironic shows secrets as asterisks: they cannot be compared, and are written each time.
        """
        there = send(self._connection, "GET", f"/nodes/{node.uuid}")
        changes: list[dict[str, Any]] = []
        secrets: list[dict[str, Any]] = []
        wanted = {"driver": machine.driver, **_fields(machine)}
        for key, value in wanted.items():
            pairs = (
                [
                    (f"/{key}/{_escaped(name)}", (there.get(key) or {}).get(name), one)
                    for name, one in value.items()
                ]
                if isinstance(value, dict)
                else [(f"/{key}", there.get(key), value)]
            )
            for path, old, new in pairs:
                if old == new:
                    continue
                change = {"op": "add", "path": path, "value": new}
                (secrets if old == "******" else changes).append(change)
        if changes or secrets:
            send(self._connection, "PATCH", f"/nodes/{node.uuid}", changes + secrets, secret=True)
        return bool(changes)

    def add_ports(self, node: Node, machine: Machine) -> bool:
        """Create the ports that are missing; return whether one was.

        :raises PortTaken: a MAC address belongs to another node.
        """
        added = False
        for mac in machine.macs:
            found = send(self._connection, "GET", f"/ports/detail?address={mac}")["ports"]
            if not found:
                body = {"address": mac, "node_uuid": node.uuid}
                send(self._connection, "POST", "/ports", body)
                added = True
            elif found[0]["node_uuid"] != node.uuid:
                raise PortTaken(
                    f"the MAC {mac} of {machine.name} belongs to another node",
                    hint=f"see: openstack baremetal node show {found[0]['node_uuid']}",
                )
        return added

    def ask(self, node: Node, verb: str) -> None:
        """Ask for a change of state: `manage`, `provide`."""
        send(self._connection, "PUT", f"/nodes/{node.uuid}/states/provision", {"target": verb})

    def remove(self, node: Node) -> None:
        """Delete a node that is of no use, in whatever state."""
        # in maintenance a node can be deleted in any state
        send(
            self._connection,
            "PUT",
            f"/nodes/{node.uuid}/maintenance",
            {"reason": "its enrolment failed; it is being removed"},
        )
        send(self._connection, "DELETE", f"/nodes/{node.uuid}")


def _fields(machine: Machine) -> dict[str, Any]:
    """Say in the API's words what an inventory can change on a node."""
    fields: dict[str, Any] = {
        "resource_class": machine.resource_class,
        "driver_info": dict(machine.driver_info),
        "properties": dict(machine.properties),
        "extra": dict(machine.extra),
        **{f"{kind}_interface": name for kind, name in machine.interfaces.items()},
    }
    if machine.automated_clean is not None:
        fields["automated_clean"] = machine.automated_clean
    if machine.description is not None:
        fields["description"] = machine.description
    return fields


def _escaped(name: str) -> str:
    """Write a name as a step of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")
