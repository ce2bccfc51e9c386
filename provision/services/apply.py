"""Make the nodes have the services of a file: nothing more is touched than what differs.

Apply and upgrade are the same story; an upgrade looks the tags up anew.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from provision.services import images, state
from provision.services.converge import Convergence, Result
from provision.services.draft import draft
from provision.services.host import Observed
from provision.services.order import Step
from provision.services.plan import Action, Change
from provision.services.site import Site, look_at_all, look_at_others


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run would do, and what was seen."""

    changes: tuple[Change, ...]
    seen: Mapping[str, Observed]


def dry_run(site: Site) -> Plan:
    """Say what `apply` would do; nothing is asked of a registry, nothing changes on any node.

    :raises Unreachable: a node did not answer.
    """
    seen = look_at_all(site)
    return look_only(site, seen)


def look_only(site: Site, seen: Mapping[str, Observed]) -> Plan:
    """Compare nodes that were seen with the file, as far as that goes without a registry."""
    pinned = images.kept(site, seen)
    changes = draft(site, seen, pinned, guess=True)
    return Plan(
        changes=tuple(
            one
            if one.action is Action.ORPHAN or Step(host=one.host, service=one.service) in pinned
            else replace(one, reasons=_known(one.reasons))
            for one in changes
        ),
        seen=seen,
    )


def _known(reasons: Sequence[str]) -> tuple[str, ...]:
    """Leave out what a made-up digest differs in."""
    known = (one for one in reasons if images.UNKNOWN not in one)
    return (*known, "its tag is to be looked up")


def apply(site: Site, *, serial: int | None = None, remove_orphans: bool = False) -> list[Result]:
    """Converge.

    :param serial: so many nodes at a time; None: one, where something that runs is touched, else
        as many as are asked at once.
    :returns: one result for each service on each node, those without a change too.
    :raises Error: nothing was changed on any node.
    """
    seen = look_at_all(site)
    pinned = images.kept(site, seen)
    if missing := {step.service for step in site.steps() if step not in pinned}:
        # hosts that were left out by name may run it: what they run is wanted here, too
        pinned = images.kept(site, {**look_at_others(site, missing), **seen})
    return converge(site, seen, pinned, serial=serial, remove_orphans=remove_orphans)


def upgrade(
    site: Site, services: Collection[str] = (), *, serial: int | None = None
) -> list[Result]:
    """Look the images of services up anew, bring them to all nodes, then converge.

    :param services: empty: all. Others stay as they are, unless they have to be restarted too.
    :raises Error: nothing was changed on any node.
    """
    seen = look_at_all(site)
    chosen = frozenset(services or site.project.services)
    pinned = {step: one for step, one in images.named(site).items() if step.service in chosen}
    return converge(site, seen, pinned, serial=serial or 1, only=chosen)


def converge(
    site: Site,
    seen: Mapping[str, Observed],
    pinned: Mapping[Step, str],
    *,
    serial: int | None,
    remove_orphans: bool = False,
    only: Collection[str] | None = None,
) -> list[Result]:
    """Look up what is not pinned, plan, bring the images, carry out.

    :param only: leave other services as they are; None: leave none.
    """
    store = images.Store(site)
    wanted = [step for step in site.steps() if only is None or step.service in only]
    found = store.look_up([step for step in wanted if step not in pinned])
    changes = draft(site, seen, {**pinned, **found})
    store.bring(changes, seen)
    work = Convergence(site, store.named(changes), seen, remove_orphans=remove_orphans)
    return work.run(serial=serial or gentle(site, changes, seen))


def gentle(site: Site, changes: Sequence[Change], seen: Mapping[str, Observed]) -> int:
    """Choose how many nodes at a time: one, where something that runs is touched."""
    touched = any(
        one.action.starts and state.of(seen[one.host].services.get(one.service)).up
        for one in changes
    )
    return 1 if touched else site.parallel
