"""The ramdisk's build: what it is made from, and what it says before it begins."""

import re
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from atomic_baremetal.errors import Error
from provision.lab import dib, ramdisk, ramdisk_sources

ROOT = Path(__file__).parents[4]
AGENT_GROUPS = ("ironic_python_agent.extensions", "ironic_python_agent.hardware_managers")


def project(path: Path) -> dict[str, dict[str, str]]:
    return tomllib.loads(path.read_text())["project"]


def test_the_ramdisks_entry_points_are_the_projects() -> None:
    inside = project(ROOT / "elements/ironic-agent-iscsi/agent-package/pyproject.toml")
    ours = project(ROOT / "pyproject.toml")
    wanted = {group: ours["entry-points"][group] for group in AGENT_GROUPS}
    assert all(wanted.values())
    assert inside["entry-points"] == wanted
    assert inside["version"] == ours["version"]


def test_every_requirement_of_the_agent_is_pinned() -> None:
    pins = {}
    for line in ramdisk_sources.CONSTRAINTS.read_text().splitlines():
        match = re.fullmatch(r"([a-z0-9-]+)==(\S+)", line)
        assert match, f"not a pin: {line}"
        pins[match[1]] = match[2]
    assert list(pins) == sorted(pins)
    for text in requires("ironic-python-agent") or []:
        requirement = Requirement(text)
        if not requirement.marker or requirement.marker.evaluate({"extra": ""}):
            assert pins[canonicalize_name(requirement.name)] in requirement.specifier, text


def test_elements_are_found_in_the_checkout() -> None:
    assert ramdisk.elements_directory() == ROOT / "elements"
    for name in ramdisk.ELEMENTS:
        assert (ROOT / "elements" / name / "README.rst").is_file()


def test_who_is_not_root_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(dib.os, "geteuid", lambda: 1000)
    with pytest.raises(Error) as caught:
        ramdisk.ramdisk()
    assert str(caught.value) == (
        "building the deploy ramdisk needs root: it works in a chroot"
        " (run this as root; what root built, everybody can use)"
    )


def test_missing_programs_are_named_by_their_packages(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(dib.os, "geteuid", lambda: 0)
    for name in ramdisk.TOOLS:
        if name not in ("cpio", "qemu-img"):
            (tmp_path / name).touch(mode=0o755)
    with pytest.raises(Error) as caught:
        ramdisk.ramdisk()
    assert str(caught.value) == (
        "building the deploy ramdisk needs programs that are not installed"
        " (apt-get install cpio qemu-utils)"
    )


def test_the_key_depends_on_the_agents_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is built is keyed by content: the same build for the same code, another for other."""
    keys: list[str] = []

    def remember(kind: str, inputs, build) -> Path:
        keys.append(ramdisk.artefacts.key_of(inputs))
        return tmp_path

    code = tmp_path / "provision"
    (code / "agent").mkdir(parents=True)
    (code / "__init__.py").touch()
    (code / "agent" / "iscsi.py").write_text("one")
    monkeypatch.setattr(ramdisk, "elements_directory", lambda: ROOT / "elements")
    monkeypatch.setattr(ramdisk.artefacts, "cached", remember)
    monkeypatch.setattr(ramdisk.provision, "__file__", str(code / "__init__.py"))
    for content in ("one", "two", "one"):
        (code / "agent" / "iscsi.py").write_text(content)
        ramdisk.ramdisk()
    assert keys[0] == keys[2] != keys[1]
