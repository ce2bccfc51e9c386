"""Units are golden texts, to be read when they change; UPDATE_GOLDEN=1 writes them anew."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atomic_baremetal.errors import Error
from provision.services.model import (
    Dependency,
    Grant,
    Healthcheck,
    Mount,
    MountKind,
    Project,
    Service,
)
from provision.services.unit import config_directory, podman, render
from provision.services.unit.differences import run_of
from provision.services.unit.render import RecordError, Rendered
from tests.hostile_strings import NONCHARACTERS, REFUSED, STRINGS
from tests.services_sample import KEYSTONE, MARIADB, PINNED, PROJECT, VERSIONS

GOLDEN = Path(__file__).parent / "golden"
NEWEST = (5, 8, 2)
ALL = [*VERSIONS.values(), (4, 5, 1), (4, 6, 2), (4, 7, 2), (4, 8, 3), (5, 0, 3), NEWEST]


def rendered(
    service: str | Service, *, version: podman.Version = (4, 3, 1), project: Project = PROJECT
) -> Rendered:
    if isinstance(service, Service):
        project = replace(project, services={**project.services, service.name: service})
        service = service.name
    return render.render(
        project,
        service,
        pinned=PINNED.get(service, PINNED["mariadb"]),
        beside=set(PROJECT.services),
        podman=version,
    )


@pytest.mark.parametrize("service", PROJECT.services)
@pytest.mark.parametrize("version", VERSIONS)
def test_units_are_the_golden_ones(version: str, service: str) -> None:
    unit = rendered(service, version=VERSIONS[version])
    assert unit.quadlet == (version != "4.3")
    ending = "container" if unit.quadlet else "service"
    path = GOLDEN / version / f"{PROJECT.unit(service)}.{ending}"
    if "UPDATE_GOLDEN" in os.environ:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(unit.text)
    assert unit.text == path.read_text()


def test_there_are_no_other_golden_units() -> None:
    assert len(list(GOLDEN.rglob("*.*"))) == len(VERSIONS) * (1 + len(PROJECT.services))


@pytest.mark.parametrize("version", ALL)
def test_a_unit_records_what_it_is(version: podman.Version) -> None:
    unit = rendered("mariadb", version=version)
    configs = {"my.cnf": (b"[mysqld]\nbind-address=127.0.0.1\n", 0o444)}
    (digest,) = unit.configs
    assert render.record(unit.text) == render.Record(
        project="cloud",
        service="mariadb",
        image="registry.lab:5000/mariadb:10.11",
        pinned=PINNED["mariadb"],
        config=digest,
        digest=unit.digest,
        intact=True,
    )
    assert unit.configs == {config_directory.digest(configs): configs}
    assert unit.secrets == {render.secret_name(PROJECT, "root-password"): b"correct horse\n"}
    assert f"/var/lib/provision-services/cloud/mariadb/config/{digest}/my.cnf" in unit.text


@pytest.mark.parametrize("version", [(4, 3, 1), NEWEST])
def test_an_edited_unit_is_not_intact(version: podman.Version) -> None:
    text = rendered("mariadb", version=version).text
    assert not render.record(text.replace("999", "0")).intact
    assert not render.record(text + "#\n").intact


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "[Unit]\nDescription=a\n",
        "[X-Provision]\nProject=a\n",
        "[X-Provision]\nProject=a\nService=b\nImage=c\nPinned=\nDigest=" + "0" * 64,
        "[X-Provision]\nProject=a\nService=b\nImage=c d\nPinned=e\nDigest=" + "0" * 64,
    ],
)
def test_a_unit_without_our_record_is_not_ours(text: str) -> None:
    with pytest.raises(RecordError) as caught:
        render.record(text)
    assert str(caught.value) == "a unit that was not written by provision services"


def test_a_unit_with_half_a_digest_is_not_taken_for_ours() -> None:
    with pytest.raises(RecordError) as caught:
        render.record("[X-Provision]\nProject=a\nService=b\nImage=c\nPinned=d\nDigest=abc\n")
    assert str(caught.value) == "a unit with a broken record of who wrote it"


@pytest.mark.parametrize("version", VERSIONS.values())
def test_a_patch_release_of_podman_changes_nothing(version: podman.Version) -> None:
    other = (*version[:2], version[2] + 7)
    for service in PROJECT.services:
        assert rendered(service, version=other) == rendered(service, version=version)


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize("service", PROJECT.services)
def test_every_version_asks_podman_for_the_same(service: str, version: podman.Version) -> None:
    assert run_of(rendered(service, version=version).text) == run_of(rendered(service).text)


@pytest.mark.parametrize("version", VERSIONS.values())
def test_hostile_strings_are_read_back_from_a_unit(version: podman.Version) -> None:
    strings = [one for one in STRINGS if "\r\n" not in one]
    service = Service(
        name="a",
        image="a:1",
        command=tuple(STRINGS),
        entrypoint=tuple(STRINGS),
        environment=tuple((f"V{number}", one) for number, one in enumerate(strings)),
        labels=tuple((f"l{number}", one) for number, one in enumerate(STRINGS)),
        mounts=tuple(
            Mount(kind=MountKind.BIND, source=f"/{number}{one}", target=f"/t{number}{one}")
            for number, one in enumerate(strings)
        ),
        healthcheck=Healthcheck(test=("/bin/a", *STRINGS)),
    )
    run = run_of(rendered(service, version=version).text)
    assert run.command == STRINGS
    words = {option.word() for option in run.options}
    assert {f"--env=V{number}={one}" for number, one in enumerate(strings)} <= words
    assert {f"--label=l{number}={one}" for number, one in enumerate(STRINGS)} <= words
    assert run == run_of(rendered(service).text)


@pytest.mark.parametrize("version", [(4, 4, 0), NEWEST])
def test_what_quadlet_loses_is_put_in_by_systemd(version: podman.Version) -> None:
    service = replace(MARIADB, command=("a", "", ";", "b\x80", "; "))
    text = rendered(service, version=version).text
    assert '\nExec=a "${PROVISION_EMPTY}" ";${PROVISION_EMPTY}" "b${PROVISION_X80}" "; "\n' in text
    assert '\nEnvironment=PROVISION_EMPTY=\nEnvironment="PROVISION_X80=\\u0080"\n' in text
    assert "PROVISION" not in rendered("libvirtd", version=version).text


@settings(deadline=None)
@given(st.lists(st.sampled_from(STRINGS), max_size=4), st.sampled_from(ALL))
def test_a_command_is_read_back_whole(words: list[str], version: podman.Version) -> None:
    text = rendered(replace(MARIADB, command=tuple(words)), version=version).text
    assert run_of(text).command == tuple(words)


@pytest.mark.parametrize("version", [(4, 3, 1), NEWEST])
@pytest.mark.parametrize("word", REFUSED + NONCHARACTERS)
def test_what_cannot_be_carried_is_refused_and_the_service_named(
    word: str, version: podman.Version
) -> None:
    for service in (
        replace(MARIADB, command=(word,)),
        replace(MARIADB, environment=(("A", word),)),
        replace(MARIADB, labels=(("a", word),)),
    ):
        with pytest.raises(Error, match=r"^service mariadb: '"):
            rendered(service, version=version)


@pytest.mark.parametrize("version", [(4, 3, 1), (4, 9, 5), NEWEST])
def test_a_service_that_is_too_long_for_systemd_is_refused(version: podman.Version) -> None:
    service = replace(MARIADB, command=("x" * 131_000,) * 9)
    with pytest.raises(Error, match=r"^service mariadb: ExecStart= is \d+ bytes long"):
        rendered(service, version=version)


@pytest.mark.parametrize(
    ("service", "says"),
    [
        (
            replace(MARIADB, environment=(("A B", "c"),)),
            "service mariadb: 'A B' is no name of an environment variable",
        ),
        (
            replace(MARIADB, environment=(("A", "b\r\nc"),)),
            "service mariadb: podman cannot be told a value with a carriage return before a line"
            " feed, as A has in the environment (put it into a config)",
        ),
        (
            replace(MARIADB, labels=(("", "c"),)),
            "service mariadb: '' is no name of a label",
        ),
        (
            replace(MARIADB, mounts=(Mount(kind=MountKind.TMPFS, source="", target="/a\r\n"),)),
            "service mariadb: podman cannot be told a path with a carriage return before a line"
            " feed",
        ),
        (
            replace(MARIADB, secrets=(Grant(name="root-password", target="/a,b", mode=0o400),)),
            "service mariadb: podman cannot be told a secret's path with a comma in it"
            " (give the secret another target)",
        ),
        (
            replace(MARIADB, healthcheck=Healthcheck(test=("none", "a"))),
            "service mariadb: podman reads a health check that begins with 'none' as something"
            " else (write the program's whole path)",
        ),
        (
            replace(MARIADB, healthcheck=Healthcheck(test=("/bin/a b",))),
            "service mariadb: podman cannot be told a health check of a single word with blanks in"
            ' it (use ["CMD", "/bin/sh", "-c", "..."], or a path without blanks)',
        ),
        (
            replace(
                MARIADB,
                configs=(
                    Grant(name="my.cnf", target="/a", mode=0o444),
                    Grant(name="my.cnf", target="/b", mode=0o400),
                ),
            ),
            "service mariadb wants config my.cnf with two modes (make it two configs)",
        ),
    ],
)
def test_what_podman_cannot_be_told_is_refused(service: Service, says: str) -> None:
    with pytest.raises(Error) as caught:
        rendered(service)
    assert str(caught.value) == says


def test_a_podman_that_is_too_old_is_refused() -> None:
    with pytest.raises(Error) as caught:
        rendered("mariadb", version=(4, 2, 9))
    assert str(caught.value) == (
        "podman 4.2.9 is older than 4.3, which services need"
        " (bring a newer podman in the nodes' image)"
    )


def test_systemd_waits_only_for_what_is_on_this_node() -> None:
    text = rendered("keystone").text
    assert "Wants=cloud-mariadb.service\n" in text
    assert "After=cloud-mariadb.service\n" in text
    assert "elsewhere" not in text
    assert "Requires=" not in text
    assert "BindsTo=" not in text
    alone = render.render(
        PROJECT, "keystone", pinned=PINNED["keystone"], beside=(), podman=(4, 3, 1)
    )
    assert "cloud-mariadb.service" not in alone.text
    far = replace(KEYSTONE, depends_on=(Dependency(service="mariadb", host="node-2"),))
    assert "cloud-mariadb.service" not in rendered(far).text


def test_a_start_may_last_until_podman_has_a_verdict() -> None:
    assert "TimeoutStartSec=375\n" in rendered("mariadb").text  # 180 + 90 + (6 + 1) * (10 + 5)
    assert "TimeoutStartSec=180\n" in rendered("libvirtd").text
    assert "TimeoutStopSec=120\n" in rendered("mariadb").text


def test_a_secret_is_neither_in_the_unit_nor_in_what_is_printed() -> None:
    for version in ALL:
        unit = rendered("mariadb", version=version)
        assert "horse" not in unit.text
        assert "horse" not in repr(unit)
    assert "horse" not in repr(PROJECT)


def test_another_secret_has_another_name() -> None:
    name = render.secret_name(PROJECT, "root-password")
    assert name == "cloud-root-password-bbe906acf7c5b6d2"
    other = replace(PROJECT, secrets={"root-password": b"battery staple\n"})
    assert render.secret_name(other, "root-password") != name
    elsewhere = replace(PROJECT, name="cloud2")
    assert render.secret_name(elsewhere, "root-password").rpartition("-")[2] != name[-16:]
    assert render.secret_name(replace(PROJECT, secrets={"empty": b""}), "empty")


def test_a_config_directory_is_named_by_all_that_is_in_it() -> None:
    digests = {
        config_directory.digest(files)
        for files in (
            {},
            {"a": (b"1", 0o444)},
            {"a": (b"1", 0o400)},
            {"b": (b"1", 0o444)},
            {"a": (b"", 0o444)},
            {"a": (b"1", 0o444), "b": (b"", 0o444)},
            {"a": (b"1:b 0444 0:", 0o444)},
        )
    }
    assert len(digests) == 7
    one, other = ("a", (b"1", 0o444)), ("b", (b"2", 0o444))
    assert config_directory.digest(dict([one, other])) == config_directory.digest(
        dict([other, one])
    )


@pytest.mark.parametrize(
    ("seconds", "written"), [(30.0, "30s"), (0.0, "0s"), (1.5, "1500ms"), (1e6, "1000000s")]
)
def test_durations_are_written_for_podman(seconds: float, written: str) -> None:
    check = Healthcheck(test=("/bin/a",), start_period_s=seconds)
    assert f"--health-start-period={written} " in rendered(replace(MARIADB, healthcheck=check)).text
