"""Prove on a small disk that a bundle holds the right bytes, and that the source keeps its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imgprep import qemu_img, session
from imgprep.layout import Content, Volume
from imgprep.precheck import ImageFormat
from tests.fixtures.make_atomic_image import (
    BOOT_MIB,
    BOOT_UUID,
    DISK_MIB,
    FSTAB,
    KERNEL_VERSION,
    SAMPLES,
    STATEROOT,
    Sample,
)
from tests.functional.imgprep.conftest import Converted, Early, extract_by_2014, sha256_of

Run = Callable[..., subprocess.CompletedProcess[str]]
START = (1 + BOOT_MIB) << 20
SIZE = (DISK_MIB << 20) - START
ROOT = Volume(device="/dev/atomicos/root", partition=1, filesystem=Content.XFS)


def deployment_json(index: int, sample: Sample) -> dict[str, object]:
    return {
        "index": index,
        "default": index == 0,
        "stateroot": STATEROOT,
        "checksum": sample.checksum,
        "serial": sample.serial,
        "bootcsum": sample.bootcsum,
        "kernel_version": KERNEL_VERSION,
        "kernel": f"/boot/{sample.in_boot}/vmlinuz-{KERNEL_VERSION}",
        "ramdisks": [f"/boot/{sample.in_boot}/{name}" for name in sample.ramdisk_names()],
        "kernel_cmdline": sample.cmdline,
    }


def file_json(path: Path) -> dict[str, object]:
    return {"file": path.name, "size_bytes": path.stat().st_size, "sha256": sha256_of(path)}


def manifest_json(directory: Path, sample: Sample, base: dict[str, object]) -> dict[str, object]:
    name = "small.atomic"
    return {
        "schema": 1,
        "name": name,
        "source": {
            "file": "small.atomic.qcow2",
            "format": "qcow2",
            "virtual_size_bytes": DISK_MIB << 20,
        },
        "kernel": file_json(directory / f"{name}-kernel"),
        "ramdisk": file_json(directory / f"{name}-ramdisk"),
        "base": {
            **file_json(directory / f"{name}-base"),
            **base,
            "virtual_size_bytes": SIZE,
            "content": "lvm2-pv",
        },
        "kernel_cmdline": sample.cmdline,
        "deployment": {
            "stateroot": STATEROOT,
            "checksum": sample.checksum,
            "serial": sample.serial,
            "bootcsum": sample.bootcsum,
            "kernel_version": KERNEL_VERSION,
        },
    }


def as_raw(base: Path, to: Path) -> Path:
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", base, to], check=True)
    return to


def test_inspect_prints_what_is_in_the_image(early: dict[str, Early]) -> None:
    assert json.loads(early["inspect"].done().stdout) == {
        "schema": 1,
        "format": "qcow2",
        "virtual_size_bytes": DISK_MIB << 20,
        "sector_size_bytes": 512,
        "partition_table": "mbr",
        "partitions": [
            {"number": 1, "start_bytes": 1 << 20, "size_bytes": BOOT_MIB << 20, "content": "ext4"},
            {"number": 2, "start_bytes": START, "size_bytes": SIZE, "content": "lvm2-pv"},
        ],
        "boot": {"partition": 1, "filesystem": "ext4"},
        "root": {
            "partition": 2,
            "content": "lvm2-pv",
            "filesystem": "xfs",
            "device": "/dev/mapper/atomicos-root",
        },
        "deployments": [deployment_json(*numbered) for numbered in enumerate(SAMPLES)],
    }


def test_the_manifest_is_as_designed(converted: Converted) -> None:
    directory = converted.bundle.directory
    manifest = json.loads((directory / "small.atomic.json").read_text())
    assert len(manifest.pop("manifest_sha256")) == 64
    assert manifest == manifest_json(directory, SAMPLES[0], {"format": "qcow2"})
    assert sorted(path.name for path in directory.iterdir()) == [
        "small.atomic-base",
        "small.atomic-kernel",
        "small.atomic-ramdisk",
        "small.atomic.json",
    ]
    assert [path.name for path in directory.parent.iterdir() if path.name[0] == "."] == []


def test_kernel_and_ramdisk_are_those_of_the_default_deployment(converted: Converted) -> None:
    directory = converted.bundle.directory
    assert (directory / "small.atomic-kernel").read_bytes() == SAMPLES[0].kernel
    assert (directory / "small.atomic-ramdisk").read_bytes() == b"".join(SAMPLES[0].ramdisks)


def test_the_source_is_the_same_afterwards(
    converted: Converted, image: Path, image_sha256: str
) -> None:
    assert sha256_of(image) == image_sha256


def test_the_base_is_what_the_method_of_2014_extracts(converted: Converted, tmp_path: Path) -> None:
    base = as_raw(converted.bundle.directory / "small.atomic-base", tmp_path / "base")
    assert base.stat().st_size == SIZE
    assert sha256_of(base) == sha256_of(converted.by_2014)


def test_the_fstab_loses_the_mounts_at_boot_and_nothing_else(
    converted: Converted, tmp_path: Path
) -> None:
    base = tmp_path / "base.qcow2"
    qemu_img.create_overlay(
        base,
        of=converted.bundle.directory / "small.atomic-base",
        of_format=ImageFormat.QCOW2,
    )
    directory = f"/{SAMPLES[0].path}/etc"
    with session.launched(base) as guest:
        with guest.mounted(ROOT):
            fstab = guest.read(f"{directory}/fstab", limit_bytes=1000)
            status = guest._do("lstatns", f"{directory}/fstab")
            attribute = guest._do("getxattr", f"{directory}/fstab", "user.kept")
            older = guest.read(f"/{SAMPLES[1].path}/etc/fstab", limit_bytes=1000)
        # and how a file is replaced that another name leads to
        with guest.mounted(ROOT, writable=True):
            guest.replace(f"{directory}/linked", b"new\n")
            linked = guest.read(f"{directory}/linked", limit_bytes=1000)
            other_name = guest.read("/ostree/repo/object", limit_bytes=1000)
    boot, efi = (
        b"UUID=" + BOOT_UUID.encode() + b" /boot ext4 defaults 1 2\n",
        b"/dev/sdz1 /boot/efi",
    )
    kept = FSTAB.replace(boot, b"")
    kept = b"".join(line for line in kept.splitlines(keepends=True) if not line.startswith(efi))
    assert fstab == kept
    assert (status["st_mode"] & 0o7777, status["st_uid"], status["st_gid"]) == (0o640, 12, 34)
    assert bytes(attribute) == b"yes"
    assert older == SAMPLES[1].fstab
    assert (linked, other_name) == (b"new\n", b"an object of the repository\n")


def test_without_an_edit_the_base_is_the_partition(
    image: Path, early: dict[str, Early], tmp_path: Path, run: Run
) -> None:
    done = early["older"].done()
    directory = early["older"].directory / "older"
    expected = manifest_json(directory, SAMPLES[1], {"format": "raw"})
    assert json.loads(done.stdout) == expected
    manifest = json.loads((directory / "small.atomic.json").read_text())
    assert manifest == {**expected, "manifest_sha256": manifest["manifest_sha256"]}
    base = directory / "small.atomic-base"
    assert base.stat().st_blocks * 512 < base.stat().st_size
    extract_by_2014(image, tmp_path / "partition")
    assert sha256_of(base) == sha256_of(tmp_path / "partition")
    ramdisk = (directory / "small.atomic-ramdisk").read_bytes()
    assert ramdisk == b"".join(SAMPLES[1].ramdisks)
    said = "left out of the kernel arguments, a boot loader variable: $ignition_firstboot\n"
    assert said in done.stderr
    run("verify", directory)
    base.write_bytes(b"x" + base.read_bytes()[1:])
    assert run("verify", directory, status=1).stderr.splitlines()[-1] == (
        f"imgprep: the bundle {directory} is damaged: small.atomic-base has another content"
        " (sha256) (make it again)"
    )


def test_an_interruption_leaves_nothing_behind(image: Path, tmp_path: Path) -> None:
    processes = []
    for number in (signal.SIGINT, signal.SIGTERM):
        directory = tmp_path / number.name
        directory.mkdir()
        process = subprocess.Popen(
            [sys.executable, "-m", "imgprep", "atomic-to-pxe", image, "-o", directory / "out"],
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append((number, directory, process))
    for number, directory, process in processes:
        limit = time.monotonic() + 60
        while not list(directory.glob(".out.imgprep/run-*/overlay.qcow2")):
            assert time.monotonic() < limit and process.poll() is None
            time.sleep(0.05)
        time.sleep(1)  # into the launch of the appliance
        children = children_of(process.pid)
        process.send_signal(number)
        _out, said = process.communicate(timeout=10)
        assert process.returncode == 130
        assert said.endswith("imgprep: interrupted\n")
        assert list(directory.iterdir()) == []
        assert children
        limit = time.monotonic() + 10
        while alive := [child for child in children if Path(f"/proc/{child}/cmdline").exists()]:
            assert time.monotonic() < limit, alive
            time.sleep(0.1)


def children_of(pid: int) -> list[int]:
    """List the processes below one, however deep."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            found += [int(stat.parent.name), *children_of(int(stat.parent.name))]
    return found


