"""Have units accepted by what reads them on a node: systemd 252, and Quadlet of podman 5.4."""

import itertools
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from provision.services.model import Healthcheck, Mount, MountKind, Project, Service
from provision.services.unit import podman, render, systemd_unit
from provision.services.unit.differences import run_of
from provision.services.unit.podman import Option
from tests import quadlet as real
from tests.hostile_strings import STRINGS
from tests.services_sample import KEYSTONE, PINNED, PROJECT, VERSIONS

GOLDEN = Path(__file__).parents[2] / "unit" / "provision" / "services" / "unit" / "golden"
PLAIN = sorted(GOLDEN.glob("4.3/*.service"))
QUADLETS = sorted(GOLDEN.glob("*/*.container"))
SHORT = {"-v": "--volume", "-w": "--workdir"}  # as one Quadlet or other writes them
EARLIER = {"ReadOnly", "User"}  # which every Quadlet knows; see provision.services.unit.podman
WITHOUT_CRLF = tuple(one for one in STRINGS if "\r\n" not in one)


@pytest.fixture(scope="module")
def program() -> Path:
    return real.program()


def verify(path: Path) -> str:
    """Have systemd read a unit, and return all that it says of it."""
    if not shutil.which("systemd-analyze") or not Path(systemd_unit.PODMAN).exists():
        words = "needs systemd-analyze and podman (bindep.txt)"
        (pytest.fail if "CI" in os.environ else pytest.skip)(words)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", path],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout + done.stderr


def hostile(version: podman.Version) -> str:
    service = Service(
        name="a",
        image="a:1",
        command=STRINGS,
        entrypoint=STRINGS,
        environment=tuple((f"V{number}", one) for number, one in enumerate(WITHOUT_CRLF)),
        labels=tuple((f"l{number}", one) for number, one in enumerate(STRINGS)),
        mounts=tuple(
            Mount(kind=MountKind.BIND, source=f"/{number}{one}", target=f"/t{number}{one}")
            for number, one in enumerate(WITHOUT_CRLF)
        ),
        healthcheck=Healthcheck(test=("/bin/a", *STRINGS)),
    )
    project = Project(name="p", services={"a": service})
    unit = render.render(project, "a", pinned=PINNED["mariadb"], beside=(), podman=version)
    return unit.text


def given(words: tuple[str, ...]) -> tuple[set[str], tuple[str, ...]]:
    """Read options, each as one word, and the command from the words of a ``podman run``.

    Quadlet writes an option's value as a word of its own, and some options by their short names.
    """
    image = next(number for number, word in enumerate(words) if "@sha256:" in word)
    options = words[:image]
    found = set(options)
    for flag, value in itertools.pairwise(options):
        found.add(f"{SHORT.get(flag, flag)}={value}")
    for word in options:
        flag, equals, value = word.partition("=")
        found.add(f"{SHORT.get(flag, flag)}{equals}{value}")
    return found, words[image + 1 :]


def quadlet_word(option: Option) -> str:
    # Quadlet writes capabilities small; podman takes both
    return option.word().lower() if option.flag.startswith("--cap-") else option.word()


@pytest.mark.parametrize("path", PLAIN, ids=lambda path: path.name)
def test_systemd_takes_the_plain_units(path: Path, tmp_path: Path) -> None:
    shutil.copytree(path.parent, tmp_path / "units")
    assert verify(tmp_path / "units" / path.name) == ""


def test_systemd_takes_a_plain_unit_full_of_hostile_strings(tmp_path: Path) -> None:
    path = tmp_path / "p-a.service"
    path.write_text(hostile((4, 3, 1)))
    assert verify(path) == ""


def test_systemd_would_say_if_it_did_not_take_a_unit(tmp_path: Path) -> None:
    text = PLAIN[0].read_text()
    path = tmp_path / "p-a.service"
    path.write_text(text.replace("KillMode=mixed", "KillMoode=mixed"))
    assert "Unknown key 'KillMoode' in section [Service]" in verify(path)
    path.write_text(text.replace("X-Provision", "Provision"))
    assert "Unknown section 'Provision'" in verify(path)


@pytest.mark.parametrize("path", QUADLETS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_quadlet_makes_units_that_ask_podman_for_what_we_wrote(
    path: Path, program: Path, tmp_path: Path
) -> None:
    if VERSIONS[path.parent.name][:2] > real.version(program)[:2]:
        pytest.skip("this Quadlet is older")
    text = path.read_text()
    unit = real.generate(program, path.stem, text)
    options, command = given(real.exec_start(unit))
    asked = run_of(text)
    assert {quadlet_word(option) for option in asked.options} - options == set()
    assert command == asked.command
    (tmp_path / f"{path.stem}.service").write_text(unit)
    assert verify(tmp_path / f"{path.stem}.service") == ""


def test_quadlet_takes_no_key_of_a_later_version(program: Path) -> None:
    later = (5, 5, 0)
    if real.version(program) >= later:
        pytest.skip("this Quadlet knows them all")
    service = replace(KEYSTONE, mem_limit_bytes=1 << 30)
    project = replace(PROJECT, services={"keystone": service})
    text = render.render(
        project, "keystone", pinned=PINNED["keystone"], beside=(), podman=later
    ).text
    with pytest.raises(real.Refused, match=r"unsupported key '\w+' in group 'Container'"):
        real.generate(program, "cloud-keystone", text)


def test_our_table_has_no_key_that_this_quadlet_does_not_know(program: Path) -> None:
    version = real.version(program)
    for flag, key in podman.KEYS.items():
        value = {podman.Reading.BOOLEAN: "false"}.get(key.reading, "1")
        text = f"[Container]\nImage=registry.lab:5000/a@sha256:{'0' * 64}\n{key.name}={value}\n"
        if podman.key(flag, version) or key.name in EARLIER:
            assert real.generate(program, "a", text)
        else:
            with pytest.raises(real.Refused, match=f"unsupported key '{key.name}'"):
                real.generate(program, "a", text)


@pytest.mark.parametrize("version", [(4, 4, 0), (4, 9, 5), (5, 4, 2)])
def test_hostile_strings_pass_quadlet(program: Path, version: podman.Version) -> None:
    if version[:2] > real.version(program)[:2]:
        pytest.skip("this Quadlet is older")
    text = hostile(version)
    options, command = given(real.exec_start(real.generate(program, "p-a", text)))
    assert command == STRINGS
    asked = run_of(text)
    assert {option.word() for option in asked.options} - options == set()
    assert {f"--env=V{number}={one}" for number, one in enumerate(WITHOUT_CRLF)} <= options


@pytest.mark.parametrize(
    ("lost", "written"), [('""', "b"), ('";"', "b ; c"), ('"\\u0080"', 'b "\\x80" c')]
)
def test_quadlet_still_loses_what_we_carry_past_it(program: Path, lost: str, written: str) -> None:
    """Once it does not, the variables of provision.services.unit.quadlet can go."""
    image = f"registry.lab:5000/a@sha256:{'0' * 64}"
    unit = real.generate(program, "a", f"[Container]\nImage={image}\nExec=b {lost} c\n")
    (line,) = (one for one in unit.splitlines() if one.startswith("ExecStart="))
    assert line.endswith(f" {image} {written}")
