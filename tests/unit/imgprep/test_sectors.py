from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgprep import sectors
from tests.fixtures import partition_tables
from tests.fixtures.partition_tables import MIB

EXT4 = (1024 + 56, b"\x53\xef")
VFAT = (510, b"\x55\xaa")


def detect(disk: Path) -> int:
    content = disk.read_bytes()
    return sectors.detect(
        lambda offset, size: content[offset : offset + size], disk_size_bytes=len(content)
    )


@pytest.mark.parametrize("sector_bytes", [512, 4096])
@pytest.mark.parametrize("table", ["gpt", "mbr"])
@pytest.mark.parametrize("sign", [(0, b"XFSB"), (512, b"LABELONE"), EXT4, VFAT])
def test_both_sizes(table: str, sector_bytes: int, sign: tuple[int, bytes], tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    parts = partition_tables.extents([(2, "linux"), (4, "linux")])
    partition_tables.write(disk, table, parts, sector_bytes=sector_bytes)
    with disk.open("r+b") as file:
        file.seek(parts[1].start_mib * MIB + sign[0])
        file.write(sign[1])
    assert detect(disk) == sector_bytes


def test_without_any_sign_a_sector_has_512_bytes(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    parts = partition_tables.extents([(2, "linux")])
    partition_tables.write(disk, "mbr", parts, sector_bytes=4096)
    assert detect(disk) == 512
    disk.write_bytes(b"")
    assert detect(disk) == 512


def test_a_table_that_would_not_fit_with_large_sectors_is_not_looked_up(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    parts = partition_tables.extents([(2, "linux"), (4, "linux")])
    partition_tables.write(disk, "mbr", parts, sector_bytes=512)
    content = disk.read_bytes()
    asked = []

    def read(offset: int, size: int) -> bytes:
        asked.append(offset)
        return content[offset : offset + size]

    assert sectors.detect(read, disk_size_bytes=len(content)) == 512
    assert asked == [0]


@given(st.binary(max_size=9000), st.integers(0, 1 << 62))
def test_any_bytes_have_a_sector_size(head: bytes, size: int) -> None:
    found = sectors.detect(lambda offset, n: head[offset : offset + n], disk_size_bytes=size)
    assert found in sectors.SIZES_BYTES
