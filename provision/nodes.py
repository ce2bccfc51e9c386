"""Provision nodes: take them, deploy an image on each, wait until each answers ssh with its key.

Then, if asked to, have their services brought to them.

One thread walks over all nodes every two seconds. Whatever goes wrong with one node ends that
node's way, not the others': at the end the failed ones are given back and the good ones stay.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from atomic_baremetal.errors import CloudError
from provision import config_drive, lease, phases
from provision.clock import Clock
from provision.events import Phase, Run
from provision.keys import new_host_key
from provision.known_hosts import KnownHosts
from provision.lease import Lease
from provision.node import BareMetal, Busy, Node, Refused
from provision.order import Order
from provision.release import Claim, Release, Returned
from provision.ssh import Answer, Prober

LOG = logging.getLogger(__name__)
INTERVAL_S = 2.0
FIRST_RETRY_S, LONGEST_RETRY_S = 2.0, 30.0
START_LIMIT_S = 300.0  # with --no-wait: for Ironic to accept each deploy
SILENCE_LIMIT_S = 120.0  # Ironic may be restarted while nodes deploy
GIVE_BACK_LIMIT_S = 900.0


class Delivery(Protocol):
    """Bring services to hosts without making anybody wait."""

    def ask(self, ready: Sequence[Lease]) -> Mapping[str, str | None]:
        """Take on hosts that are ready, if it can just now; return those done since the last time.

        :returns: by host name: None, or what went wrong.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """Hold what the story works with; delivery None: no services."""

    baremetal: BareMetal
    known_hosts: KnownHosts
    prober: Prober
    clock: Clock
    run: Run
    delivery: Delivery | None = None


def provision(
    order: Order, tools: Tools, *, wait_s: float | None, keep_on_failure: bool
) -> list[Lease]:
    """Take and deploy what was ordered. A host that is there already, the same, counts as done.

    :param wait_s: until the last host has answered ssh; None: return when Ironic has accepted every
        deploy.
    :param keep_on_failure: leave a failed or interrupted node as it is.
    :returns: one a host; a lease with an error has failed.
    :raises Error: nothing was taken.
    :raises KeyboardInterrupt: after everything that this run took was given back.
    """
    started = tools.clock.now()
    leases = lease.take(order, tools.baremetal, tools.known_hosts, tools.clock)
    work = _Work(order, tools, leases, started=started, wait_s=wait_s)
    try:
        work.until_over()
    except (KeyboardInterrupt, CloudError) as error:
        LOG.warning("interrupted" if isinstance(error, KeyboardInterrupt) else "%s", *error.args)
        if not keep_on_failure:
            give_back([one for one in leases if one.taken], tools)
        raise
    failed = [one for one in leases if one.error is not None and one.taken]
    if failed and not keep_on_failure:
        give_back(failed, tools)
    return leases


def give_back(leases: Sequence[Lease], tools: Tools) -> None:
    """Give leases back, one line a node; a second interrupt names what is left."""
    if not leases:
        return
    hosts = {one.host_name: one for one in leases}

    def report(returned: Returned) -> None:
        one = hosts[returned.claim.name]
        if returned.ok:
            _record(tools.run, one, Phase.RELEASED, detail=returned.said)
        else:
            LOG.error("%s: %s", one.host_name, returned.said)

    LOG.warning("giving back: %s", ", ".join(hosts))
    release = Release(
        tools.baremetal, tools.known_hosts, tools.clock, until_available=False, report=report
    )
    claims = [
        Claim(name=one.host_name, node_uuid=one.node.uuid, allocation=one.host_name)
        for one in leases
    ]
    try:
        release.run(claims, limit_s=GIVE_BACK_LIMIT_S)
    except KeyboardInterrupt:
        names = " ".join(claim.name for claim in release.left)
        LOG.error("stopped; not given back yet: provision release %s", names)
        raise


def _record(run: Run, one: Lease, phase: Phase, **more: str | None) -> None:
    run.record(one.host_name, phase, ironic_node=one.node.label, uuid=one.node.uuid, **more)


