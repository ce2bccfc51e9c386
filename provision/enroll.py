"""Enrol the machines of an inventory: create or change each node, verify it, make it available.

A node that this run created and that fails is removed again; one that was there before is left as
it is.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from atomic_baremetal.errors import CloudError, Error
from provision import node as states
from provision.clock import Clock
from provision.inventory import Machine
from provision.node import Busy, Node
from provision.registry import Registry

LOG = logging.getLogger(__name__)
INTERVAL_S = 1.0
REMOVE_LIMIT_S = 60.0
# what follows by itself, without a request of ours
ON_ITS_WAY = frozenset({"verifying", "inspecting", "inspect wait", "deleting"}) | states.CLEANING


@dataclass(slots=True, kw_only=True)
class Enrolment:
    """Follow one machine. Changes as the run goes on.

    :ivar did: `created`, `updated`, `unchanged`; `removed`: created in vain.
    :ivar state: the node's provision state, as last seen.
    :ivar error: why it failed; None unless it did.
    """

    machine: Machine
    node: Node | None = None
    did: str = "unchanged"
    state: str = "unknown"
    asked: str | None = None
    ready: bool = False
    error: str | None = None


def enroll(
    machines: Sequence[Machine], registry: Registry, clock: Clock, *, limit_s: float
) -> list[Enrolment]:
    """Enrol all machines; one that fails does not stop the others.

    :param limit_s: until all are available.
    :raises CloudError: nothing was written: Ironic does not answer, or refuses the credentials.
    :raises KeyboardInterrupt: after what this run created and did not finish was removed.
    """
    all_ = [Enrolment(machine=machine) for machine in machines]
    deadline = clock.now() + limit_s
    for one in all_:  # before anything is written: an Ironic that does not answer is one error
        one.node = registry.node(one.machine.name)
    try:
        for one in all_:
            _write(one, registry)
        while open_ := [one for one in all_ if not one.ready and one.error is None]:
            for one in open_:
                _step(one, registry, late=clock.now() >= deadline, limit_s=limit_s)
            if any(not one.ready and one.error is None for one in all_):
                clock.sleep(INTERVAL_S)
    except KeyboardInterrupt:
        _remove([one for one in all_ if not one.ready], registry, clock)
        raise
    _remove([one for one in all_ if one.error is not None], registry, clock)
    return all_


def _write(one: Enrolment, registry: Registry) -> None:
    """Create or change the node and its ports."""
    machine = one.machine
    try:
        if one.node is None:
            one.did = "created"
            one.node = registry.create(machine)
        elif registry.update(one.node, machine):
            one.did = "updated"
        if registry.add_ports(one.node, machine) and one.did == "unchanged":
            one.did = "updated"
    except Error as error:
        one.error = str(error)
    else:
        one.state = one.node.provision_state
        LOG.info("%s: %s", machine.name, one.did)


def _step(one: Enrolment, registry: Registry, *, late: bool, limit_s: float) -> None:
    """Look at the node and ask for what comes next."""
    try:
        node = registry.node(one.machine.name)
        if node is None:
            one.error = "the node is gone from Ironic"
            return
        one.node = node
        if node.provision_state != one.state:
            one.state = node.provision_state
            LOG.info("%s: %s", one.machine.name, one.state)
        _go_on(one, node, registry)
    except Busy as error:
        LOG.debug("%s: %s", one.machine.name, error)
    except CloudError as error:
        one.error = str(error)
    if late and not one.ready and one.error is None:
        one.error = f"not available within {limit_s:g} seconds: it is {one.state!r}" + _because(one)


def _go_on(one: Enrolment, node: Node, registry: Registry) -> None:
    state = node.provision_state
    if state in ON_ITS_WAY:
        return
    if state in ("enroll", "manageable"):
        verb = "manage" if state == "enroll" else "provide"
        if one.asked == verb:  # it was tried, and the node has fallen back
            one.error = f"Ironic cannot {'manage' if verb == 'manage' else 'clean'} it" + _because(
                one
            )
            return
        registry.ask(node, verb)
        one.asked = verb
    elif state == states.CLEAN_FAILED:
        one.error = "Ironic cannot clean it" + _because(one)
    else:
        one.ready = True  # available, or in use


def _because(one: Enrolment) -> str:
    last_error = one.node.last_error if one.node is not None else None
    return f"; Ironic: {last_error}" if last_error else ""


def _remove(failed: Sequence[Enrolment], registry: Registry, clock: Clock) -> None:
    """Remove the nodes among the failed ones that this run created."""
    deadline = clock.now() + REMOVE_LIMIT_S
    for one in failed:
        if one.did != "created":
            continue
        while True:
            try:
                node = registry.node(one.machine.name)
                if node is not None:
                    registry.remove(node)
                    LOG.warning("%s: removed again", one.machine.name)
                one.did, one.state = "removed", "removed"
                break
            except CloudError as error:
                if not isinstance(error, Busy) or clock.now() >= deadline:
                    LOG.error("%s: not removed: %s", one.machine.name, error)
                    break
            clock.sleep(INTERVAL_S)
