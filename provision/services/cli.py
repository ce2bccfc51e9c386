"""`provision services`: the commands. Each reads what is asked, calls one story, prints."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from atomic_baremetal.cli import format_option
from atomic_baremetal.errors import Error
from provision.services.hosts import Cloud
from provision.services.options import (
    DEFAULT_WAIT_S,
    at_a_time,
    file_argument,
    on_hosts,
    waiting,
)

LOG = logging.getLogger(__name__)


class NotAsTheFile(Error):
    """Services that are not as they were to be."""


@click.group()
def services() -> None:
    """Run service containers on nodes, as a file says (docs/services.rst).

    The nodes are those of --hosts FILE, else the cloud's deployed ones.
    """


def mounted(cloud: Callable[[], Cloud]) -> click.Group:
    """Return the group of commands, told whom to ask for the cloud's hosts."""
    return click.Group(
        "services",
        commands=services.commands,
        help=services.help,
        context_settings={"obj": cloud},
    )


@services.command()
@file_argument()
@on_hosts
@click.option("--dry-run", is_flag=True, help="Say what would change and why; change nothing.")
@at_a_time
@click.option("--remove-orphans", is_flag=True, help="Remove what the file no longer has.")
@waiting
@format_option
@click.pass_obj
def apply(
    cloud: Callable[[], Cloud],
    /,
    *,
    file: Path,
    reach: Mapping[str, Any],
    dry_run: bool,
    serial: int | None,
    remove_orphans: bool,
    wait: float,
    format_: str,
) -> None:
    """Make nodes have the services of FILE; touch only what differs. Say what changes and why."""
    from provision.services import apply as story
    from provision.services import present

    with opened(cloud, file, reach, wait) as site:
        if dry_run:
            present.plan(story.dry_run(site), format_)
            return
        results = story.apply(site, serial=serial, remove_orphans=remove_orphans)
    present.results(results, format_)
    fail(results)


@services.command()
@file_argument()
@click.argument("service", nargs=-1)
@on_hosts
@at_a_time
@waiting
@format_option
@click.pass_obj
def upgrade(
    cloud: Callable[[], Cloud],
    /,
    *,
    file: Path,
    service: Sequence[str],
    reach: Mapping[str, Any],
    serial: int | None,
    wait: float,
    format_: str,
) -> None:
    """Look up the tags of FILE's images anew, pull them everywhere, then change node by node.

    A service that does not come up is put back, and the roll-out stops there.
    """
    from provision.services import apply as story
    from provision.services import present

    with opened(cloud, file, reach, wait, service) as site:
        results = story.upgrade(site, service, serial=serial)
    present.results(results, format_)
    fail(results)


@services.command()
@file_argument()
@click.argument("service", nargs=-1, required=True)
@on_hosts
@at_a_time
@waiting
@format_option
@click.pass_obj
def rollback(
    cloud: Callable[[], Cloud],
    /,
    *,
    file: Path,
    service: Sequence[str],
    reach: Mapping[str, Any],
    serial: int | None,
    wait: float,
    format_: str,
) -> None:
    """Go back to what each SERVICE was before its last change, image and configs included."""
    from provision.services import by_hand, present

    with opened(cloud, file, reach, wait, service) as site:
        results = by_hand.rollback(site, service, serial=serial or 1)
    present.results(results, format_)
    fail(results)
    LOG.info("the file may ask for what was left: provision services diff %s", file)


@services.command()
@file_argument()
@click.argument("service", nargs=-1, required=True)
@on_hosts
@at_a_time
@waiting
@format_option
@click.pass_obj
def restart(
    cloud: Callable[[], Cloud],
    /,
    *,
    file: Path,
    service: Sequence[str],
    reach: Mapping[str, Any],
    serial: int | None,
    wait: float,
    format_: str,
) -> None:
    """Start each SERVICE anew as it is, and wait until it is up again."""
    from provision.services import by_hand, present

    with opened(cloud, file, reach, wait, service) as site:
        results = by_hand.restart(site, service, serial=serial or 1)
    present.results(results, format_)
    fail(results)


@services.command()
@file_argument()
@click.argument("service", nargs=-1)
@on_hosts
@waiting
@format_option
@click.pass_obj
def remove(
    cloud: Callable[[], Cloud],
    /,
    *,
    file: Path,
    service: Sequence[str],
    reach: Mapping[str, Any],
    wait: float,
    format_: str,
) -> None:
    """Stop and remove each SERVICE, or all of FILE's project. Volumes stay."""
    from provision.services import present
    from provision.services import remove as story

    with opened(cloud, file, reach, wait, service) as site:
        done = story.remove(site, service)
        volumes = ", ".join(f"{site.project.name}_{name}" for name in site.project.volumes)
    present.removed(done, format_)
    if volumes:
        LOG.info("volumes stay on the nodes: %s", volumes)
    each({one.host: one.error for one in done if one.error is not None}, of=len(done))


