"""Hold what a story works on: the services, where they belong, and the nodes in reach."""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from atomic_baremetal.errors import Error
from provision.services import order, parallel
from provision.services.host import Host, Observed
from provision.services.model import Condition, Project
from provision.services.order import Step

DEFAULT_WAIT_S = 900.0
AT_ONCE = 10


class Unreachable(Error):
    """Nodes that did not answer, or not with what was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """A service on a node that has to be there before another one starts.

    :ivar restart: the other one starts anew whenever it does.
    """

    step: Step
    condition: Condition
    restart: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One file of services and the nodes of one command.

    :ivar placed: names of hosts by service; hosts that the command is not about among them.
    :ivar hosts: those that the command is about.
    :ivar others: those that are looked at when a service of theirs has to be up first.
    :ivar wait_s: the limit of each service, the time to put it back included; of each pull too.
    """

    project: Project
    placed: Mapping[str, tuple[str, ...]]
    hosts: Mapping[str, Host]
    others: Mapping[str, Host] = field(default_factory=dict)
    wait_s: float = DEFAULT_WAIT_S
    parallel: int = AT_ONCE
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _needs: Mapping[Step, tuple[Need, ...]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Put the services of the command's hosts in order, once: it is asked for often."""
        ordered = order.steps(self.project, self.placed)
        needs = {one: self._needs_of(one) for one in ordered if one.host in self.hosts}
        object.__setattr__(self, "_needs", needs)

    def _needs_of(self, step: Step) -> tuple[Need, ...]:
        named = {one.service: one for one in self.project.services[step.service].depends_on}
        return tuple(
            Need(
                step=one,
                condition=named[one.service].condition,
                restart=named[one.service].restart,
            )
            for one in order.dependencies(self.project, self.placed, step)
        )

    def steps(self) -> list[Step]:
        """List every service on every host of the command, dependencies first."""
        return list(self._needs)

    def on(self, host: str) -> list[str]:
        """List the services that belong on a host, dependencies first."""
        return [one.service for one in self._needs if one.host == host]

    def needs(self, step: Step) -> tuple[Need, ...]:
        """List what has to be there before a service of a host of the command starts."""
        return self._needs[step]

    def dependents(self, step: Step) -> list[Step]:
        """List what needs a service of a host, directly or not, on the hosts of the command."""
        reached = {step}
        found = []
        for one, needs in self._needs.items():  # dependencies first: one pass is enough
            if any(need.step in reached for need in needs):
                reached.add(one)
                found.append(one)
        return found


def look(site: Site) -> tuple[dict[str, Observed], dict[str, str]]:
    """See every host of the command; return what was seen, and what went wrong with the others."""
    found, failed = parallel.each(
        site.hosts, lambda host: host.observe(site.project.name), at_once=site.parallel
    )
    return found, {name: str(error) for name, error in failed.items()}


def look_at_others(site: Site, services: Collection[str]) -> dict[str, Observed]:
    """See the hosts that the command is not about, and that are to have one of these services.

    Those that do not answer are left out: the command goes on without them.
    """
    wanted = {
        name: way
        for name, way in site.others.items()
        if any(name in site.placed.get(service, ()) for service in services)
    }
    found, _ = parallel.each(
        wanted, lambda host: host.observe(site.project.name), at_once=site.parallel
    )
    return found


def look_at_all(site: Site) -> dict[str, Observed]:
    """See every host of the command.

    :raises Unreachable: one of them did not answer.
    """
    found, failed = look(site)
    if failed:
        raise Unreachable(
            "; ".join(failed.values()) + ": nothing was changed on any node",
            hint="leave hosts out with --on '!NAME'",
        )
    return found
