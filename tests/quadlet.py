"""Get a real Quadlet, and read what it makes of a file as systemd would.

Debian 12's podman is from before Quadlet. Debian 13's package has one, which runs here too; apt
fetches it from the archive this machine uses, and checks its signatures, as for its own packages.
"""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from atomic_baremetal import paths
from provision.lab import apt_sources
from provision.services.unit import unit_file

RELEASE = "trixie"
KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
PROGRAM = "usr/libexec/podman/quadlet"
FETCH_S = 300
_CID = re.compile(r"%t/%N\.cid$")


class Refused(AssertionError):
    """Quadlet makes no unit of a file; its own words."""


def program() -> Path:
    """Return Debian 13's Quadlet, from the cache or fetched; skip the test where there is none.

    In CI that fails the test. The environment's QUADLET names another one to try.
    """
    if other := os.environ.get("QUADLET"):
        return Path(other)
    found = paths.cache() / f"quadlet-{RELEASE}" / PROGRAM
    if not found.exists():
        try:
            _fetch(found.parents[len(Path(PROGRAM).parts) - 1])
        except (LookupError, subprocess.SubprocessError, FileNotFoundError) as error:
            words = f"no Quadlet from Debian's {RELEASE}: {error}"
            (pytest.fail if "CI" in os.environ else pytest.skip)(words)
    return found


def version(program: Path) -> tuple[int, int, int]:
    """Ask a Quadlet of which podman it is; that of 4.4 does not know the question."""
    done = subprocess.run([program, "-version"], capture_output=True, text=True, check=False)
    if "not defined: -version" in done.stderr:
        return 4, 4, 0
    major, minor, patch = map(int, done.stdout.strip().split("."))
    return major, minor, patch


def generate(program: Path, name: str, text: str) -> str:
    """Have Quadlet make a unit of a .container file, and return the unit.

    :raises Refused: it makes none, or says anything that is not what it always says.
    """
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, f"{name}.container").write_text(text)
        done = subprocess.run(
            [program, "-dryrun", "-no-kmsg-log", "-v"],
            env={"QUADLET_UNIT_DIRS": directory, "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    begin = f"---{name}.service---\n"
    said = [line for line in done.stderr.splitlines() if not _usual(line)]
    if done.returncode != 0 or said or begin not in done.stdout:
        raise Refused(f"status {done.returncode}: {' '.join(said)}")
    return done.stdout.partition(begin)[2]


def exec_start(unit: str) -> tuple[str, ...]:
    """Read the words that systemd will start podman with: specifiers and variables put in."""
    service = next(one for one in unit_file.parse(unit) if one.name == "Service")
    variables = {}
    for value in service.all("Environment"):
        for assignment in unit_file.split(value):
            name, _, given = assignment.partition("=")
            variables[name] = given
    line = service.last("ExecStart") or ""
    assert not _lone_semicolon(line), "systemd would read two commands"
    return tuple(_expand(word, variables) for word in unit_file.split(line))


def _expand(word: str, variables: dict[str, str]) -> str:
    if _CID.search(word):
        return word
    parts = re.split(r"(\$\$|\$\{\w+\})", word)
    return "".join(
        variables[part[2:-1]] if part.startswith("${") else unit_file.unliteral(part)
        for part in parts
    )


def _lone_semicolon(line: str) -> bool:
    bare = re.sub(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|\\.', "x", line)
    return re.search(r"(^|\s);(\s|$)", bare) is not None


def _usual(line: str) -> bool:
    return (
        re.search(r"quadlet-generator\[\d+\]: (Loading source unit file|Parsed)", line) is not None
    )


def _fetch(top: Path) -> None:
    archive = apt_sources.archive_of(apt_sources.read(), "bookworm")
    if archive is None:
        raise LookupError("apt has no archive of Debian 12")
    top.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=top.parent) as work:
        directory = Path(work)
        for part in ("lists/partial", "cache/archives/partial", "package"):
            (directory / part).mkdir(parents=True)
        sources = directory / "sources.list"
        sources.write_text(f"deb [signed-by={KEYS}] {archive} {RELEASE} main\n")
        options = [
            f"Dir::Etc::sourcelist={sources}",
            "Dir::Etc::sourceparts=-",
            f"Dir::State::lists={directory / 'lists'}",
            f"Dir::Cache={directory / 'cache'}",
            "Acquire::Languages=none",
            "APT::Sandbox::User=root",
        ]
        apt = ["apt-get", "-qq", *(f"-o{option}" for option in options)]
        for words in ([*apt, "update"], [*apt, "download", "podman"]):
            subprocess.run(words, cwd=directory, check=True, timeout=FETCH_S, capture_output=True)
        (package,) = directory.glob("podman_*.deb")
        unpack = ["dpkg-deb", "--extract", package, directory / "package"]
        subprocess.run(unpack, check=True, timeout=FETCH_S)
        made = directory / "made"
        (made / PROGRAM).parent.mkdir(parents=True)
        shutil.copy(directory / "package" / PROGRAM, made / PROGRAM)
        if not top.exists():
            made.rename(top)
