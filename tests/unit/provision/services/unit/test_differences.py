"""What differs between two units is said in the words of the services file, without secrets."""

import itertools
from dataclasses import replace

import pytest

from provision.services.model import (
    Dependency,
    Grant,
    Healthcheck,
    Mount,
    MountKind,
    NetworkMode,
    Port,
    Project,
    Service,
)
from provision.services.unit import podman, render
from tests.services_sample import MARIADB, PINNED, PROJECT

CHECK = MARIADB.healthcheck
assert CHECK
GRANT = MARIADB.secrets[0]


def text(
    service: Service = MARIADB,
    *,
    project: Project = PROJECT,
    version: podman.Version = (4, 3, 1),
    pinned: str = PINNED["mariadb"],
) -> str:
    project = replace(project, services={**project.services, service.name: service})
    beside = set(project.services)
    return render.render(project, service.name, pinned=pinned, beside=beside, podman=version).text


CHANGES = [
    (replace(MARIADB, mem_limit_bytes=1 << 31), ["mem_limit: 1073741824 -> 2147483648"]),
    (replace(MARIADB, mem_limit_bytes=None), ["mem_limit: 1073741824 removed"]),
    (replace(MARIADB, shm_size_bytes=4096), ["shm_size: 4096 added"]),
    (replace(MARIADB, user="0:0"), ["user: 999:999 -> 0:0"]),
    (replace(MARIADB, privileged=True), ["privileged: true added"]),
    (replace(MARIADB, read_only=False), ["read_only: true removed"]),
    (replace(MARIADB, network_mode=NetworkMode.NONE), ["network_mode: host -> none"]),
    (replace(MARIADB, stop_grace_period_s=5), ["stop_grace_period: 60 -> 5"]),
    (replace(MARIADB, command=("secret",)), ["command"]),
    (replace(MARIADB, command=None), ["command removed"]),
    (replace(MARIADB, entrypoint=("secret",)), ["entrypoint added"]),
    (
        replace(MARIADB, environment=(("LANG", "secret"), ("NEW", "secret"))),
        ["environment LANG", "environment MOTTO removed", "environment NEW added"],
    ),
    (replace(MARIADB, labels=(("tier", "secret"),)), ["label tier"]),
    (
        replace(MARIADB, ports=(Port(published=3306, target=3306),)),
        ["ports 3306:3306/tcp added"],
    ),
    (
        replace(
            MARIADB,
            mounts=(
                Mount(kind=MountKind.VOLUME, source="mariadb", target="/data"),
                Mount(kind=MountKind.BIND, source="/a:b", target="/c"),
            ),
        ),
        [
            "volumes /run/mysqld removed",
            "volumes mariadb:/var/lib/mysql removed",
            "volumes /a:b:/c added",
            "volumes mariadb:/data added",
        ],
    ),
    (
        replace(MARIADB, healthcheck=replace(CHECK, test=("secret", "a"), interval_s=20)),
        ["healthcheck.test", "healthcheck.interval: 10s -> 20s"],
    ),
    (
        replace(MARIADB, healthcheck=Healthcheck(test=CHECK.test)),
        [
            "healthcheck.interval: 10s -> 30s",
            "healthcheck.retries: 6 -> 3",
            "healthcheck.start_period: 90s -> 0s",
            "healthcheck.timeout: 5s -> 30s",
        ],
    ),
    (
        replace(MARIADB, healthcheck=None, no_healthcheck=True),
        [
            "healthcheck.test removed",
            "healthcheck.interval: 10s removed",
            "healthcheck.retries: 6 removed",
            "healthcheck.start_period: 90s removed",
            "healthcheck.timeout: 5s removed",
            "healthcheck.disable: true added",
        ],
    ),
    (replace(MARIADB, secrets=(replace(GRANT, uid=1),)), ["secret root-password"]),
    (replace(MARIADB, secrets=()), ["secret root-password removed"]),
    (
        replace(MARIADB, configs=(Grant(name="my.cnf", target="/etc/my.cnf", mode=0o444),)),
        ["target of config my.cnf"],
    ),
    (
        replace(MARIADB, configs=(Grant(name="my.cnf", target="/etc/, my.cnf", mode=0o444),)),
        ["target of config my.cnf"],
    ),
    (
        replace(MARIADB, configs=()),
        ["config my.cnf removed", "target of config my.cnf removed"],
    ),
    (
        replace(MARIADB, depends_on=(Dependency(service="keystone"),)),
        ["depends_on keystone added"],
    ),
    (
        replace(MARIADB, image="registry.lab:5000/mariadb:11"),
        ["image: registry.lab:5000/mariadb:10.11 -> registry.lab:5000/mariadb:11"],
    ),
]


@pytest.mark.parametrize("version", [(4, 3, 1), (4, 4, 0), (5, 8, 2)])
@pytest.mark.parametrize(("changed", "words"), CHANGES)
def test_a_change_is_named(changed: Service, words: list[str], version: podman.Version) -> None:
    found = render.differences(text(version=version), text(changed, version=version))
    assert found == words
    assert "secret" not in "".join(one.replace("secret root-password", "") for one in found)


def test_equal_units_do_not_differ() -> None:
    assert render.differences(text(), text()) == []


def test_another_config_and_another_secret_are_named_without_their_contents() -> None:
    project = replace(PROJECT, configs={"my.cnf": b"x"}, secrets={"root-password": b"y"})
    assert render.differences(text(), text(project=project)) == [
        "config my.cnf",
        "secret root-password",
    ]


def test_another_digest_of_the_same_image_is_named() -> None:
    other = PINNED["mariadb"].replace("1" * 64, "9" * 64)
    assert render.differences(text(), text(pinned=other)) == [
        f"image's digest: sha256:{'1' * 64} -> sha256:{'9' * 64}"
    ]


def test_a_newer_podman_is_no_change_of_the_service() -> None:
    written = [text(version=version) for version in ((4, 3, 1), (4, 4, 0), (4, 9, 5), (5, 8, 2))]
    for old, new in itertools.pairwise(written):
        assert render.differences(old, new) == ["how the unit is written"]
    changed = text(replace(MARIADB, pids_limit=7), version=(5, 4, 2))
    assert render.differences(written[0], changed) == ["pids_limit: 500 -> 7"]


@pytest.mark.parametrize(
    "edited",
    [
        "",
        "nonsense",
        text().replace("--memory=", "%n"),
        text(version=(4, 9, 5)).replace("Network=", "Netwrok="),
        text().replace("[Service]", "[Srevice]"),
        text()[: len(text()) // 2],
    ],
)
def test_a_unit_that_cannot_be_read_is_one_difference(edited: str) -> None:
    assert render.differences(edited, text()) == ["the unit file is not as it was written"]


def test_an_edit_of_a_unit_is_named_like_a_change_of_the_file() -> None:
    edited = text().replace("--user=999:999", "--user=0:0")
    assert render.differences(edited, text()) == ["user: 0:0 -> 999:999"]
