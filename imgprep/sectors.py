"""Find out how large the sectors are that an image's partition table counts in.

No image format says. A disk made for 4,096-byte sectors is another one when it is read with 512:
its GPT header lies at byte 4,096 instead of 512, its MBR's numbers mean eight times as many bytes.

Source: UEFI 2.10, sections 5.2.1 (MBR) and 5.3.2 (the GPT header is at LBA 1).
"""

from collections.abc import Callable
from struct import Struct

Read = Callable[[int, int], bytes]

SIZES_BYTES = (512, 4096)
GPT_SIGNATURE = b"EFI PART"
MBR_ENTRIES_AT, MBR_ENTRIES = 446, 4
MBR_ENTRY = Struct("<4xB3xII")  # type, first sector, number of sectors
PROTECTIVE = 0xEE  # the MBR of a GPT disk
EXTENDED = (0x05, 0x0F, 0x85)
MBR_SIGNATURE_AT, MBR_SIGNATURE = 510, b"\x55\xaa"
# where what a partition may begin with says so
SIGNATURES = (
    (0, b"XFSB"),
    (0, b"LUKS\xba\xbe"),
    (512, b"LABELONE"),  # LVM2: in sector 1 of 512 bytes, whatever the disk's
    (1024 + 56, b"\x53\xef"),  # ext4
    (65536 + 64, b"_BHRfS_M"),  # btrfs
    (MBR_SIGNATURE_AT, MBR_SIGNATURE),  # vfat, or the next table of an extended partition
)


def detect(read: Read, *, disk_size_bytes: int) -> int:
    """Return the sector size in bytes; 512 when nothing says otherwise.

    :param read: returns so many bytes from so many bytes on of the disk as a guest sees it, fewer
        at its end.
    """
    head = read(0, 2 * SIZES_BYTES[-1])
    for size in SIZES_BYTES:
        if head[size : size + len(GPT_SIGNATURE)] == GPT_SIGNATURE:
            return size
    starts = _starts(head, disk_size_bytes)
    if not starts:
        return SIZES_BYTES[0]
    known = {size: sum(_known(read, start * size) for start in starts) for size in SIZES_BYTES}
    return max(SIZES_BYTES, key=lambda size: known[size])  # the first of equals


def _starts(head: bytes, disk_size_bytes: int) -> list[int]:
    """List where an MBR's partitions start, in sectors; none unless they fit with large ones."""
    if head[MBR_SIGNATURE_AT:512] != MBR_SIGNATURE:
        return []
    starts = []
    for number in range(MBR_ENTRIES):
        kind, start, length = MBR_ENTRY.unpack_from(head, MBR_ENTRIES_AT + number * MBR_ENTRY.size)
        if kind == 0:
            continue
        if kind == PROTECTIVE or (start + length) * SIZES_BYTES[-1] > disk_size_bytes:
            return []
        starts.append(start)
    return starts


def _known(read: Read, offset_bytes: int) -> bool:
    return any(read(offset_bytes + at, len(signature)) == signature for at, signature in SIGNATURES)
