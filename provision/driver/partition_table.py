"""Write a partition table with one partition, as bytes.

An MBR, as the images of the time expect, and as both BIOS and UEFI read it; the node does not boot
from it anyway. Layout: https://en.wikipedia.org/wiki/Master_boot_record#Sector_layout
"""

import struct

from ironic.common import exception

MIB = 1 << 20
# The partition begins where every partitioning tool since 2010 begins the first one.
START_BYTES = MIB
TYPE_LINUX = 0x83
TYPE_LINUX_LVM = 0x8E
_NO_CHS = b"\xfe\xff\xff"  # "see the sector numbers": no disk of today has such geometry


def mbr(
    *, size_bytes: int, partition_type: int, sector_size_bytes: int, disk_signature: int
) -> bytes:
    """Build the first sectors of a disk: one partition, the rest of the table empty.

    :param size_bytes: of the partition; a multiple of the sector size.
    :param disk_signature: 32 bits that name the disk (PARTUUID is made of them); not 0.
    :returns: START_BYTES bytes: the table, then zeros up to the partition.
    :raises InstanceDeployFailure: a size that the table cannot say.
    """
    sectors, rest = divmod(size_bytes, sector_size_bytes)
    if rest or not 0 < sectors < 1 << 32:
        raise exception.InstanceDeployFailure(
            reason=f"a partition of {size_bytes} bytes does not fit an MBR with sectors of "
            f"{sector_size_bytes} bytes"
        )
    start = START_BYTES // sector_size_bytes
    entry = struct.pack("<B3sB3sII", 0, _NO_CHS, partition_type, _NO_CHS, start, sectors)
    table = bytearray(START_BYTES)
    struct.pack_into("<I", table, 440, disk_signature)
    table[446 : 446 + len(entry)] = entry
    table[510:512] = b"\x55\xaa"
    return bytes(table)
