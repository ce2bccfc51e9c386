"""Take nodes for an order, all or none; find again what an earlier run of the command took."""

import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from atomic_baremetal.errors import CloudError, Error
from provision import node as states
from provision.clock import Clock
from provision.events import Phase
from provision.known_hosts import KnownHosts
from provision.node import Allocation, BareMetal, Busy, Node
from provision.order import Order

LOG = logging.getLogger(__name__)
INTERVAL_S = 0.2
# for Ironic to decide on an allocation: milliseconds, or seconds when it finds nodes locked
LIMIT_S = 20.0
ATTEMPTS = 4
# "fake" writes nothing and is for trying things out
FITTING = ("iscsi", "fake")


class NoFreeNode(Error):
    """The class has too few nodes that are free."""


class TakenOtherwise(Error):
    """A host of that name exists, and is not what is asked for."""


@dataclass(slots=True, kw_only=True)
class Lease:
    """Follow one host through a run. Changes as the run goes on.

    :ivar taken: this run took the node, or took over a deploy that was not done: it is given back
        on failure.
    :ivar host_key: the public host key that is pinned; None until then.
    :ivar address: where the host answers, as far as is known.
    :ivar saw: what was seen last, for people.
    :ivar error: why it failed; None unless it did.
    """

    host_name: str
    node: Node
    phase: Phase
    taken: bool
    host_key: str | None = None
    address: str | None = None
    saw: str = "nothing"
    error: str | None = None
    retry_at: float = 0.0
    refusals: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Say what would be done for one host: on which node, from which phase on.

    :ivar node: for a new host, one that Ironic may pick; it may pick another.
    :ivar phase: None: nothing is there yet, or nothing but a failed claim.
    """

    host_name: str
    node: Node
    phase: Phase | None


def plan(order: Order, baremetal: BareMetal) -> list[Plan]:
    """Say what take() would do, and change nothing.

    :raises NoFreeNode: too few nodes are free.
    :raises TakenOtherwise: a host of such a name exists and is something else.
    """
    nodes = baremetal.nodes(order.resource_class)
    there = {name: _standing(name, order, baremetal) for name in order.host_names}
    free = iter(_free(order, nodes))
    _check_enough(order, nodes, wanted=sum(one is None for one in there.values()))
    return [
        Plan(host_name=name, node=one[0], phase=one[1])
        if one is not None
        else Plan(host_name=name, node=next(free), phase=None)
        for name, one in there.items()
    ]


def take(order: Order, baremetal: BareMetal, known_hosts: KnownHosts, clock: Clock) -> list[Lease]:
    """Take the nodes of an order: all, or none.

    :raises NoFreeNode: too few nodes are free.
    :raises TakenOtherwise: a host of such a name exists and is something else.
    """
    nodes = baremetal.nodes(order.resource_class)
    there = {name: _standing(name, order, baremetal) for name in order.host_names}
    new = [name for name, one in there.items() if one is None]
    _check_enough(order, nodes, wanted=len(new))
    leases = {name: _lease(name, one[0], one[1], known_hosts) for name, one in there.items() if one}
    ours: list[str] = []
    with ExitStack() as undo:
        undo.callback(_forget, baremetal, ours)
        for name in new:
            node = _take_one(name, order, baremetal, clock, ours)
            leases[name] = _lease(name, node, Phase.ALLOCATED, known_hosts)
        undo.pop_all()
    return [leases[name] for name in order.host_names]


def _take_one(name: str, order: Order, baremetal: BareMetal, clock: Clock, ours: list[str]) -> Node:
    """Take one node; an allocation that failed though nodes are free is asked for again.

    On sqlite, Ironic's writes can collide: the allocation then fails, or is never decided on.
    """
    saw = "nothing"
    for _ in range(ATTEMPTS):
        nodes = baremetal.nodes(order.resource_class)
        if not _free(order, nodes):
            raise _no_free_node(order, nodes, wanted=None)
        _allocate(name, order, baremetal, _candidates(order, nodes), ours)
        allocation = _decided(name, baremetal, clock)
        node = _node_of(allocation, baremetal)
        if node is not None:
            return node
        saw = "no decision" if allocation is None else str(allocation.last_error)
        LOG.debug("the allocation %s has failed: %s", name, saw)
    nodes = baremetal.nodes(order.resource_class)
    if not _free(order, nodes):
        raise _no_free_node(order, nodes, wanted=None)
    raise CloudError(f"Ironic gives no node for {name}, though there is one; last seen: {saw}")


def _allocate(
    name: str, order: Order, baremetal: BareMetal, candidates: Sequence[str], ours: list[str]
) -> None:
    """Ask for one node, its name added to ours first: an interrupt may lose the answer."""
    baremetal.delete_allocation(name)  # what is there under that name has failed
    if name not in ours:
        ours.append(name)
    try:
        baremetal.allocate(name, resource_class=order.resource_class, candidates=candidates)
    except Busy:
        ours.remove(name)  # somebody else was faster: theirs is not ours to delete
        raise


def _lease(name: str, node: Node, phase: Phase, known_hosts: KnownHosts) -> Lease:
    lease = Lease(
        host_name=name,
        node=node,
        phase=phase,
        taken=phase is not Phase.ACTIVE,
        address=node.address,
        saw=f"node {node.label} is {node.provision_state!r}",
    )
    if phase is not Phase.ALLOCATED:
        lease.host_key = known_hosts.key(node.uuid)
        if lease.host_key is None:
            raise TakenOtherwise(
                f"{name} is deployed already, but its host key is not pinned here",
                hint=f"it was deployed from elsewhere; release it first: provision release {name}",
            )
    return lease


def _standing(name: str, order: Order, baremetal: BareMetal) -> tuple[Node, Phase] | None:
    """Tell what is there under a host name: its node and how far it is; None: nothing that counts.

    :raises TakenOtherwise: something else than what is ordered.
    """
    allocation = baremetal.allocation(name)
    if allocation is None or allocation.state == "error":
        return None
    node = _node_of(allocation, baremetal)
    if node is None:
        raise TakenOtherwise(
            f"{name} is there already, as an allocation without a node",
            hint=f"does another command run? otherwise: provision release {name}",
        )
    if node.resource_class != order.resource_class:
        raise TakenOtherwise(
            f"{name} is there already, on node {node.label} of class {node.resource_class!r}",
            hint=f"release it first: provision release {name}",
        )
    state = node.provision_state
    if state in (states.AVAILABLE, states.DEPLOY_FAILED):
        return node, Phase.ALLOCATED
    if state != states.ACTIVE and state not in states.DEPLOYING:
        raise TakenOtherwise(
            f"{name} is there already, on node {node.label}, which is {state!r}",
            hint=f"wait until it is over, or release it: provision release {name}",
        )
    if node.image_id != order.image.id:
        raise TakenOtherwise(
            f"{name} is there already, on node {node.label}, with another image ({node.image_id})",
            hint=f"release it first: provision release {name}",
        )
    return node, Phase.ACTIVE if state == states.ACTIVE else Phase.DEPLOYING


def _decided(name: str, baremetal: BareMetal, clock: Clock) -> Allocation | None:
    """Wait until Ironic has decided on an allocation; None: it has not, within the limit."""
    deadline = clock.now() + LIMIT_S
    while True:
        allocation = baremetal.allocation(name)
        if allocation is not None and allocation.state in ("active", "error"):
            return allocation
        if allocation is None or clock.now() >= deadline:
            return None
        clock.sleep(INTERVAL_S)


def _node_of(allocation: Allocation | None, baremetal: BareMetal) -> Node | None:
    if allocation is None or allocation.state != "active" or allocation.node_uuid is None:
        return None
    return baremetal.node(allocation.node_uuid)


def _forget(baremetal: BareMetal, allocations: Sequence[str]) -> None:
    """Give allocations back; one that cannot be is named."""
    for name in allocations:
        try:
            baremetal.delete_allocation(name)
        except CloudError as error:
            LOG.error("the allocation %s is left: %s", name, error)


def _fits(order: Order, node: Node) -> bool:
    named = not order.candidates or {node.uuid, node.name} & set(order.candidates)
    return bool(named) and node.deploy_interface in FITTING


def _free(order: Order, nodes: Sequence[Node]) -> list[Node]:
    """List the free nodes, those that are called like a host first, as Ironic prefers them."""
    free = [node for node in nodes if node.free and _fits(order, node)]
    return sorted(free, key=lambda node: node.name not in order.host_names)


def _candidates(order: Order, nodes: Sequence[Node]) -> list[str]:
    """Name the nodes that Ironic may pick; empty: any of the class will do."""
    if not order.candidates and all(_fits(order, node) for node in nodes):
        return []
    return [node.uuid for node in nodes if _fits(order, node)]


def _check_enough(order: Order, nodes: Sequence[Node], *, wanted: int) -> None:
    if wanted > len(_free(order, nodes)):
        raise _no_free_node(order, nodes, wanted=wanted)


def _no_free_node(order: Order, nodes: Sequence[Node], *, wanted: int | None) -> NoFreeNode:
    free = len(_free(order, nodes))
    start = (
        f"no free node of class {order.resource_class!r}"
        if not free
        else f"not enough free nodes of class {order.resource_class!r}"
    )
    wanted = len(order.host_names) if wanted is None else wanted
    counts = Counter(_condition(order, node) for node in nodes)
    there = ", ".join(f"{number} {what}" for what, number in sorted(counts.items())) or "none"
    return NoFreeNode(
        f"{start}: {wanted} wanted, {free} free; there: {there}",
        hint="see provision list; add nodes: provision enroll; free one: provision release",
    )


def _condition(order: Order, node: Node) -> str:
    if node.maintenance:
        return "in maintenance"
    if node.provision_state != states.AVAILABLE:
        return node.provision_state
    if node.instance_uuid is not None:
        return "claimed"
    if node.deploy_interface not in FITTING:
        return f"available with deploy interface {node.deploy_interface!r}"
    if order.candidates and not _fits(order, node):
        return "available but no candidate"
    return "available" if node.power_state is not None else "available with unknown power state"
