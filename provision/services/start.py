"""Start one service anew on one node, and put it back as it was when it does not come up."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from provision.services import images
from provision.services.host import Host, HostError, Install, Outcome
from provision.services.order import Step
from provision.services.plan import Action, Change
from provision.services.site import Site
from provision.services.state import State
from provision.services.unit import render
from provision.services.watch import Watch

LOG = logging.getLogger(__name__)
SHORTEST_S = 10.0  # for going back, however late it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The time of one service, on the site's clock: to be up by, and to be put back by."""

    up_by: float
    end_by: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One service to start.

    :ivar dependents: what needs it, and is to be up as it was.
    """

    site: Site
    watch: Watch
    change: Change
    dependents: Sequence[Step]
    limits: Limits

    @property
    def host(self) -> Host:
        """The node it is on."""
        return self.site.hosts[self.change.host]

    @property
    def step(self) -> Step:
        """The service on its node."""
        return Step(host=self.change.host, service=self.change.service)

    def left(self, limit: float) -> float:
        """Return the seconds until a limit; never so few that nothing could come of them."""
        return max(limit - self.site.now(), SHORTEST_S)


def bring_up(task: Task) -> str | None:
    """Install a unit if it is another one, start the service, wait for its dependents.

    :returns: None: all is up; else why not, and where things stand now.
    """
    change = task.change
    try:
        outcome = _start(task)
        if outcome.ok:
            down = task.watch.until_up(task.dependents, task.limits.up_by)
            if not down:
                return None
            return _put_back(task, f"it came up, but {_are(down)}")
        for line in outcome.log:
            LOG.error("%s: %s | %s", change.host, change.service, line)
        return _put_back(task, f"it did not come up: {outcome.said or 'nobody knows why'}")
    except HostError as error:
        return _put_back(task, str(error), sure=False)


def _start(task: Task) -> Outcome:
    change, project = task.change, task.site.project
    limit_s = task.left(task.limits.up_by)
    if change.action is Action.ROLLBACK:
        return task.host.restore(project.name, change.service, swap=True, timeout_s=limit_s)
    if change.action.installs:
        wanted = change.wanted
        assert wanted is not None  # noqa: S101 - what is installed has a unit
        task.host.install(
            Install(
                project=project.name,
                units={change.service: wanted.text},
                configs={change.service: wanted.configs},
                secrets=wanted.secrets,
                registries=project.registries,
                quadlet=wanted.quadlet,
            )
        )
    return task.host.restart(project.name, change.service, timeout_s=limit_s)


def _put_back(task: Task, said: str, *, sure: bool = True) -> str:
    """Put a service back as it was before this run, and start its dependents; word what came of it.

    :param sure: the new unit is known to be on the node.
    """
    change = task.change
    words = [said]
    try:
        if change.action.goes_back and (sure or _is_new(task)):
            outcome = task.host.restore(
                task.site.project.name,
                change.service,
                swap=change.action is Action.ROLLBACK,
                timeout_s=task.left(task.limits.end_by),
            )
            words.append(_stands(task, outcome))
        words += _revive(task)
    except HostError as error:
        words.append(f"going back failed too: {error}")
    return "; ".join(words)


def _is_new(task: Task) -> bool:
    """Find out whether the node has the new unit: it may have been lost on the way there."""
    task.watch.look(task.change.host)
    there, before = task.watch.there(task.step), task.watch.was_there(task.step)
    return (there.current if there else None) != (before.current if before else None)


def _stands(task: Task, outcome: Outcome) -> str:
    """Word what is on the node now: it knows best which unit was the last that worked."""
    task.watch.look(task.change.host)
    there = task.watch.there(task.step)
    if there is None or there.current is None:
        return "taken away again"
    pinned = images.short(render.record(there.current).pinned)
    if outcome.ok:
        return f"went back to {pinned}, which is up"
    return f"went back to {pinned}, which does not come up either: {outcome.said}"


def _revive(task: Task) -> list[str]:
    """Start dependents that are down, and wait for all; return what still is not up, in words."""
    for host in dict.fromkeys(one.host for one in task.dependents):
        task.watch.look(host)
    for one, now in task.watch.not_up(task.dependents).items():
        if not now.may_change:
            LOG.info("%s: %s: it is %s, starting it", one.host, one.service, now)
            task.site.hosts[one.host].restart(
                task.site.project.name, one.service, timeout_s=task.left(task.limits.end_by)
            )
    down = task.watch.until_up(task.dependents, task.limits.end_by)
    return [_are(down)] if down else []


def _are(down: Mapping[Step, State]) -> str:
    return ", ".join(f"{one.service} on {one.host} is {now}" for one, now in down.items())
