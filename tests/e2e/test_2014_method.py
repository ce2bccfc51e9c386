"""Hold the conversion against what the script of 2014 did with the same image.

That script mounted the image read-write on the host twice (for kernel and ramdisk, then to edit the
deployment's fstab), wrote the whole disk out as raw, and cut the root partition from it with dd.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.support import IMAGE_NAME, run, say

SECTOR_BYTES = 512
APPLIANCE = {"LIBGUESTFS_BACKEND": "direct", "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"}
BOOT_LINE = re.compile(rb"^\S+\s+/boot\s.*\n", re.MULTILINE)


@contextmanager
def guestmount(image: Path, device: str, directory: Path) -> Iterator[Path]:
    directory.mkdir()
    pid_file = directory.with_suffix(".pid")
    env = {**os.environ, **APPLIANCE}
    command = [
        "guestmount",
        "--format=qcow2",
        "-a",
        image,
        "-m",
        device,
        "--pid-file",
        pid_file,
        directory,
    ]
    subprocess.run(command, check=True, env=env, timeout=120)
    pid = int(pid_file.read_text())
    try:
        yield directory
    finally:
        subprocess.run(["guestunmount", directory], check=True, timeout=120)
        # guestunmount returns before the image is written back: wait for the mount's process
        while Path(f"/proc/{pid}").exists():
            os.sched_yield()


@pytest.fixture(scope="module")
def extracted(sample_image: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Do the steps of 2014 on a copy; a directory with kernel, ramdisk and base."""
    directory = tmp_path_factory.mktemp("2014")
    copy, whole = directory / "copy.qcow2", directory / "whole.raw"
    shutil.copyfile(sample_image, copy)
    with guestmount(copy, "/dev/sda1", directory / "boot") as boot:
        [kernel] = boot.glob("ostree/*/vmlinuz*")
        [ramdisk] = boot.glob("ostree/*/initramfs*")
        shutil.copyfile(kernel, directory / "kernel")
        shutil.copyfile(ramdisk, directory / "ramdisk")
    with guestmount(copy, "/dev/atomicos/root", directory / "root") as root:
        [fstab] = root.glob("ostree/deploy/*/deploy/*.0/etc/fstab")
        before = fstab.read_bytes()
        after = BOOT_LINE.sub(b"", before)
        assert after != before
        fstab.write_bytes(after)
    run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", copy, whole, timeout_s=300)
    table = json.loads(run("sfdisk", "--json", whole).stdout)["partitiontable"]["partitions"]
    start, size = table[1]["start"], table[1]["size"]
    run(
        "dd", f"if={whole}", f"of={directory / 'base'}", "bs=512", f"skip={start}", f"count={size}",
        "status=none", timeout_s=900,
    )  # fmt: skip
    whole.unlink()
    copy.unlink()
    return directory


def raw_base(bundle: Path, directory: Path) -> Path:
    base = json.loads((bundle / f"{IMAGE_NAME}.json").read_text())["base"]
    raw = directory / "ours.raw"
    run(
        "qemu-img",
        "convert",
        "-f",
        base["format"],
        "-O",
        "raw",
        bundle / base["file"],
        raw,
        timeout_s=300,
    )
    return raw


def files_of(base: Path) -> str:
    """Digest every file, and name type, mode, owner, size and target of every name."""
    script = (
        "run\nlvm-set-filter /dev/sda\nmount-options ro,norecovery /dev/atomicos/root /\n"
        "checksums-out crc / -\n"
        r"""debug sh "cd /sysroot && find . -printf '%p %y %m %U %G %s %l\\n' | sort" """
    )
    done = subprocess.run(
        ["guestfish", "--format=raw", "-a", base],
        input=script, capture_output=True, text=True, env={**os.environ, **APPLIANCE}, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_kernel_and_ramdisk_are_the_same_bytes(bundle: Path, extracted: Path) -> None:
    for kind in ("kernel", "ramdisk"):
        assert (bundle / f"{IMAGE_NAME}-{kind}").read_bytes() == (extracted / kind).read_bytes()


def test_the_base_is_the_same_but_for_the_edit_s_own_traces(
    bundle: Path, extracted: Path, tmp_path: Path
) -> None:
    """Both edits leave times and a journal of their own, but no file may differ.

    XFS clears 2 MiB of its journal ahead whenever it is mounted (xlog_clear_stale_blocks).
    """
    ours, theirs = raw_base(bundle, tmp_path), extracted / "base"
    assert ours.stat().st_size == theirs.stat().st_size
    block = 4096
    differing = 0
    with ours.open("rb") as one, theirs.open("rb") as other:
        while chunk := one.read(block):
            differing += chunk != other.read(block)
    say(f"base against the 2014 method: {differing} blocks of {block} bytes differ")
    assert differing * block <= 4 << 20
    mine, his = files_of(ours), files_of(theirs)
    assert mine == his
    assert mine.count("\n") > 10_000
