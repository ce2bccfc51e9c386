"""Take services away from nodes. What they keep in volumes stays."""

from collections.abc import Collection
from dataclasses import dataclass

from provision.services import parallel, state
from provision.services.site import Site, look_at_all
from provision.services.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """What came of the removal of services from one host; error None: they are gone."""

    host: str
    services: tuple[str, ...]
    error: str | None = None


def remove(site: Site, services: Collection[str] = ()) -> list[Removed]:
    """Stop services and remove them, dependents first, on all hosts at once.

    :param services: empty: all of the project that a host has, those of the file or not.
    :raises Unreachable: a node did not answer; nothing was changed.
    """
    seen = look_at_all(site)
    going: dict[str, tuple[str, ...]] = {}
    for host, found in seen.items():
        there = [name for name, one in found.services.items() if state.of(one) is not State.ABSENT]
        ours = [name for name in reversed(site.on(host)) if name in there]
        others = [name for name in there if name not in ours]  # no longer in the file
        chosen = tuple(name for name in (*others, *ours) if not services or name in services)
        if chosen:
            going[host] = chosen
    _, failed = parallel.each(
        {host: site.hosts[host] for host in going},
        lambda host: host.remove(site.project.name, going[host.name], timeout_s=site.wait_s),
        at_once=site.parallel,
    )
    return [
        Removed(host=host, services=names, error=str(failed[host]) if host in failed else None)
        for host, names in going.items()
    ]
