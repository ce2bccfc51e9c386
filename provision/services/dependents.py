"""Let services restart with what they depend on, where the file says so (`restart: true`)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from provision.services import state
from provision.services.host import Observed
from provision.services.order import Step
from provision.services.plan import Action, Change
from provision.services.site import Need, Site
from provision.services.state import State


def restarted(site: Site, seen: Mapping[str, Observed], changes: Sequence[Change]) -> list[Change]:
    """Add the restarts that others bring with them, on whichever node; the order stays.

    :param changes: of all nodes that were seen.
    """
    found = {Step(host=one.host, service=one.service): one for one in changes}
    for step in site.steps():  # dependencies first: one pass reaches the dependents of dependents
        change = found.get(step)
        if change is None or change.action is not Action.NOTHING:
            continue
        reasons = tuple(
            f"{_named(need, step)} is started anew (restart: true)"
            for need in site.needs(step)
            if need.restart and need.step in found and found[need.step].action.starts
        )
        if reasons and state.of(seen[step.host].services.get(step.service)) is not State.ABSENT:
            found[step] = replace(change, action=Action.RESTART, reasons=reasons)
    return list(found.values())


def _named(need: Need, of: Step) -> str:
    other = need.step
    return other.service if other.host == of.host else f"{other.service} on {other.host}"