@services.command()
@file_argument(required=False)
@on_hosts
@format_option
@click.pass_obj
def status(
    cloud: Callable[[], Cloud], /, *, file: Path | None, reach: Mapping[str, Any], format_: str
) -> None:
    """Show FILE's services on each node, and containers that are not ours.

    Without FILE: whatever services of ours the nodes have.
    """
    from provision.services import present
    from provision.services import reach as ways
    from provision.services import status as story

    if file is None:
        wanted = reached(cloud, reach)
        with ways.ways(wanted) as hosts:
            lines, failed = story.status_of_all(hosts, at_once=wanted.parallel)
            nodes = len(hosts)
    else:
        with opened(cloud, file, reach) as site:
            lines, failed = story.status(site)
            nodes = len(site.hosts)
    present.status(lines, format_)
    each(failed, of=nodes)


@services.command()
@file_argument()
@on_hosts
@format_option
@click.pass_obj
def diff(
    cloud: Callable[[], Cloud], /, *, file: Path, reach: Mapping[str, Any], format_: str
) -> None:
    """Show what differs between FILE and the nodes; exit status 1 if anything does."""
    from provision.services import present
    from provision.services import status as story

    with opened(cloud, file, reach) as site:
        found = story.diff(site)
        nodes = len(site.hosts)
    present.differences(found, format_)
    each(found.failed, of=nodes)
    if found.changes:
        number = len(found.changes)
        raise NotAsTheFile(f"{number} difference" + ("" if number == 1 else "s"))


@services.command()
@file_argument()
@click.argument("service")
@on_hosts
@click.option(
    "--lines",
    type=click.IntRange(1, 100_000),
    default=50,
    show_default=True,
    metavar="N",
    help="How many of the last lines.",
)
@format_option
@click.pass_obj
def logs(
    cloud: Callable[[], Cloud],
    /,
    *,
    file: Path,
    service: str,
    reach: Mapping[str, Any],
    lines: int,
    format_: str,
) -> None:
    """Print the last log lines of SERVICE, from each node that runs it."""
    from provision.services import logs as story
    from provision.services import present

    with opened(cloud, file, reach, services=[service]) as site:
        found, failed = story.logs(site, service, lines=lines)
    present.logs(found, service, format_)
    each(failed, of=len(found) + len(failed))


@contextmanager
def opened(
    cloud: Callable[[], Cloud],
    file: Path,
    asked: Mapping[str, Any],
    wait_s: float = DEFAULT_WAIT_S,
    services: Sequence[str] = (),
) -> Iterator[Any]:
    """Open the site of a command; say at the end, to those who ask, what it cost."""
    from provision.services import reach

    began = time.monotonic()
    with reach.site(file, reached(cloud, asked), wait_s=wait_s) as site:
        reach.check_services(file, site.project, services)
        yield site
        trips = ", ".join(f"{name} {host.round_trips}" for name, host in site.hosts.items())
        LOG.debug("round trips: %s; %.2f s", trips, time.monotonic() - began)


def reached(cloud: Callable[[], Cloud], asked: Mapping[str, Any]) -> Any:
    """Gather the options that choose and reach hosts."""
    from provision.services.reach import Reach
    from provision.services.registries import read_all

    return Reach(
        on=asked["on"],
        inventory=asked["hosts"],
        cloud=cloud,
        user=asked["ssh_user"],
        identity=asked["identity"],
        registries=read_all(asked["registry_ca"]),
        parallel=asked["parallel"],
    )


def fail(results: Sequence[Any]) -> None:
    """End with status 1 if a service is not as it was to be: each on its own line."""
    errors = {
        f"{one.change.host}: {one.change.service}": one.error.removeprefix(f"{one.change.host}: ")
        for one in results
        if one.error is not None
    }
    each(errors, of=len(results), verdict="services are not as they were to be")


def each(errors: Mapping[str, str], *, of: int, verdict: str = "nodes failed") -> None:
    """End with status 1 if there is an error: each on its own line.

    :param errors: by what they are about.
    """
    if not errors:
        return
    *others, last = [
        error if error.startswith(f"{name}: ") else f"{name}: {error}"
        for name, error in errors.items()
    ]
    for text in others:
        LOG.error("%s", text)
    if of > 1:
        LOG.error("%s", last)
        last = f"{len(errors)} of {of} {verdict}"
    raise NotAsTheFile(last)
