"""Which hosts run which services."""

import pytest

from provision.services.model import Project
from provision.services.placement import Place, PlacementError, place
from tests.unit.provision.services.file.loading import load

HOSTS = (
    Place(name="ctl-1", labels={"zone": "a", "disk": "ssd"}),
    Place(name="ctl-2", labels={"zone": "b"}),
    Place(name="db-10", labels={"zone": "a"}),
    Place(name="db-9"),
)
NAMES = "(hosts: ctl-1, ctl-2, db-10, db-9)"


def project(**placements: str) -> Project:
    """Make services with these keys, `_` being `-`."""
    return load(
        "services:\n"
        + "".join(
            f"  {name.replace('_', '-')}: {{image: r.example/x, {keys}}}\n"
            for name, keys in placements.items()
        )
    )


@pytest.mark.parametrize(
    ("keys", "hosts"),
    [
        ("", ("ctl-1", "ctl-2", "db-10", "db-9")),
        ("x-provision: {}", ("ctl-1", "ctl-2", "db-10", "db-9")),
        ("x-provision: {hosts: '*'}", ("ctl-1", "ctl-2", "db-10", "db-9")),
        ("x-provision: {hosts: db-9}", ("db-9",)),
        ("x-provision: {hosts: 'db-*'}", ("db-10", "db-9")),
        ("x-provision: {hosts: ['db-?', 'ctl-[!1]']}", ("ctl-2", "db-9")),
        ("x-provision: {labels: {zone: a}}", ("ctl-1", "db-10")),
        ("x-provision: {labels: [zone=a, disk=ssd]}", ("ctl-1",)),
        ("x-provision: {hosts: 'db-*', labels: {zone: a}}", ("db-10",)),
    ],
)
def test_patterns_and_labels(keys: str, hosts: tuple[str, ...]) -> None:
    assert place(project(web=keys), HOSTS) == {"web": hosts}


@pytest.mark.parametrize(
    ("services", "error"),
    [
        (
            {"web": "x-provision: {hosts: [web-*, ctl-1, DB-9]}"},
            "service 'web': no host is called 'DB-9' and 'web-*'",
        ),
        (
            {"web": "x-provision: {hosts: 'ctl-*', labels: {zone: c, disk: x}}"},
            "service 'web': no host has the labels disk=x, zone=c",
        ),
        (
            {
                "db": "x-provision: {hosts: 'db-*'}",
                "web": "depends_on: {db: {x-provision: {host: 'ctl-*'}}}",
            },
            "service 'web': 'db' is on no host that is called 'ctl-*'",
        ),
        (
            {
                "db": "x-provision: {hosts: 'sql-*'}",
                "web": "depends_on: {db: {x-provision: {host: 'sql-1'}}}",
            },
            "service 'db': no host is called 'sql-*'",
        ),
        (
            {"web": "ports: ['80:80']", "api": "ports: ['81:80', '80:8080']"},
            "services 'web' and 'api' both want port 80/tcp of 'ctl-1'",
        ),
        (
            {"web": "ports: ['0.0.0.0:80:80/udp']", "api": "ports: ['10.0.0.1:80:80/udp']"},
            "services 'web' and 'api' both want port 80/udp of 'ctl-1'",
        ),
        (
            {"web": "x-provision: {hosts: a}", "api": "x-provision: {hosts: b}"},
            "service 'web': no host is called 'a'\nservice 'api': no host is called 'b'",
        ),
    ],
)
def test_what_cannot_be_placed(services: dict[str, str], error: str) -> None:
    with pytest.raises(PlacementError) as caught:
        place(project(**services), HOSTS)
    assert str(caught.value) == f"{error} {NAMES}"


def test_the_same_port_where_it_does_not_meet() -> None:
    services = project(
        web="ports: ['80:80'], x-provision: {hosts: ctl-1}",
        api="ports: ['80:80'], x-provision: {hosts: ctl-2}",
        dns="ports: ['80:80/udp', '10.0.0.1:81:80']",
        log="ports: ['10.0.0.2:81:80']",
    )
    assert place(services, HOSTS)["log"] == ("ctl-1", "ctl-2", "db-10", "db-9")


def test_hosts_that_are_still_to_come() -> None:
    services = project(
        db="x-provision: {hosts: 'db-*'}", web="depends_on: {db: {x-provision: {host: 'db-1'}}}"
    )
    assert place(services, HOSTS[:1], partial=True) == {"db": (), "web": ("ctl-1",)}


def test_no_hosts_at_all() -> None:
    with pytest.raises(PlacementError) as caught:
        place(project(web=""), ())
    assert str(caught.value) == "service 'web': there is no host (hosts: none)"


def test_a_host_twice() -> None:
    with pytest.raises(PlacementError) as caught:
        place(project(web=""), (*HOSTS, HOSTS[1]))
    assert str(caught.value) == "two hosts are called 'ctl-2'"
