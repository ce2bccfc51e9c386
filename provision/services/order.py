"""Put services in order: what has to be there first, on the same node and across nodes."""

import heapq
import re
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from provision.services.model import Project
from provision.services.placement import PlacementError

N = TypeVar("N", bound=Hashable)
Placed = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Name a service on a host."""

    host: str
    service: str


def steps(project: Project, placed: Placed) -> list[Step]:
    """Put every service on every host in an order in which all find there what they depend on.

    Otherwise host by host, by name with numbers counted (n2 before n10), and as the file has it.

    :param placed: the hosts of each service.
    :raises PlacementError: they wait for each other in a circle.
    """
    position = {name: number for number, name in enumerate(project.services)}
    waiting = {
        step: dependencies(project, placed, step)
        for step in (
            Step(host=host, service=service)
            for service in project.services
            for host in placed.get(service, ())
        )
    }
    ordered = _in_order(
        waiting, lambda step: (natural(step.host), step.host, position[step.service])
    )
    if len(ordered) < len(waiting):
        left = {step: first for step, first in waiting.items() if step not in set(ordered)}
        said = " -> ".join(f"{one.service} on {one.host}" for one in circle(left))
        raise PlacementError(f"the services wait for each other in a circle: {said}")
    return ordered


def dependencies(project: Project, placed: Placed, step: Step) -> tuple[Step, ...]:
    """Name what a service on a host directly depends on, on the hosts where that is placed.

    Without a host named, it is this host's instance, or, where there is none, every one.
    """
    found = []
    for dependency in project.services[step.service].depends_on:
        hosts = placed.get(dependency.service, ())
        pattern = dependency.host
        if pattern is not None:
            hosts = [host for host in hosts if fnmatchcase(host, pattern)]
        elif step.host in hosts:
            hosts = [step.host]
        found += [Step(host=host, service=dependency.service) for host in hosts]
    return tuple(found)


def _in_order(waiting: Mapping[N, Collection[N]], key: Callable[[N], Any]) -> list[N]:
    """Sort so that all come after what they wait for, else by key; leave out circles."""
    left = {one: len(set(first)) for one, first in waiting.items()}
    followers: dict[N, list[N]] = {}
    for one, first in waiting.items():
        for other in set(first):
            followers.setdefault(other, []).append(one)
    ready = [(key(one), number, one) for number, one in enumerate(waiting) if not left[one]]
    heapq.heapify(ready)
    ordered = []
    while ready:
        *_, one = heapq.heappop(ready)
        ordered.append(one)
        for follower in followers.get(one, ()):
            left[follower] -= 1
            if not left[follower]:
                heapq.heappush(ready, (key(follower), len(waiting) + len(ordered), follower))
    return ordered


def circle(waiting: Mapping[N, Collection[N]]) -> tuple[N, ...]:
    """Find something that waits for itself through others: the way round, its start at both ends.

    :returns: empty: there is none.
    """
    done: set[N] = set()
    for start in waiting:
        path: dict[N, Iterator[N]] = {}  # the way here, each with what is left to look at
        here: N | None = None if start in done else start
        while here is not None:
            following = path.setdefault(here, iter(waiting.get(here, ())))
            other = next((one for one in following if one not in done), None)
            if other in path:
                way = list(path)
                return (*way[way.index(other) :], other)
            if other is None:
                done.add(here)
                path.popitem()  # del would leave a hole that reversed() has to step over
                other = next(reversed(path), None)
            here = other
    return ()


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """Make a key that sorts n2 before n10."""
    parts = re.split(r"0*([0-9]+)", name)
    return tuple((len(part) if number % 2 else 0, part) for number, part in enumerate(parts))
