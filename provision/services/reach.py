"""Turn what a command line says into a site: the file, the hosts, how they are reached."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from atomic_baremetal.errors import Error
from provision.services import hosts, placement
from provision.services.file import compose
from provision.services.hosts import Cloud, Target
from provision.services.model import Project, Registry
from provision.services.node.ssh_host import SshHost
from provision.services.site import AT_ONCE, DEFAULT_WAIT_S, Site


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How a command's hosts are chosen and reached.

    :ivar on: patterns of host names.
    :ivar inventory: a file of hosts; None: the cloud is asked.
    :ivar cloud: asks it.
    :ivar user: to log in as, where the inventory does not say.
    :ivar identity: private key to log in with; None: as OpenSSH would.
    :ivar registries: to be trusted, by HOST:PORT; they win over the file's.
    """

    on: Sequence[str] = ()
    inventory: Path | None = None
    cloud: Callable[[], Cloud]
    user: str = "root"
    identity: Path | None = None
    registries: Mapping[str, Registry] = field(default_factory=dict)
    parallel: int = AT_ONCE


@contextmanager
def site(file: Path, reach: Reach, *, wait_s: float = DEFAULT_WAIT_S) -> Iterator[Site]:
    """Load a file of services and open a way to its hosts; connections are made when needed.

    :raises Error: something in the file, the inventory or the options is wrong; nothing was asked
        of a host.
    """
    project = compose.load(file)
    known = _known(reach)
    with opened(
        with_registries(project, known.registries, reach.registries),
        known.targets,
        hosts.select(known.targets, reach.on),
        reach,
        wait_s=wait_s,
    ) as found:
        yield found


@contextmanager
def ways(reach: Reach) -> Iterator[dict[str, SshHost]]:
    """Open a way to the hosts, without a file of services.

    :raises Error: something in the inventory or the options is wrong.
    """
    chosen = hosts.select(_known(reach).targets, reach.on)
    with ExitStack() as open_ones:
        yield {one.name: open_ones.enter_context(_host(one, reach)) for one in chosen}


def _known(reach: Reach) -> Cloud:
    known = reach.cloud() if reach.inventory is None else Cloud(targets=hosts.read(reach.inventory))
    if not known.targets:
        raise hosts.HostsError(
            "there is no host"
            + "".join(f"; {name}: {why}" for name, why in known.passed_over.items()),
            hint="deploy some: provision nodes; or name a file of them with --hosts",
        )
    return known


@contextmanager
def opened(
    project: Project,
    known: Sequence[Target],
    chosen: Sequence[Target],
    reach: Reach,
    *,
    wait_s: float,
    partial: bool = False,
) -> Iterator[Site]:
    """Open a way to hosts, those chosen and those that are only to be looked at.

    :param partial: more hosts are to come: services may be placed nowhere yet.
    """
    places = [placement.Place(name=one.name, labels=dict(one.labels)) for one in known]
    placed = placement.place(project, places, partial=partial)
    with ExitStack() as open_ones:
        ways = {one.name: open_ones.enter_context(_host(one, reach)) for one in known}
        names = {one.name for one in chosen}
        yield Site(
            project=project,
            placed=placed,
            hosts={name: way for name, way in ways.items() if name in names},
            others={name: way for name, way in ways.items() if name not in names},
            wait_s=wait_s,
            parallel=reach.parallel,
        )


def with_registries(
    project: Project, clouds: Mapping[str, Registry], named: Mapping[str, Registry]
) -> Project:
    """Add registries to trust: those named win over the file's, the file's over the cloud's."""
    return replace(project, registries={**clouds, **project.registries, **named})


def check_services(file: Path, project: Project, names: Sequence[str]) -> None:
    """Refuse names that the file does not have.

    :raises Error: one is unknown.
    """
    if unknown := [name for name in names if name not in project.services]:
        there = ", ".join(project.services)
        raise Error(f"{file} has no service {unknown[0]!r}", hint=f"there is {there}")


def _host(target: Target, reach: Reach) -> SshHost:
    return SshHost(
        name=target.name,
        address=target.address,
        port=target.port,
        user=target.user or reach.user,
        host_key=target.host_key,
        identity=reach.identity,
    )
