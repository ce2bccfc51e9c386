"""Give nodes back: tear down what runs there, drop the claim, forget the pinned host key.

The same story serves `provision release` and the clean-up after a failed or interrupted `provision
nodes`.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from atomic_baremetal.errors import CloudError, Error
from provision import lookup
from provision import node as states
from provision.clock import Clock
from provision.known_hosts import KnownHosts
from provision.node import Allocation, BareMetal, Node, Refused

INTERVAL_S = 2.0
REFUSALS = 5
ASK_AGAIN_S = 30.0  # a tear-down that was accepted shows at once; if it does not, it got lost


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Name what is to be given back: a node, an allocation, or both.

    :ivar name: what people call it.
    """

    name: str
    node_uuid: str | None = None
    allocation: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """Say how giving back ended.

    :ivar said: for people: what was done, or what is left and why.
    """

    claim: Claim
    ok: bool
    said: str


def find_claims(
    baremetal: BareMetal, names: Sequence[str]
) -> tuple[list[Claim], dict[str, str | None]]:
    """Find what names mean.

    :returns: a claim for each node that is meant, once, and the error for each name that means
        none.
    """
    claims: dict[str, Claim] = {}
    errors: dict[str, str | None] = {}
    for name in names:
        try:
            found = lookup.find(baremetal, name)
        except lookup.LookupFailed as error:
            errors[name] = str(error)
            continue
        uuid = found.node.uuid if found.node else None
        allocation = found.allocation.uuid if found.allocation else None
        claims[uuid or allocation or name] = Claim(
            name=found.name, node_uuid=uuid, allocation=allocation
        )
    return list(claims.values()), errors


class Left(Error):
    """A node that cannot be given back as it is."""


class Release:
    """Give several nodes back at once, each at its own pace."""

    def __init__(
        self,
        baremetal: BareMetal,
        known_hosts: KnownHosts,
        clock: Clock,
        *,
        until_available: bool,
        report: Callable[[Returned], None] = lambda _: None,
    ) -> None:
        """Take the tools.

        :param until_available: wait for automated cleaning too; otherwise a node that is being
            cleaned is given back.
        :param report: called for each node as it ends.
        """
        self._baremetal = baremetal
        self._known_hosts = known_hosts
        self._clock = clock
        self._until_available = until_available
        self._report = report
        self._asked: dict[str, float] = {}
        self._saw: dict[str, str] = {}
        self._refused: Counter[str] = Counter()

    def run(self, claims: Sequence[Claim], *, limit_s: float) -> list[Returned]:
        """Give all of them back, or say what is left; in the order of the claims.

        :raises KeyboardInterrupt: as is; what is not given back yet is in `left`.
        """
        deadline = self._clock.now() + limit_s
        done: dict[str, Returned] = {}
        self.left = list(claims)
        while self.left:
            for claim in list(self.left):
                returned = self._try(claim, late=self._clock.now() >= deadline, limit_s=limit_s)
                if returned is not None:
                    done[claim.name] = returned
                    self.left.remove(claim)
                    self._report(returned)
            if self.left:
                self._clock.sleep(INTERVAL_S)
        return [done[claim.name] for claim in claims]

    def _try(self, claim: Claim, *, late: bool, limit_s: float) -> Returned | None:
        """Go one step on; None: not yet at the end."""
        try:
            said = self._step(claim)
        except CloudError as error:
            self._saw[claim.name] = error.message
            said = None
            # a node that changes state while it is asked refuses once; one that goes on refusing
            # means it
            self._refused[claim.name] += isinstance(error, Refused)
            if self._refused[claim.name] > REFUSALS:
                return Returned(claim=claim, ok=False, said=str(error))
        except Left as error:
            return Returned(claim=claim, ok=False, said=str(error))
        if said is not None:
            return Returned(claim=claim, ok=True, said=said)
        if late:
            saw = self._saw.get(claim.name, "nothing")
            text = f"not given back within {limit_s:g} seconds; last seen: {saw}"
            return Returned(claim=claim, ok=False, said=text)
        return None

    def _step(self, claim: Claim) -> str | None:
        """Do what can be done now; return what was done when nothing is left to do.

        :raises Left: somebody has to look after it.
        """
        allocation = self._baremetal.allocation(claim.allocation) if claim.allocation else None
        uuid = claim.node_uuid or (allocation.node_uuid if allocation else None)
        node = self._baremetal.node(uuid) if uuid else None
        if node is None:
            if allocation is not None:
                self._baremetal.delete_allocation(allocation.uuid)
            return "given back"
        self._saw[claim.name] = f"node {node.label} is {node.provision_state!r}" + (
            f", Ironic: {node.last_error}" if node.last_error else ""
        )
        if allocation is not None and node.allocation_uuid != allocation.uuid:
            allocation = None  # it was torn down meanwhile, and the claim went with it
        return self._step_of_node(claim, node, allocation)

    def _step_of_node(self, claim: Claim, node: Node, allocation: Allocation | None) -> str | None:
        state = node.provision_state
        if state == states.CLEAN_FAILED:
            self._known_hosts.remove(node.uuid)
            raise Left(
                f"node {node.label} could not be cleaned; Ironic: "
                f"{node.last_error or 'no reason given'}",
                hint=f"repair it, then: openstack baremetal node manage {node.label}",
            )
        if state in states.CAN_BE_UNDEPLOYED:
            self._undeploy(node)
            return None
        if state in ("deploying", "deleting"):
            return None  # locked by its conductor until it is over
        if state in states.CLEANING:
            self._known_hosts.remove(node.uuid)
            said = f"given back (node {node.label} is being cleaned)"
            return None if self._until_available else said
        if allocation is not None:
            self._baremetal.clear_instance(node.uuid)
            self._baremetal.delete_allocation(allocation.uuid)
        self._known_hosts.remove(node.uuid)
        return f"given back (node {node.label} is {state})"

    def _undeploy(self, node: Node) -> None:
        """Ask for the tear-down, once."""
        asked = self._asked.get(node.uuid)
        if asked is not None and node.provision_state in states.TEAR_DOWN_FAILED:
            raise Left(
                f"node {node.label} could not be torn down; Ironic: "
                f"{node.last_error or 'no reason given'}",
                hint="repair what it says, then release it again",
            )
        if node.maintenance:
            raise Left(
                f"node {node.label} is in maintenance"
                + (f" ({node.maintenance_reason})" if node.maintenance_reason else ""),
                hint=f"take it out first: openstack baremetal node maintenance unset {node.label}",
            )
        if node.protected:
            raise Left(
                f"node {node.label} is protected from being torn down",
                hint=f"lift it first: openstack baremetal node unset --protected {node.label}",
            )
        if asked is None or self._clock.now() - asked > ASK_AGAIN_S:
            self._baremetal.undeploy(node.uuid)
            self._asked[node.uuid] = self._clock.now()
