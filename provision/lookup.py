"""Find the node that somebody means: by what runs on it, by its own name, or by uuid."""

from dataclasses import dataclass

from atomic_baremetal.errors import Error
from provision.node import Allocation, BareMetal, Node


class LookupFailed(Error):
    """No node, or more than one, is meant by a name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Hold a node and the allocation that claims it, or one of the two.

    :ivar node: None: the allocation has no node (it failed, or is not decided yet).
    :ivar allocation: None: nobody claims the node through the allocation API.
    """

    node: Node | None
    allocation: Allocation | None

    @property
    def name(self) -> str:
        """What to call it: the host name if there is one."""
        if self.allocation is not None and self.allocation.name:
            return self.allocation.name
        if self.node is not None:
            return self.node.host_name or self.node.label
        return self.allocation.uuid if self.allocation else ""


def find(baremetal: BareMetal, name: str) -> Found:
    """Find by host name (the allocation's), node name, or the uuid of either.

    :raises LookupFailed: nothing is called that, or two different nodes are.
    """
    allocation = baremetal.allocation(name)
    node = baremetal.node(name)
    if allocation is not None:
        if node is not None and node.uuid != allocation.node_uuid:
            raise LookupFailed(
                f"{name!r} is both a node and the host on another node",
                hint=f"give a uuid: {node.uuid} is the node, {allocation.uuid} the host",
            )
        if allocation.node_uuid is not None:
            node = baremetal.node(allocation.node_uuid)
        return Found(node=node, allocation=allocation)
    if node is not None:
        claim = baremetal.allocation(node.allocation_uuid) if node.allocation_uuid else None
        return Found(node=node, allocation=claim)
    raise LookupFailed(
        f"there is no node and no host {name!r}", hint="what is there: provision list"
    )
