"""The table of keys says the same in the code and in the documentation."""

import re
from pathlib import Path

import pytest

from provision.services.unit import podman

DOCUMENT = Path(__file__).parents[5] / "docs" / "services.rst"
OURS = {"Image", "ContainerName", "Exec", "PodmanArgs"}  # not for an option
HEALTH = {
    "HealthInterval",
    "HealthOnFailure",
    "HealthRetries",
    "HealthStartPeriod",
    "HealthTimeout",
}


def rows() -> dict[tuple[int, int], str]:
    """Read the documentation's table: its text by the version of podman."""
    table = DOCUMENT.read_text().partition("Which podman\n~~~")[2]
    found: dict[tuple[int, int], str] = {}
    version = (0, 0)
    for line in table.split("\n=======  =")[2].splitlines()[1:]:
        if match := re.match(r"(\d+)\.(\d+) ", line):
            version = (int(match[1]), int(match[2]))
        found[version] = found.get(version, "") + line
    return found


def test_the_documentation_lists_each_key_at_its_version() -> None:
    keys = {
        name: version
        for version, text in rows().items()
        for name in re.findall(r"``([A-Z]\w+)``", text)
    }
    assert {name: since for name, since in keys.items() if name not in OURS} == {
        key.name: key.since for key in podman.KEYS.values() if key.name not in HEALTH
    }
    assert all(key.since == (4, 5) for key in podman.KEYS.values() if key.name in HEALTH)


@pytest.mark.parametrize(
    ("version", "quadlet", "pull"),
    [
        ((4, 3, 1), False, False),
        ((4, 4, 0), True, False),
        ((4, 6, 0), True, True),
        ((5, 0, 0), True, True),
        ((10, 0, 0), True, True),
    ],
)
def test_versions_are_compared_as_numbers(
    version: podman.Version, quadlet: bool, pull: bool
) -> None:
    assert podman.has_quadlet(version) is quadlet
    assert (podman.key("--pull", version) is not None) is pull
    assert podman.key("--privileged", version) is None
