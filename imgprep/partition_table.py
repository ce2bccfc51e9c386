"""Read a partition table off a disk's first bytes.

parted does the same inside the appliance, but takes most of a second for it there, and before the
appliance is up there is no parted. Only what is plain is read here; anything else is left to it.

Source: UEFI 2.10, sections 5.2.1 (MBR), 5.3.2 (GPT header) and 5.3.3 (GPT entries).
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct

HEAD_BYTES = 64 << 10  # holds the whole of a GPT with the usual 128 entries
SIGNATURE_AT, SIGNATURE = 510, b"\x55\xaa"
MBR_AT, MBR_ENTRIES = 446, 4
MBR_ENTRY = Struct("<B3xB3xII")  # boot flag, type, first sector, number of sectors
BOOT_FLAGS = (0x00, 0x80)  # anything else: no partition table but a boot sector of some kind
PROTECTIVE = 0xEE
EXTENDED = (0x05, 0x0F, 0x85)
# signature, header size, header's checksum, number, size and checksum of the entries
GPT_HEADER = Struct("<8s4xII4x8x8x8x8x16xQIII")
GPT_SIGNATURE = b"EFI PART"
GPT_HEADER_BYTES, GPT_CRC_AT = 92, 16
GPT_ENTRY = Struct("<16s16xQQ")  # type, first and last sector
UNUSED = bytes(16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """Where a partition is, in bytes from the start of the disk."""

    number: int
    start_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A partition table.

    :param kind: `mbr` or `gpt`.
    :param extents: by their place on the disk.
    """

    kind: str
    extents: tuple[Extent, ...]


def parse(head: bytes, *, sector_size_bytes: int, disk_size_bytes: int) -> Table | None:
    """Read a partition table; None when it is not a plain one.

    :param head: the disk's first bytes, HEAD_BYTES of them if there are so many.
    """
    if head[SIGNATURE_AT:512] != SIGNATURE:
        return None
    entries = [MBR_ENTRY.unpack_from(head, MBR_AT + MBR_ENTRY.size * n) for n in range(MBR_ENTRIES)]
    kinds = [kind for _flag, kind, _start, _length in entries if kind]
    if any(flag not in BOOT_FLAGS for flag, *_ in entries) or set(kinds) & set(EXTENDED):
        return None
    if kinds == [PROTECTIVE]:
        found = _gpt(head, sector_size_bytes)
    elif not kinds or PROTECTIVE in kinds:
        found = None
    else:
        found = [
            (number, start, start + length)
            for number, (_flag, kind, start, length) in enumerate(entries, 1)
            if kind and length
        ]
    if found is None or not _is_sound(found, disk_size_bytes // sector_size_bytes):
        return None
    extents = tuple(
        Extent(
            number=number,
            start_bytes=start * sector_size_bytes,
            size_bytes=(end - start) * sector_size_bytes,
        )
        for number, start, end in sorted(found, key=lambda one: one[1])
    )
    return Table(kind="gpt" if kinds == [PROTECTIVE] else "mbr", extents=extents)


def _gpt(head: bytes, sector_size_bytes: int) -> list[tuple[int, int, int]] | None:
    """List number, first sector and the sector after the last; None for what is not plain."""
    header = head[sector_size_bytes : sector_size_bytes + GPT_HEADER_BYTES]
    if len(header) < GPT_HEADER_BYTES:
        return None
    signature, length, checksum, first, count, size, entries_checksum = GPT_HEADER.unpack(
        header[: GPT_HEADER.size]
    )
    without = header[:GPT_CRC_AT] + bytes(4) + header[GPT_CRC_AT + 4 :]
    at, total = first * sector_size_bytes, count * size
    if (
        signature != GPT_SIGNATURE
        or length != GPT_HEADER_BYTES
        or zlib.crc32(without) != checksum
        or size < GPT_ENTRY.size
        or at + total > len(head)
        or zlib.crc32(head[at : at + total]) != entries_checksum
    ):
        return None
    found = []
    for number in range(count):
        kind, start, last = GPT_ENTRY.unpack_from(head, at + number * size)
        if kind != UNUSED:
            found.append((number + 1, start, last + 1))
    return found


def _is_sound(found: Sequence[tuple[int, int, int]], disk_sectors: int) -> bool:
    """Tell whether partitions have a size, are on the disk, and do not overlap."""
    before = 1  # the table's own sector
    for _number, start, end in sorted(found, key=lambda one: one[1]):
        if not before <= start < end <= disk_sectors:
            return False
        before = end
    return bool(found)
