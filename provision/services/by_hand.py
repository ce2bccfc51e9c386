"""Restart services, or go back to what they were: because somebody asks for it."""

from collections.abc import Callable, Collection, Mapping, Sequence

from atomic_baremetal.errors import Error
from provision.services import dependents, images, state
from provision.services.converge import Convergence, Result
from provision.services.host import Observed, OnNode
from provision.services.plan import Action, Change
from provision.services.site import Site, look_at_all
from provision.services.state import State
from provision.services.unit import render


class NotThere(Error):
    """A service that is not on a node, or has nothing that it could go back to."""


def restart(site: Site, services: Collection[str], *, serial: int = 1) -> list[Result]:
    """Start services anew by the units that are there, dependencies first.

    :raises NotThere: a node lacks one of them; nothing was changed.
    """
    seen = look_at_all(site)
    _check(site, seen, services, lambda one: state.of(one) is State.ABSENT, "is not there")
    changes = _changes(site, seen, services, Action.RESTART, lambda _: "asked for")
    return _carry_out(site, changes, seen, serial)


def rollback(site: Site, services: Collection[str], *, serial: int = 1) -> list[Result]:
    """Go back to the unit before the current one, on each node; doing it twice changes nothing.

    :raises NotThere: a node has nothing to go back to for one of them; nothing was changed.
    :raises images.PullError: an image of before is no longer on a node, nor to be had.
    """
    seen = look_at_all(site)
    _check(
        site,
        seen,
        services,
        lambda one: one is None or one.previous is None,
        "has nothing to go back to",
    )
    wanted: dict[str, list[str]] = {}
    for step in (one for one in site.steps() if one.service in services):
        before = render.record(_previous(seen[step.host].services[step.service])).pinned
        if before not in seen[step.host].images:
            wanted.setdefault(step.host, []).append(before)
    images.Store(site).pull(wanted)
    changes = _changes(site, seen, services, Action.ROLLBACK, _differences)
    return _carry_out(site, changes, seen, serial)


def _changes(
    site: Site,
    seen: Mapping[str, Observed],
    services: Collection[str],
    action: Action,
    reason: Callable[[OnNode], str],
) -> list[Change]:
    changes: list[Change] = []
    for host in site.hosts:
        there = seen[host].services
        changes += [
            Change(host=host, service=name, action=action, reasons=(reason(there[name]),))
            if name in services
            else Change(host=host, service=name, action=Action.NOTHING)
            for name in site.on(host)
        ]
    return dependents.restarted(site, seen, changes)


def _carry_out(
    site: Site, changes: Sequence[Change], seen: Mapping[str, Observed], serial: int
) -> list[Result]:
    results = Convergence(site, changes, seen).run(serial=serial)
    return [one for one in results if one.change.action is not Action.NOTHING or one.error]


def _check(
    site: Site,
    seen: Mapping[str, Observed],
    services: Collection[str],
    lacks: Callable[[OnNode | None], bool],
    words: str,
) -> None:
    steps = [one for one in site.steps() if one.service in services]
    without = [one for one in steps if lacks(seen[one.host].services.get(one.service))]
    if without or not steps:
        raise NotThere(
            "; ".join(f"{one.host}: {one.service} {words}" for one in without)
            or f"none of these hosts is to have {_names(services)}",
            hint="nothing was changed; see what is there: provision services status",
        )


def _names(services: Collection[str]) -> str:
    return ", ".join(sorted(services))


def _differences(there: OnNode) -> str:
    if there.current is None:
        return "back to what was before"
    found = render.differences(there.current, _previous(there))
    return "back to what was before" + (f": {'; '.join(found)}" if found else "")


def _previous(there: OnNode) -> str:
    assert there.previous is not None  # noqa: S101 - checked before
    return there.previous
