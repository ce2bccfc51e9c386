"""What becomes of the words that libguestfs starts qemu with."""

import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from imgprep import hypervisor, start_qemu, unpacked_kernel
from imgprep.start_qemu import GREETING, IDENTITY, MEMORY, ROOT

Words = Callable[..., list[str]]


@pytest.fixture
def appliance(tmp_path: Path) -> Path:
    """A directory, with a comma in its name, that an appliance lies in."""
    directory = tmp_path / "a,b"
    directory.mkdir()
    for name in ("kernel", "initrd", "root", "unpacked", "qemu"):
        (directory / name).write_bytes(bytes(1024))
    return directory


@pytest.fixture
def words(appliance: Path) -> Words:
    """What libguestfs says, shortened."""
    named = str(appliance).replace(",", ",,")

    def say(
        image: str = "one.qcow2", sockets: str = "/tmp/x", uuid: str = "1", sector: int = 512
    ) -> list[str]:
        return [
            *("-m", "1280", "-kernel", str(appliance / "kernel")),
            *("-initrd", str(appliance / "initrd")),
            *("-drive", f"file={image},cache=unsafe,format=qcow2,id=hd0,if=none"),
            *("-device", f"scsi-hd,drive=hd0,logical_block_size={sector}"),
            *("-drive", f"file={named}/root,snapshot=on,id=appliance,cache=unsafe,if=none"),
            *("-chardev", f"socket,path={sockets}/guestfsd.sock,id=channel0"),
            *("-append", f"panic=1 root=UUID={uuid} guestfs_verbose=1 TERM=xterm"),
        ]

    return say


@pytest.fixture
def settings(appliance: Path) -> dict[str, Any]:
    return {
        "qemu": str(appliance / "qemu"),
        "packed": str(appliance / "kernel"),
        "unpacked": str(appliance / "unpacked"),
        "saving": None,
        "resuming": None,
    }


def replaced(words: list[str], **other: str) -> list[str]:
    """Put other words after some: `kernel="x"` is what follows `-kernel`."""
    for name, value in other.items():
        at = words.index(f"-{name}") + 1
        words = [*words[:at], value, *words[at + 1 :]]
    return words


def test_the_unpacked_kernel_is_started(
    words: Words, settings: dict[str, Any], appliance: Path
) -> None:
    unpacked = replaced(words(), kernel=settings["unpacked"])
    assert start_qemu.changed(words(), settings) == unpacked
    # one that was built meanwhile may be another
    (appliance / "new").write_bytes(b"")
    (appliance / "new").replace(appliance / "kernel")
    other = {**settings, "packed": str(appliance / "initrd")}
    assert start_qemu.changed(words(), other) == words()


def test_an_appliance_is_saved_and_gone_on_with(
    words: Words, settings: dict[str, Any], tmp_path: Path
) -> None:
    place = tmp_path / "saved"
    place.mkdir()
    told = start_qemu.changed(words(), {**settings, "saving": str(place)})
    assert told[-2:] == ["-qmp", f"unix:{place}/monitor,server=on,wait=off"]
    assert f"file={place}/root.qcow2,id=appliance,cache=unsafe,if=none,format=qcow2" in told
    assert "socket,path=/tmp/x/guestfsd.sock,id=channel0" in told
    # and on, with another image and another socket
    (place / MEMORY).write_bytes(b"memory")
    sockets = tmp_path / "s"
    sockets.mkdir()
    with socket.socket(socket.AF_UNIX) as libguestfs:
        libguestfs.bind(str(sockets / "guestfsd.sock"))
        libguestfs.listen()
        another = words("two.qcow2", str(sockets))
        told = start_qemu.changed(another, {**settings, "resuming": str(place)})
        with libguestfs.accept()[0] as greeted:
            assert greeted.recv(10) == GREETING
            memory = int(told[-1].removeprefix("fd:"))
            (channel,) = (one for one in told if one.endswith(",id=channel0"))
            connected = int(channel.removeprefix("socket,fd=").removesuffix(",id=channel0"))
            assert told[-2] == "-incoming"
            assert os.read(memory, 10) == b"memory"
            os.write(connected, b"answer")
            assert greeted.recv(10) == b"answer"
            for descriptor in (memory, connected):
                assert os.get_inheritable(descriptor)
                os.close(descriptor)
    kept = f"file={place}/root.qcow2,snapshot=on,id=appliance,cache=unsafe,if=none,format=qcow2"
    assert kept in told
    assert "file=two.qcow2,cache=unsafe,format=qcow2,id=hd0,if=none" in told


