"""Show what runs on nodes, who else runs containers there, and what differs from the file."""

from collections.abc import Mapping
from dataclasses import dataclass

from atomic_baremetal.errors import Error
from provision.services import parallel, state
from provision.services.apply import look_only
from provision.services.host import Container, Host, Observed, OnNode
from provision.services.plan import Action, Change
from provision.services.site import Site, look
from provision.services.state import State
from provision.services.unit import render

ANY = "any"  # to ask for projects, one has to be named


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One service of a node, or one container of somebody else.

    :ivar service: as in the file; of somebody else's container, its name.
    :ivar image: as in the file; None: nobody knows.
    :ivar pinned: the image by digest.
    :ivar user: whom it runs as; empty: as the image says.
    :ivar since: seconds since the epoch; 0: never.
    :ivar config: the digest of its configs; None: it has none.
    :ivar managed: False: not ours.
    """

    node: str
    service: str
    unit: str
    state: str
    image: str | None = None
    pinned: str | None = None
    user: str = ""
    since: float = 0.0
    restarts: int = 0
    config: str | None = None
    managed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """What differs between the file and the nodes.

    :ivar changes: what `apply` would do; those that would do nothing are not in it.
    :ivar strangers: by host, the containers that are not ours; they are no difference.
    :ivar failed: by host, why it could not be looked at.
    """

    changes: tuple[Change, ...]
    strangers: Mapping[str, tuple[Container, ...]]
    failed: Mapping[str, str]


def status(site: Site) -> tuple[list[Line], dict[str, str]]:
    """See every node; return what is there, and which nodes did not answer, with what they said."""
    seen, failed = look(site)
    lines = []
    for host, found in seen.items():
        names = [*site.on(host), *sorted(set(found.services) - set(site.on(host)))]
        lines += [
            _line(host, site.project.unit(name), name, found.services.get(name)) for name in names
        ]
        lines += [stranger(host, one) for one in found.strangers]
    return lines, failed


def status_of_all(hosts: Mapping[str, Host], *, at_once: int) -> tuple[list[Line], dict[str, str]]:
    """See every project on every node: the same, without a file to say what is to be there."""
    found, failed = parallel.each(hosts, _projects, at_once=at_once)
    lines = []
    for host, projects in found.items():
        for project, seen in projects.items():
            lines += [
                _line(host, f"{project}-{name}", name, there)
                for name, there in seen.services.items()
            ]
        strangers = next(iter(projects.values())).strangers
        lines += [stranger(host, one) for one in strangers]
    return lines, {host: str(error) for host, error in failed.items()}


def _projects(host: Host) -> dict[str, Observed]:
    first = host.observe(ANY)
    return {ANY: first, **{name: host.observe(name) for name in first.projects if name != ANY}}


def diff(site: Site) -> Differences:
    """Compare every node that answers with the file; nothing is changed, no registry is asked."""
    seen, failed = look(site)
    return Differences(
        changes=tuple(
            one for one in look_only(site, seen).changes if one.action is not Action.NOTHING
        ),
        strangers={host: found.strangers for host, found in seen.items() if found.strangers},
        failed=failed,
    )


def _line(host: str, unit: str, service: str, there: OnNode | None) -> Line:
    if there is None:
        return Line(node=host, service=service, unit=unit, state=State.ABSENT)
    record = _record(there)
    container = there.container
    return Line(
        node=host,
        service=service,
        unit=unit,
        state=state.of(there),
        image=record.image if record else None,
        pinned=record.pinned if record else None,
        user=container.user if container else "",
        since=there.since,
        restarts=there.restarts,
        config=(record.config or None) if record else None,
    )


def _record(there: OnNode) -> render.Record | None:
    text = there.current if there.current is not None else there.unit
    if text is None:
        return None
    try:
        return render.record(text)
    except Error:  # edited beyond reading, or not ours
        return None


def stranger(host: str, container: Container) -> Line:
    """Show a container that is not ours as such."""
    return Line(
        node=host,
        service=container.name,
        unit="",
        state=container.health or container.state,
        image=container.image,
        user=container.user,
        since=container.started_at,
        managed=False,
    )
