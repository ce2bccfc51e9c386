"""Say what the stories know of Ironic, in frozen data, and what they ask of it.

Glossary: a *node* is a machine enrolled in Ironic. An *allocation* is Ironic's claim on one node of
a resource class; its name is the *host name* of what is deployed there. An *instance* is what runs,
or is to run, on a node.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from atomic_baremetal.errors import CloudError

# provision states, as Ironic names them
AVAILABLE = "available"
ACTIVE = "active"
DEPLOYING = frozenset({"deploying", "wait call-back", "deploy hold"})
DEPLOY_FAILED = "deploy failed"
CLEANING = frozenset({"cleaning", "clean wait", "clean hold"})
CLEAN_FAILED = "clean failed"
TEAR_DOWN_FAILED = frozenset({"error", "delete failed"})
# a tear-down may be asked for in these; in "deploying" and "deleting" the node is locked by its
# conductor
CAN_BE_UNDEPLOYED = frozenset(
    {ACTIVE, DEPLOY_FAILED, "wait call-back", "deploy hold", *TEAR_DOWN_FAILED}
    | {"rescue", "rescue failed", "unrescue failed", "service failed", "service wait"}
)


class Busy(CloudError):
    """Ironic cannot do that just now: the node is locked (409), or no worker is free (503)."""


class Refused(CloudError):
    """Ironic said no (4xx): asking again is of no use, unless the node was about to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Hold one Ironic node as it was when asked for.

    :ivar provision_state: one of Ironic's names, see the sets above.
    :ivar deploy_step: the step of the deploy that runs; None outside of one.
    :ivar allocation_uuid: None too on a node out of a list: Ironic gives it for one node at a time.
    :ivar host_name: of the instance; None on a node that has none.
    :ivar image_id: of the instance; None on a node that has none.
    :ivar address: where the deployed system answers, as enrolled or as the deploy ramdisk reported
        it; None unknown.
    :ivar labels: sorted by name; services are placed by them.
    """

    uuid: str
    provision_state: str
    name: str | None = None
    driver: str = ""
    resource_class: str | None = None
    deploy_step: str | None = None
    deploy_interface: str | None = None
    power_state: str | None = None
    maintenance: bool = False
    maintenance_reason: str | None = None
    protected: bool = False
    last_error: str | None = None
    allocation_uuid: str | None = None
    instance_uuid: str | None = None
    host_name: str | None = None
    image_id: str | None = None
    kernel_arguments: str | None = None
    address: str | None = None
    ssh_port: int = 22
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def label(self) -> str:
        """What people call it: its name, or its uuid."""
        return self.name or self.uuid

    @property
    def free(self) -> bool:
        """Whether Ironic's allocation API would take it."""
        return (
            self.provision_state == AVAILABLE
            and not self.maintenance
            and self.instance_uuid is None
            and self.power_state is not None
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """Hold one allocation.

    :ivar state: `allocating`, `active` or `error`.
    :ivar node_uuid: None until it is active.
    """

    uuid: str
    name: str | None
    state: str
    resource_class: str | None = None
    node_uuid: str | None = None
    last_error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """Say what is to run on a node.

    :ivar root_size_gib: of the root partition; None leaves it to the driver.
    :ivar kernel_arguments: one command line; None leaves them to the driver, which asks Glance.
    """

    host_name: str
    image_id: str
    root_size_gib: int | None = None
    kernel_arguments: str | None = None


class BareMetal(Protocol):
    """Ask Ironic. Each method raises Busy when it should be asked again, Refused, or CloudError."""

    def nodes(self, resource_class: str | None = None) -> list[Node]:
        """List the nodes, or those of one class."""

    def node(self, ident: str) -> Node | None:
        """Find a node by name or uuid."""

    def allocation(self, ident: str) -> Allocation | None:
        """Find an allocation by name or uuid."""

    def allocate(self, name: str, *, resource_class: str, candidates: Sequence[str]) -> Allocation:
        """Ask for a node; candidates are names or uuids, empty: any."""

    def delete_allocation(self, ident: str) -> None:
        """Delete an allocation; one that is not there is fine."""

    def set_instance(self, node_uuid: str, instance: Instance) -> None:
        """Write down what is to run on a node."""

    def clear_instance(self, node_uuid: str) -> None:
        """Forget what was to run on a node that never ran it."""

    def deploy(self, node_uuid: str, config_drive: dict[str, Any]) -> None:
        """Start a deploy; the config drive holds a secret."""

    def undeploy(self, node_uuid: str) -> None:
        """Start a tear-down, automated cleaning included."""
