"""What is missing is named, with the package that has it."""

import os
import re
from pathlib import Path

import pytest

from provision.lab import prerequisites, services
from provision.lab.model import LabError

BINDEP = Path(__file__).parents[4] / "bindep.txt"


def test_a_user_who_is_not_root_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError) as caught:
        prerequisites.check()
    assert str(caught.value) == "the lab needs root: it makes a network namespace and mounts"


def test_missing_packages_are_named_once_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(services, "SBIN", ())
    programs = {"ip": "iproute2", "nsenter": "util-linux", "unshare": "util-linux"}
    monkeypatch.setattr(prerequisites, "PROGRAMS", programs)
    monkeypatch.setattr(prerequisites, "FILES", {tmp_path / "no": "ovmf"})
    monkeypatch.setattr(prerequisites, "LIBVIRT_QEMU_DRIVER", (tmp_path, "*.so"))
    with pytest.raises(LabError) as caught:
        prerequisites.check()
    names = "iproute2 libvirt-daemon-driver-qemu ovmf util-linux"
    assert str(caught.value) == (
        f"the lab needs system packages that are not installed: {names} (apt-get install {names})"
    )


def test_every_package_that_is_named_is_one_that_make_venv_installs() -> None:
    installed = set(re.findall(r"^([a-z0-9][^ \n]*)", BINDEP.read_text(), re.MULTILINE))
    named = {*prerequisites.PROGRAMS.values(), *prerequisites.FILES.values()}
    assert {*named, prerequisites.LIBVIRT_QEMU} - installed == {"mount"}  # mount is essential