def test_no_ostree_in_it(early: dict[str, Early]) -> None:
    assert early["no-ostree"].done(status=1).stderr.splitlines()[-1] == (
        "imgprep: no ostree in this image (no file system of it holds /ostree/repo and"
        " /ostree/deploy; deploy it as a whole disk, with Ironic's deploy interface `direct`)"
    )
    assert list(early["no-ostree"].directory.iterdir()) == []


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    if os.geteuid() != 0:
        (pytest.fail if "CI" in os.environ else pytest.skip)("mounting needs root")
    place = tmp_path / "tiny"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_output_disk_is_seen_before_the_work(image: Path, tiny: Path, run: Run) -> None:
    done = run("atomic-to-pxe", image, "-o", tiny / "out", status=1)
    assert done.stderr == (
        f"imgprep: not enough room in {tiny}: 67.1 MB are needed and 1.0 MB are free"
        " (free some space there, or name another place with -o)\n"
    )
    assert list(tiny.iterdir()) == []


def test_a_disk_that_fills_up_under_the_copy(tiny: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(3 << 20))
    extent = qemu_img.extent(source, format_=ImageFormat.RAW, offset_bytes=0, size_bytes=3 << 20)
    with pytest.raises(qemu_img.NoSpaceError) as error:
        qemu_img.convert(extent, tiny / "target", format_=ImageFormat.QCOW2)
    assert str(error.value) == "the disk is full (free some space and try again)"
