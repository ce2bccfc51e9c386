"""Decide which hosts run which services, from the patterns and labels in the file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from atomic_baremetal.errors import Error
from provision.services.file import values
from provision.services.model import Port, Project, Service


class PlacementError(Error):
    """Services that cannot be put on the hosts there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Hold a host that services can be put on."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)


def place(
    project: Project, hosts: Sequence[Place], *, partial: bool = False
) -> dict[str, tuple[str, ...]]:
    """Name the hosts of each service, in the order that the hosts are given in.

    :param hosts: all that are known, not only those that a command is to work on: what is placed
        nowhere would else be an error of the command and not of the file.
    :param partial: some hosts are still to come: a service may be placed nowhere, and a pattern
        may match nothing.
    :raises PlacementError: names each service that has no host, or two that want the same port.
    """
    twice = {one.name for one in hosts if [two.name for two in hosts].count(one.name) > 1}
    if twice:
        raise PlacementError(f"two hosts are called {' and '.join(map(repr, sorted(twice)))}")
    placed = {
        name: tuple(one.name for one in hosts if _fits(service, one))
        for name, service in project.services.items()
    }
    wrong = _port_conflicts(project, placed)
    if not partial:
        wrong = [*_unplaced(project, hosts, placed), *_nobody(project, placed), *wrong]
    if wrong:
        known = ", ".join(one.name for one in hosts) or "none"
        raise PlacementError("\n".join(wrong), hint=f"hosts: {known}")
    return placed


def _fits(service: Service, host: Place) -> bool:
    patterns = service.placement.hosts
    return (not patterns or any(fnmatchcase(host.name, one) for one in patterns)) and all(
        host.labels.get(name) == value for name, value in service.placement.labels
    )


def _unplaced(
    project: Project, hosts: Sequence[Place], placed: Mapping[str, Sequence[str]]
) -> list[str]:
    wrong = []
    for name, service in project.services.items():
        lost = [
            one
            for one in service.placement.hosts
            if not any(fnmatchcase(host.name, one) for host in hosts)
        ]
        if lost:
            said = " and ".join(map(repr, lost))
            wrong.append(f"service {name!r}: no host is called {said}")
        elif not hosts:
            wrong.append(f"service {name!r}: there is no host")
        elif not placed[name]:
            labels = ", ".join(f"{key}={value}" for key, value in service.placement.labels)
            wrong.append(f"service {name!r}: no host has the labels {labels}")
    return wrong


def _nobody(project: Project, placed: Mapping[str, Sequence[str]]) -> list[str]:
    """Find dependencies on a host's instance that is on none of the hosts meant."""
    return [
        f"service {name!r}: {one.service!r} is on no host that is called {one.host!r}"
        for name, service in project.services.items()
        for one in service.depends_on
        if one.host is not None
        and placed[one.service]
        and not any(fnmatchcase(host, one.host) for host in placed[one.service])
    ]


def _port_conflicts(project: Project, placed: Mapping[str, Sequence[str]]) -> list[str]:
    wrong: dict[tuple[str, str], str] = {}  # by the two services: the first host says it for all
    taken: dict[tuple[str, int, str], list[tuple[str, Port]]] = {}
    for name, service in project.services.items():
        for host in placed[name]:
            for port in service.ports:
                others = taken.setdefault((host, port.published, port.protocol), [])
                for other, theirs in others:
                    if values.same_port(port, theirs):
                        said = f"{port.published}/{port.protocol} of {host!r}"
                        what = f"services {other!r} and {name!r} both want port {said}"
                        wrong.setdefault((other, name), what)
                others.append((name, port))
    return list(wrong.values())
