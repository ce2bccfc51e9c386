"""Fetch what the deploy ramdisk is built from, but for Debian's packages, at pinned versions.

The build itself then sees local files only: Python packages come out of one directory, the agent
out of its source archive. No compiler is needed: whatever has compiled parts has a wheel.
"""

import sys
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from atomic_baremetal import command
from provision.lab import artefacts

PYTHON = "3.11"  # of the ramdisk's Debian: the wheels are for it, whatever Python runs the build
# in the ramdisk; its Python packages are pinned in CONSTRAINTS
AGENT = "ironic-python-agent==13.0.0"
GLEAN = "glean==1.25.1"  # the agent's elements want it; slim-ramdisk takes it out again
BUILD_TOOLS = ("pip==25.1.1", "setuptools==80.9.0", "wheel==0.45.1")
CONSTRAINTS = Path(__file__).parent / "templates" / "ramdisk-constraints.txt"
WHEEL_PLATFORMS = (
    "manylinux_2_34_x86_64",
    "manylinux_2_28_x86_64",
    "manylinux_2_17_x86_64",
    "manylinux2014_x86_64",
)
# what the fetched directory depends on, and so the ramdisk
INPUTS: tuple[artefacts.Input, ...] = (Path(__file__), CONSTRAINTS)
LIMIT_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The fetched files."""

    packages: Path  # directory of wheels and source archives, for pip --find-links
    agent: Path
    glean: Path
    requirements: Path  # a tar.gz in the shape of OpenStack's requirements repository


def fetched() -> Sources:
    """Return the sources; fetch them when the pins changed.

    :raises Error: pip could not get something.
    """
    home = artefacts.cached("ramdisk-sources", INPUTS, _fetch)
    packages = home / "packages"
    return Sources(
        packages=packages,
        agent=next(packages.glob("ironic_python_agent-*.tar.gz")),
        glean=next(packages.glob("glean-*.tar.gz")),
        requirements=home / "requirements.tar.gz",
    )


def _fetch(target: Path) -> None:
    """Fetch the sources and wheels with pip, as this machine's pip is set up."""
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps")
    hint = "is a package index reachable? pip's own settings apply"
    command.run(
        *(*pip, "--no-binary", ":all:", "--dest", target / "packages", AGENT, GLEAN),
        timeout_s=LIMIT_S,
        hint=hint,
    )
    # for the ramdisk's Python, not this one's; no compiler is needed in the ramdisk, nor here
    command.run(
        *(*pip, "--only-binary", ":all:", "--dest", target / "packages"),
        *("--implementation", "cp", "--python-version", PYTHON),
        *_each("--abi", (f"cp{PYTHON.replace('.', '')}", "abi3", "none")),
        *_each("--platform", WHEEL_PLATFORMS),
        *("--requirement", CONSTRAINTS, *BUILD_TOOLS),
        timeout_s=LIMIT_S,
        hint=hint,
    )
    # the shape of OpenStack's requirements repository, which the agent's elements expect
    content = CONSTRAINTS.read_bytes()
    member = tarfile.TarInfo("requirements/upper-constraints.txt")
    member.size = len(content)
    with tarfile.open(target / "requirements.tar.gz", "w:gz") as tarball:
        tarball.addfile(member, BytesIO(content))


def _each(option: str, values: Iterable[str]) -> list[str]:
    return [word for value in values for word in (option, value)]
