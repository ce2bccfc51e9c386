"""Say results in the words of the command line: JSON keys and columns (docs/provision.rst)."""

from collections.abc import Mapping, Sequence
from typing import Any

from atomic_baremetal import output
from provision.enroll import Enrolment
from provision.events import Phase
from provision.lease import Lease, Plan
from provision.lookup import Found
from provision.node import Node
from provision.order import Order
from provision.release import Returned

LONG = ("uuid", "image_id", "kernel_arguments", "error", "last_error", "said")  # not in tables


def emit(found: Sequence[Mapping[str, Any]], format_: str) -> None:
    """Print a list of results; the table shows the short columns."""
    columns = [key for key in (found[0] if found else ()) if key not in LONG or key == "uuid"]
    table = output.rows(
        [column.upper().replace("_", " ") for column in columns],
        [[one[column] for column in columns] for one in found],
    )
    output.emit([dict(one) for one in found], format_=format_, table=table)


def host(lease: Lease, order: Order) -> dict[str, Any]:
    """Describe a host after a run: `done`, `deploying` (with --no-wait) or `failed`."""
    if lease.error is not None:
        state = "failed"
    else:
        state = "done" if lease.phase is Phase.DONE else "deploying"
    return _host(
        lease.host_name, lease.node, order, address=lease.address, state=state, error=lease.error
    )


def planned(plan: Plan, order: Order) -> dict[str, Any]:
    """Describe a host of a dry run; its state is `to deploy`, `to finish` or `there`."""
    if plan.phase is None:
        state = "to deploy"
    else:
        state = "there" if plan.phase is Phase.ACTIVE else "to finish"
    return _host(
        plan.host_name, plan.node, order, address=plan.node.address, state=state, error=None
    )


def _host(
    name: str, node: Node, order: Order, *, address: str | None, state: str, error: str | None
) -> dict[str, Any]:
    return {
        "name": name,
        "state": state,
        "address": address,
        "image": order.image.name,
        "image_id": order.image.id,
        "ironic_node": node.label,
        "uuid": node.uuid,
        "kernel_arguments": order.kernel_arguments,
        "error": error,
    }


def node(found: Node, image_names: Mapping[str, str]) -> dict[str, Any]:
    """Describe a node for the list."""
    image = found.image_id
    return {
        "name": found.label,
        "uuid": found.uuid,
        "resource_class": found.resource_class,
        "provision_state": found.provision_state,
        "power_state": found.power_state,
        "maintenance": found.maintenance,
        "host": found.host_name,
        "image": image_names.get(image, image) if image else None,
        "address": found.address,
    }


def details(found: Found, pinned: str | None) -> dict[str, Any]:
    """Describe one node in full; a claim without a node has but its own facts."""
    claim = found.allocation
    facts: dict[str, Any] = {
        "host": found.name if claim else found.node.host_name if found.node else None,
        "allocation": claim.uuid if claim else None,
        "allocation_state": claim.state if claim else None,
    }
    if found.node is None:
        return {**facts, "last_error": claim.last_error if claim else None}
    node = found.node
    return {
        "name": node.name,
        "uuid": node.uuid,
        **facts,
        "driver": node.driver,
        "deploy_interface": node.deploy_interface,
        "resource_class": node.resource_class,
        "provision_state": node.provision_state,
        "power_state": node.power_state,
        "maintenance": node.maintenance,
        "maintenance_reason": node.maintenance_reason,
        "protected": node.protected,
        "image_id": node.image_id,
        "kernel_arguments": node.kernel_arguments,
        "address": node.address,
        "ssh_port": node.ssh_port,
        "host_key": pinned,
        "last_error": node.last_error,
    }


def enrolment(one: Enrolment) -> dict[str, Any]:
    """Describe what came of one machine of an inventory."""
    return {
        "name": one.machine.name,
        "uuid": one.node.uuid if one.node else None,
        "did": one.did,
        "provision_state": one.state,
        "error": one.error,
    }


def returned(one: Returned) -> dict[str, Any]:
    """Describe what came of one release."""
    return {
        "name": one.claim.name,
        "released": one.ok,
        "uuid": one.claim.node_uuid,
        "said": one.said,
    }
