"""Write down what each node is to have, and compare it with what is there."""

from collections.abc import Mapping

from atomic_baremetal.errors import Error
from provision.services import dependents, images, plan
from provision.services.host import Observed
from provision.services.order import Step
from provision.services.plan import Change
from provision.services.site import Site
from provision.services.unit import render
from provision.services.unit.render import Rendered


def draft(
    site: Site, seen: Mapping[str, Observed], pinned: Mapping[Step, str], *, guess: bool = False
) -> list[Change]:
    """Plan for every node that was seen, in the order of the site.

    :param pinned: images by digest; a service that is not in it stays as it is.
    :param guess: such a service gets a made-up digest: for looking, not for doing.
    :raises plan.NotOurs: names are taken on some nodes; each is named.
    """
    if guess:
        services = site.project.services
        made_up = {step: images.placeholder(services[step.service].image) for step in site.steps()}
        pinned = {**made_up, **pinned}
    changes: list[Change] = []
    taken: list[Error] = []
    for host in (one for one in site.hosts if one in seen):
        try:
            changes += plan.of_host(
                site.project, host, seen[host], render_all(site, host, seen[host], pinned)
            )
        except plan.NotOurs as error:
            taken.append(error)
    if taken:
        raise plan.NotOurs(
            "; ".join(one.message for one in taken) + ": nothing was changed on any node",
            hint=taken[0].hint,
        )
    return dependents.restarted(site, seen, changes)


def render_all(
    site: Site, host: str, seen: Observed, pinned: Mapping[Step, str]
) -> dict[str, Rendered | None]:
    """Render the units of a node's services, dependencies first; None: not pinned."""
    services = site.on(host)
    found: dict[str, Rendered | None] = dict.fromkeys(services)
    for name in services:
        image = pinned.get(Step(host=host, service=name))
        if image is not None:
            found[name] = render.render(
                site.project, name, pinned=image, beside=services, podman=seen.podman
            )
    return found
