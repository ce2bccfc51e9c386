import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgprep import partition_table
from imgprep.partition_table import Extent, Table

MIB = 1 << 20
DISK = 64 * MIB
ENTRY = bytes((0x80, 0, 2, 0, 0x83, 0, 2, 0))


def mbr(*entries: bytes) -> bytes:
    table = b"".join(entries).ljust(64, b"\0")
    return b"boot code".ljust(446, b"\0") + table + b"\x55\xaa" + bytes(1 << 16)


def entry(start: int, length: int, *, kind: int = 0x83, flag: int = 0) -> bytes:
    words = start.to_bytes(4, "little") + length.to_bytes(4, "little")
    return bytes((flag, 0, 2, 0, kind, 0, 2, 0)) + words


def parse(head: bytes, sector: int = 512) -> Table | None:
    return partition_table.parse(head, sector_size_bytes=sector, disk_size_bytes=DISK)


def test_mbr() -> None:
    head = mbr(entry(40960, 8), bytes(16), entry(2048, 4096, flag=0x80))
    assert parse(head) == Table(
        kind="mbr",
        extents=(
            Extent(number=3, start_bytes=MIB, size_bytes=2 * MIB),
            Extent(number=1, start_bytes=20 * MIB, size_bytes=4096),
        ),
    )


@pytest.mark.parametrize(
    "head",
    [
        b"",
        bytes(512),
        mbr(),
        mbr(entry(2048, 8))[:511],
        mbr(entry(2048, 8), entry(4096, 8, kind=0x05)),  # extended
        mbr(entry(2048, 8), entry(1, 4096, kind=0xEE)),  # hybrid
        mbr(entry(2048, 8, flag=0x12)),
        mbr(entry(2048, 4096), entry(4096, 8)),  # they overlap
        mbr(entry(2048, DISK // 512)),  # beyond the disk
        mbr(entry(0, 8)),
        mbr(entry(1, 4096, kind=0xEE)),  # no GPT behind it
    ],
)
def test_what_is_left_to_parted(head: bytes) -> None:
    assert parse(head) is None


@pytest.fixture
def gpt(tmp_path: Path) -> bytes:
    """A GPT with 512-byte sectors, as sfdisk writes it."""
    if shutil.which("sfdisk") is None:
        pytest.skip("no sfdisk")
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(DISK)
    script = "label: gpt\nstart=2048,size=2048\nstart=8192,size=4096\n"
    subprocess.run(["sfdisk", "-q", disk], input=script, text=True, check=True)
    subprocess.run(["sfdisk", "-q", "--delete", disk, "1"], check=True)
    return disk.read_bytes()[: partition_table.HEAD_BYTES]


def test_gpt(gpt: bytes) -> None:
    assert parse(gpt) == Table(
        kind="gpt", extents=(Extent(number=2, start_bytes=4 * MIB, size_bytes=2 * MIB),)
    )
    assert parse(gpt, sector=4096) is None
    for at in (512 + 8, 512 + 16, 512 + 40, 1024 + 130):  # a bit of a header, of an entry
        damaged = bytearray(gpt)
        damaged[at] ^= 1
        assert parse(bytes(damaged)) is None


@given(st.binary(max_size=200), st.binary(max_size=2000))
def test_any_bytes_are_read_or_left(table: bytes, rest: bytes) -> None:
    head = mbr(table[:64])[:512] + rest
    for sector in (512, 4096):
        found = parse(head, sector)
        assert found is None or all(one.size_bytes > 0 for one in found.extents)
