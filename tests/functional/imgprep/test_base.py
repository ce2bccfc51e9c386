"""Prove that a copy that is brought up to date holds the same bytes as one made afterwards."""

import subprocess
from pathlib import Path

import pytest

from imgprep import base, qemu_img
from imgprep.partition_table import Extent, Table
from imgprep.precheck import ImageFormat, Source

MIB = 1 << 20
DISK = 64 * MIB
EXTENT = Extent(number=1, start_bytes=3 * MIB + 512, size_bytes=40 * MIB + 1024)
END = EXTENT.start_bytes + EXTENT.size_bytes


def qemu_io(image: Path, *commands: str) -> None:
    argv = ["qemu-io", "-f", "qcow2", "-d", "unmap"]
    for command in commands:
        argv += ["-c", command]
    subprocess.run([*argv, image], check=True, capture_output=True)


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """A disk with data, holes, and a cluster that the partition begins in the middle of."""
    path = tmp_path / "source.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, str(DISK)], check=True)
    qemu_io(path, f"write -P 1 0 {10 * MIB}", f"write -P 2 {20 * MIB} {10 * MIB}")
    return Source(path=path, format=ImageFormat.QCOW2, virtual_size_bytes=DISK)


@pytest.fixture
def overlay(source: Source, tmp_path: Path) -> Path:
    """What a session may leave: writes over data and holes, zeros, discards, across both ends."""
    path = tmp_path / "overlay.qcow2"
    qemu_img.create_overlay(path, of=source.path, of_format=source.format)
    qemu_io(
        path,
        f"write -P 3 {EXTENT.start_bytes - 4096} 8192",
        f"write -P 4 {END - 512} 65536",
        f"write -P 5 {22 * MIB} {20 * MIB}",  # more than one piece
        f"write -P 6 {15 * MIB} 512",
        f"write -z {5 * MIB} {MIB}",
        f"write -z -u {7 * MIB} {MIB}",
        f"discard {8 * MIB} {MIB}",
        "write -P 7 0 512",  # outside
        f"write -z {END + MIB} 65536",
    )
    return path


def raw(image: Path, format_: ImageFormat) -> bytes:
    target = image.with_suffix(".as-raw")
    argv = ["qemu-img", "convert", "-f", format_, "-O", "raw", image, target]
    subprocess.run(argv, check=True)
    return target.read_bytes()


def afterwards(overlay: Path, target: Path) -> bytes:
    """Copy the partition out of the overlay, whole."""
    wanted = qemu_img.extent(
        overlay,
        format_=ImageFormat.QCOW2,
        offset_bytes=EXTENT.start_bytes,
        size_bytes=EXTENT.size_bytes,
    )
    qemu_img.convert(wanted, target, format_=ImageFormat.RAW)
    return target.read_bytes()


@pytest.mark.parametrize("limit", [base.PIECES_LIMIT, 1])
@pytest.mark.parametrize("format_", [ImageFormat.RAW, ImageFormat.QCOW2])
def test_the_bytes_are_the_same(  # noqa: PLR0917 - pytest passes by name
    format_: ImageFormat,
    limit: int,
    source: Source,
    overlay: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(base, "PIECES_LIMIT", limit)  # with 1: all is copied again
    target = tmp_path / "a base"
    with base.started(source, EXTENT, target, format_=format_) as copy:
        copy.finish()
    unchanged = raw(target, format_)
    assert len(unchanged) == EXTENT.size_bytes
    base.update(target, overlay, EXTENT, format_=format_)
    expected = afterwards(overlay, tmp_path / "expected")
    assert unchanged != expected
    assert raw(target, format_) == expected
    names = {path.name for path in tmp_path.iterdir()}
    assert not [name for name in names if name.startswith("piece")]
    # zeros are holes, not written out
    assert target.stat().st_blocks * 512 < 36 * MIB


def test_a_copy_ends_with_its_context(source: Source, tmp_path: Path) -> None:
    target = tmp_path / "base"
    with (
        pytest.raises(KeyboardInterrupt),
        base.started(source, EXTENT, target, format_=ImageFormat.RAW),
    ):
        raise KeyboardInterrupt
    target.unlink(missing_ok=True)
    argv = ["pgrep", "-f", str(target)]
    assert subprocess.run(argv, capture_output=True, text=True).stdout == ""


def test_the_largest_partition_is_the_guess() -> None:
    small = Extent(number=1, start_bytes=MIB, size_bytes=MIB)
    assert base.likely(Table(kind="gpt", extents=(small, EXTENT))) == EXTENT
    assert base.likely(None) is None