@pytest.mark.parametrize("changed", ["uuid", "sector", "memory", "root", "initrd", "qemu"])
def test_what_was_saved_of_another_appliance_is_not_gone_on_with(
    words: Words, settings: dict[str, Any], tmp_path: Path, appliance: Path, changed: str
) -> None:
    before = start_qemu.identity(words(), settings["qemu"])
    (tmp_path / IDENTITY).write_text(json.dumps(before))
    now = words()
    if changed == "uuid":
        now = words(uuid="2")
    elif changed == "sector":
        now = words(sector=4096)
    elif changed == "memory":
        now = replaced(now, m="2048")
    else:
        (appliance / changed).write_bytes(bytes(2048))
    with pytest.raises(SystemExit) as refused:
        start_qemu.changed(now, {**settings, "resuming": str(tmp_path)})
    assert refused.value.code == "imgprep: what was saved is not of this appliance"


def test_another_image_and_what_is_shown_make_no_other_appliance(
    words: Words, settings: dict[str, Any]
) -> None:
    quiet = [one.replace(" guestfs_verbose=1", "") for one in words("b", "/run")]
    quiet = [one.replace("TERM=xterm", "TERM=dumb") for one in quiet]
    qemu = settings["qemu"]
    assert start_qemu.identity(quiet, qemu) == start_qemu.identity(words(), qemu)


@pytest.fixture
def booted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(start_qemu.SETTINGS, "")
    (tmp_path / "unpacked").touch()
    monkeypatch.setattr(unpacked_kernel, "cached", lambda packed: tmp_path / "unpacked")
    path = tmp_path / "an appliance"
    path.mkdir()
    (path / "kernel").write_bytes(b"kernel")
    (path / "root").write_bytes(bytes(1 << 20))
    return path


def test_qemu_is_started_through_the_program(tmp_path: Path, booted: Path) -> None:
    qemu, kernel = tmp_path / "qemu", booted / "kernel"
    qemu.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    qemu.chmod(0o700)

    def started(*words: str) -> list[str]:
        argv = [script, *words]
        return subprocess.run(argv, capture_output=True, text=True).stdout.split("\n")[:-1]

    with hypervisor.instead_of(str(qemu), booted) as script:
        assert script is not None
        assert started("-display", "none", "-help") == ["-display", "none", "-help"]
        rest = ["-append", "panic=1 a b", ""]
        unpacked = str(tmp_path / "unpacked")
        assert started("-kernel", str(kernel), *rest) == ["-kernel", unpacked, *rest]
        another = tmp_path / "new"
        another.write_bytes(b"kernel")
        another.replace(kernel)
        assert started("-kernel", str(kernel), *rest) == ["-kernel", str(kernel), *rest]


def test_the_root_that_is_kept_is_an_overlay(tmp_path: Path, booted: Path) -> None:
    with hypervisor.instead_of("qemu", booted, saving=tmp_path):
        info = ["qemu-img", "info", "--output=json", tmp_path / ROOT]
        root = json.loads(subprocess.run(info, capture_output=True, check=True).stdout)
    assert root["backing-filename"] == str(booted / "root")


def test_without_a_kernel_qemu_is_started_as_ever(
    tmp_path: Path, booted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hypervisor.instead_of("qemu", tmp_path / "nothing") as script:
        assert script is None
    monkeypatch.setattr(unpacked_kernel, "cached", lambda packed: None)
    with hypervisor.instead_of("qemu", booted) as script:
        assert script is None