class _Work:
    """Walk the leases of one run on, from allocated to done."""

    def __init__(
        self,
        order: Order,
        tools: Tools,
        leases: list[Lease],
        *,
        started: float,
        wait_s: float | None,
    ) -> None:
        self._order = order
        self._tools = tools
        self._leases = leases
        self._no_wait = wait_s is None
        self._limit_s = START_LIMIT_S if wait_s is None else wait_s
        self._deadline = started + self._limit_s
        self._heard = started  # when Ironic last answered

    def until_over(self) -> None:
        """Walk until every lease is done or failed, or the time is up."""
        for one in self._leases:
            _record(
                self._tools.run,
                one,
                one.phase,
                detail=f"address {one.address}" if one.address else None,
            )
        while any(self._open(one) for one in self._leases):
            now = self._tools.clock.now()
            if now >= self._deadline:
                self._time_is_up()
                return
            self._walk(now)
            if any(self._open(one) for one in self._leases):
                self._tools.clock.sleep(INTERVAL_S)

    def _open(self, one: Lease) -> bool:
        if self._no_wait:
            return one.phase is Phase.ALLOCATED
        return one.phase not in (Phase.DONE, Phase.FAILED)

    def _walk(self, now: float) -> None:
        try:
            found = self._tools.baremetal.nodes(self._order.resource_class)
        except CloudError as error:
            # a restart of Ironic is no reason to give up; a longer silence is
            for one in filter(self._open, self._leases):
                one.saw = error.message
                _record(self._tools.run, one, one.phase, waiting_for=f"Ironic: {error.message}")
            if now - self._heard > SILENCE_LIMIT_S:
                raise
            return
        self._heard = now
        nodes = {node.uuid: node for node in found}
        for one in filter(self._open, self._leases):
            if one.phase is not Phase.SERVICES:
                self._step(one, nodes.get(one.node.uuid), now)
        self._deliver()

    def _step(self, one: Lease, node: Node | None, now: float) -> None:
        if node is not None:
            one.node = node
            one.address = node.address or one.address
            one.saw = f"node {node.label} is {node.provision_state!r}"
        if one.phase is not Phase.ALLOCATED:
            self._watch(one, node)
        elif node is None:
            self._fail(one, "the node is gone from Ironic")
        elif now >= one.retry_at:
            self._start(one, now)

    def _start(self, one: Lease, now: float) -> None:
        """Ask Ironic to deploy; try again later when it is busy."""
        key = new_host_key()
        drive = config_drive.build(
            host_name=one.host_name,
            node_uuid=one.node.uuid,
            public_key=self._order.public_key,
            host_key=key,
            user_data=self._order.user_data,
        )
        # pinned first: a run that is killed right after the request can still be taken up again
        self._tools.known_hosts.pin(one.node.uuid, key.public)
        try:
            self._tools.baremetal.set_instance(one.node.uuid, self._order.instance(one.host_name))
            self._tools.baremetal.deploy(one.node.uuid, drive)
        except Busy as error:
            one.refusals += 1
            one.saw = error.message
            pause = min(FIRST_RETRY_S * 2 ** (one.refusals - 1), LONGEST_RETRY_S)
            one.retry_at = now + pause
            self._go(one, Phase.ALLOCATED, waiting_for="Ironic to accept the deploy; it is busy")
        except Refused as error:
            self._fail(one, error.message)
        else:
            one.host_key = key.public
            one.saw = "Ironic has accepted the deploy"
            self._go(one, Phase.DEPLOYING, waiting_for="Ironic to prepare the deploy")

    def _watch(self, one: Lease, node: Node | None) -> None:
        progress = phases.of_deploy(node)
        if progress.error is not None:
            self._fail(one, progress.error)
        elif progress.phase is not Phase.ACTIVE:
            self._go(one, progress.phase, waiting_for=progress.waiting_for)
        else:
            if one.phase is not Phase.BOOTING:
                self._go(one, Phase.ACTIVE, waiting_for=progress.waiting_for)
            self._connect(one)

    def _connect(self, one: Lease) -> None:
        """Ask whether the host answers ssh with the key made for it."""
        if one.address is None or one.host_key is None:
            self._fail(
                one,
                f"no address is known for node {one.node.label}: write it down with "
                f"openstack baremetal node set {one.node.label} --extra address=ADDRESS",
            )
            return
        port = one.node.ssh_port
        found = self._tools.prober.ask(one.address, port, host_key=one.host_key)
        if found is None:  # still asking
            if one.phase is not Phase.BOOTING:
                self._go(one, Phase.BOOTING, waiting_for=f"ssh at {one.address} port {port}")
        elif found.answer is Answer.NOT_YET:
            one.saw = f"ssh at {one.address} port {port}: {found.saw}"
            self._go(one, Phase.BOOTING, waiting_for=one.saw)
        elif found.answer is Answer.WRONG_KEY:
            self._fail(one, f"{found.saw}: this is not the host that was deployed")
        else:
            self._go(one, Phase.SSH, detail=found.saw)
            if self._tools.delivery is None:
                self._go(one, Phase.DONE, detail=f"address {one.address}")
            else:
                one.saw = "its services were not done"
                self._go(one, Phase.SERVICES, waiting_for="its services")

    def _deliver(self) -> None:
        """Hand over hosts that wait for their services; note whose are done."""
        if self._tools.delivery is None:
            return
        waiting = {one.host_name: one for one in self._leases if one.phase is Phase.SERVICES}
        for name, error in self._tools.delivery.ask(list(waiting.values())).items():
            if error is None:
                self._go(waiting[name], Phase.DONE, detail=f"address {waiting[name].address}")
            else:
                self._fail(waiting[name], error)

    def _go(self, one: Lease, phase: Phase, **more: str | None) -> None:
        one.phase = phase
        _record(self._tools.run, one, phase, **more)

    def _fail(self, one: Lease, error: str) -> None:
        one.error = error
        self._go(one, Phase.FAILED, detail=error)

    def _time_is_up(self) -> None:
        for one in filter(self._open, self._leases):
            last_error = one.node.last_error
            self._fail(
                one,
                f"not ready within {self._limit_s:g} seconds; phase {one.phase}, node "
                f"{one.node.label}; last seen: {one.saw}"
                + (f"; Ironic: {last_error}" if last_error else ""),
            )
