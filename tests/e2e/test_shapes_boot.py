"""Boot what is extracted from images in the shapes of Fedora CoreOS and of bootc.

qemu gets kernel, ramdisk and arguments, and a disk that holds the base and nothing else: no
partition table, no boot loader, no /boot.
"""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.lab import acceleration
from tests.e2e.support import run, say
from tests.fixtures import shapes

BOOT_LIMIT_S = 900
PROMPT = b"localhost login:"
SHAPES = ("coreos", "bootc")


@pytest.fixture(scope="module")
def bundles(sample_image: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Take both images apart, in one appliance."""
    made = shapes.shapes(sample_image)
    place = tmp_path_factory.mktemp("shapes")
    run("imgprep", "atomic-to-pxe", made.coreos, made.bootc, "-o", place, timeout_s=900)
    return {name: place / name for name in SHAPES}


@contextlib.contextmanager
def machine(bundle: Path, console: Path) -> Iterator[None]:
    """Run a machine on a bundle; what it writes to the disk goes nowhere."""
    name = bundle.name
    manifest = json.loads((bundle / f"{name}.json").read_text())
    kernel = bundle / manifest["kernel"]["file"]
    accelerator = "kvm" if acceleration.kvm_works(kernel) else "tcg"
    disk = f"file={bundle / manifest['base']['file']},format={manifest['base']['format']}"
    argv = [
        *("qemu-system-x86_64", "-accel", accelerator, "-m", "1024", "-nodefaults"),
        *(("-cpu", "host") if accelerator == "kvm" else ()),
        *("-display", "none", "-no-reboot", "-serial", f"file:{console}"),
        *("-kernel", kernel, "-initrd", bundle / manifest["ramdisk"]["file"]),
        *("-append", manifest["kernel_cmdline"]),
        *("-drive", f"{disk},if=virtio,snapshot=on"),
    ]
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=sys.stderr)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def consoles(
    bundles: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """Boot both side by side, each until it asks for a login; what they said."""
    files = {name: tmp_path_factory.mktemp("console") / name for name in SHAPES}
    for file in files.values():
        file.touch()
    began = time.monotonic()
    with contextlib.ExitStack() as machines:
        for name in SHAPES:
            machines.enter_context(machine(bundles[name], files[name]))
        waiting = set(SHAPES)
        while waiting and time.monotonic() - began < BOOT_LIMIT_S:
            for name in [name for name in waiting if PROMPT in files[name].read_bytes()]:
                say(f"{name}: login prompt after {time.monotonic() - began:.0f} s")
                waiting.discard(name)
            time.sleep(1)
    return {name: file.read_bytes() for name, file in files.items()}


@pytest.mark.parametrize("name", SHAPES)
def test_it_boots(name: str, bundles: dict[str, Path], consoles: dict[str, bytes]) -> None:
    said = consoles[name]
    assert PROMPT in said, said[-3000:].decode(errors="replace")
    assert b"emergency mode" not in said
    assert b"FAILED" not in said  # no unit did
    manifest = json.loads((bundles[name] / f"{name}.json").read_text())
    assert f"Command line: {manifest['kernel_cmdline']}".encode() in said.replace(b"\r", b"")


def test_what_was_taken_apart(bundles: dict[str, Path]) -> None:
    """What no machine can tell: the boot loader's variable is gone, the roots are of two kinds."""
    manifests = {
        name: json.loads((bundle / f"{name}.json").read_text()) for name, bundle in bundles.items()
    }
    coreos, bootc = manifests["coreos"], manifests["bootc"]
    assert coreos["kernel_cmdline"].startswith("ignition.platform.id=metal root=LABEL=root rw ")
    assert bootc["kernel_cmdline"].startswith(f"root=UUID={shapes.BOOTC_UUID} rw ")
    assert coreos["deployment"] == bootc["deployment"]
    for part in ("kernel", "ramdisk"):
        assert coreos[part]["sha256"] == bootc[part]["sha256"]
    assert {one["base"]["content"] for one in manifests.values()} == {"filesystem"}
