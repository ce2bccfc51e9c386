"""The bytes of the partition table."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from ironic.common import exception

from provision.driver import partition_table

MIB = 1 << 20


@pytest.mark.parametrize(
    ("kind", "sector", "start", "sectors"),
    [
        (partition_table.TYPE_LINUX, 512, b"\x00\x08\x00\x00", b"\x00\x00\x20\x00"),
        (partition_table.TYPE_LINUX_LVM, 512, b"\x00\x08\x00\x00", b"\x00\x00\x20\x00"),
        (partition_table.TYPE_LINUX, 4096, b"\x00\x01\x00\x00", b"\x00\x00\x04\x00"),
    ],
)
def test_bytes(kind: int, sector: int, start: bytes, sectors: bytes) -> None:
    table = partition_table.mbr(
        size_bytes=1024 * MIB,
        partition_type=kind,
        sector_size_bytes=sector,
        disk_signature=0x12345678,
    )
    chs = b"\xfe\xff\xff"
    entry = b"\x00" + chs + bytes([kind]) + chs + start + sectors
    assert len(table) == MIB
    assert table[:440] == bytes(440)
    assert table[440:446] == b"\x78\x56\x34\x12\x00\x00"
    assert table[446:510] == entry + bytes(48)
    assert table[510:512] == b"\x55\xaa"
    assert table[512:] == bytes(MIB - 512)


@pytest.mark.skipif(
    shutil.which("sfdisk", path="/usr/sbin:/sbin") is None and "CI" not in os.environ,
    reason="needs sfdisk",
)
def test_sfdisk_reads_it(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(
        partition_table.mbr(
            size_bytes=8 * MIB,
            partition_type=partition_table.TYPE_LINUX_LVM,
            sector_size_bytes=512,
            disk_signature=1,
        )
        + bytes(8 * MIB)
    )
    dump = subprocess.run(
        ["/usr/sbin/sfdisk", "--dump", str(disk)], check=True, capture_output=True, text=True
    ).stdout
    assert "label: dos" in dump
    assert "start=        2048, size=       16384, type=8e" in dump


@pytest.mark.parametrize(
    ("size", "sector"), [(0, 512), (1000, 512), (1 << 41, 512), (MIB + 512, 4096)]
)
def test_what_does_not_fit(size: int, sector: int) -> None:
    with pytest.raises(exception.InstanceDeployFailure) as refused:
        partition_table.mbr(
            size_bytes=size, partition_type=0x83, sector_size_bytes=sector, disk_signature=1
        )
    assert str(refused.value) == (
        f"Failed to deploy instance: a partition of {size} bytes does not fit an MBR with sectors "
        f"of {sector} bytes"
    )
