"""Carry changes out: bring the unit, start the service anew, wait until it and what needs it is up.

What does not come up is put back as it was, with its dependents, and the roll-out ends there. The
time of one service is halved: one half to come up in, the other to go back in.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from provision.services import images, start, state
from provision.services.host import HostError, Observed
from provision.services.order import Step
from provision.services.plan import Action, Change
from provision.services.rollout import Rollout, walk
from provision.services.site import Site
from provision.services.start import Limits, Task
from provision.services.state import State
from provision.services.watch import Watch, meets

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a service on a node.

    :ivar state: as it was last seen; None: nobody could look.
    :ivar error: None when it is as it was to be.
    """

    change: Change
    state: State | None = None
    error: str | None = None


class Convergence:
    """Carry out the changes of one run, and keep what came of each."""

    def __init__(
        self,
        site: Site,
        changes: Sequence[Change],
        seen: Mapping[str, Observed],
        *,
        remove_orphans: bool = False,
    ) -> None:
        """Take over what is planned and what was seen; nothing is asked yet."""
        self._site = site
        self._watch = Watch(site, seen)
        self._changes = {Step(host=one.host, service=one.service): one for one in changes}
        self._orphans = {
            host: [
                one.service
                for one in changes
                if one.host == host and one.action is Action.ORPHAN and remove_orphans
            ]
            for host in site.hosts
        }
        self._all = site.steps()
        self._left = [one for one in self._all if self._acts(one)]
        self._done: set[Step] = set()
        self._touched: set[str] = set()
        self._errors: dict[Step, str] = {}

    def run(self, *, serial: int) -> list[Result]:
        """Carry out, so many nodes at a time.

        :returns: one result for each change; the failed ones have an error.
        :raises KeyboardInterrupt: after the services in hand were brought up, or put back.
        """
        rollout = Rollout(self._left, needs=self._needed, serial=serial)
        self._left = rollout.left
        hosts = {one.host for one in self._left}
        try:
            if all(self._clear(host) for host in self._site.hosts if host not in hosts):
                walk(rollout, self._carry_out, at_once=max(1, min(serial, len(hosts))))
            self._settle()
        except KeyboardInterrupt:
            for one, error in self._errors.items():
                LOG.error("%s: %s: %s", *step_words(one), error)
            left = ", ".join(f"{one.service} on {one.host}" for one in self._left)
            LOG.error("interrupted; not touched: %s", left or "nothing is left")
            raise
        return [self._result(step) for step in self._changes]

    def _carry_out(self, step: Step) -> bool:
        """Do one step; False: it failed, and the roll-out is to stop."""
        change, site = self._changes[step], self._site
        began = site.now()
        limits = Limits(up_by=began + site.wait_s / 2, end_by=began + site.wait_s)
        reasons = images.short("; ".join(change.reasons))
        LOG.info("%s: %s: %s: %s", *step_words(step), change.action, reasons)
        if not self._clear(step.host):
            return False
        task = Task(
            site=site,
            watch=self._watch,
            change=change,
            dependents=self._dependents(step),
            limits=limits,
        )
        trouble = self._wait_for_needs(step, limits.up_by) or start.bring_up(task)
        if trouble is not None:
            self._errors[step] = trouble
            return False
        self._done.add(step)
        LOG.info("%s: %s: up after %.0f s", *step_words(step), site.now() - began)
        return any(one.host == step.host for one in self._left) or self._finish(step)

    def _wait_for_needs(self, step: Step, limit: float) -> str | None:
        for need in self._site.needs(step):
            if need.step in self._done:
                continue
            if need.step.host in self._watch.before and meets(need, self._watch.state(need.step)):
                continue
            saw = self._watch.until_met(need, limit)
            if saw is not None:
                return f"not touched: it needs {need.step.service} on {need.step.host}, where {saw}"
        return None

    def _dependents(self, step: Step) -> list[Step]:
        """List what needs a service, was up, and is not about to be started anew itself."""
        return [
            one
            for one in self._site.dependents(step)
            if one not in self._left and self._watch.was_up(one)
        ]

    def _clear(self, host: str) -> bool:
        """Remove a node's orphans before its services are touched: they may be in their way."""
        orphans, self._orphans[host] = self._orphans[host], []
        if not orphans:
            return True
        LOG.info("%s: removing %s", host, ", ".join(orphans))
        self._touched.add(host)
        try:
            self._site.hosts[host].remove(
                self._site.project.name, orphans, timeout_s=self._site.wait_s
            )
        except HostError as error:
            self._errors.update({Step(host=host, service=one): str(error) for one in orphans})
            return False
        return True

    def _finish(self, last: Step) -> bool:
        """See that everything on a node is up after its last change, then tidy up there."""
        mine = self._on(last.host)
        try:
            down = self._watch.until_up(mine, self._site.now() + self._site.wait_s / 2)
        except HostError as error:
            self._errors[last] = str(error)
            return False
        self._errors.update({one: f"it is {now}" for one, now in down.items()})
        if down:
            return False
        self._touched.discard(last.host)
        try:
            self._site.hosts[last.host].tidy(self._site.project.name)
        except HostError as error:  # what is left over does no harm, and waits for the next run
            LOG.warning("%s", error)
        return True

    def _settle(self) -> None:
        """Wait for what was on its way up without us; look again where something went wrong."""
        look_again = {one.host for one in self._errors} | self._touched
        for host in self._site.hosts:
            mine = self._on(host)
            try:
                if host in look_again:
                    self._watch.look(host)
                elif any(self._watch.state(one).may_change for one in mine):
                    limit = self._site.now() + self._site.wait_s / 2
                    down = self._watch.until_up(mine, limit)
                    self._errors.update({one: f"it is {now}" for one, now in down.items()})
            except HostError as error:
                self._watch.seen.pop(host, None)
                for one in mine:
                    self._errors.setdefault(one, str(error))

    def _on(self, host: str) -> list[Step]:
        return [one for one in self._all if one.host == host]

    def _acts(self, step: Step) -> bool:
        return step in self._changes and self._changes[step].action.starts

    def _needed(self, step: Step) -> Collection[Step]:
        return [need.step for need in self._site.needs(step)]

    def _result(self, step: Step) -> Result:
        seen = self._watch.seen.get(step.host)
        error = self._errors.get(step)
        if error is None and step in self._left:
            error = "not touched: the roll-out was stopped"
        return Result(
            change=self._changes[step],
            state=state.of(seen.services.get(step.service)) if seen else None,
            error=error,
        )


def step_words(step: Step) -> tuple[str, str]:
    """Name a step's host and service."""
    return step.host, step.service
