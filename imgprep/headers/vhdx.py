"""Check a VHDX file.

Glossary: the *region table* says where the *metadata* is, a table of items that say what the disk
is like, and where the block allocation table (BAT) is. The *log* holds writes that a crash left
unfinished; who opens the file has to replay it.

Source: Microsoft, MS-VHDX 7.0; QEMU, block/vhdx.c.
"""

import struct
from functools import cache
from uuid import UUID

from imgprep.headers import ImageFile, RefusedError, is_power_of_two, require

KIB, MIB = 1 << 10, 1 << 20
HEADERS_AT = (64 * KIB, 128 * KIB)
HEADER_BYTES = 4 * KIB
REGIONS_AT = 192 * KIB
REGIONS_BYTES = 64 * KIB
METADATA_TABLE_BYTES = 64 * KIB
TABLE_LIMIT = 2047
BAT = UUID("2dc27766-f623-4200-9d64-115e9bfd4a08")
METADATA = UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e")
FILE_PARAMETERS = UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b")
VIRTUAL_DISK_SIZE = UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8")
PAGE_83 = UUID("beca12ab-b2e6-4523-93ef-c309e000c746")
LOGICAL_SECTOR_SIZE = UUID("8141bf1d-a96f-4709-ba47-f233a8faab5f")
PHYSICAL_SECTOR_SIZE = UUID("cda348c7-445d-4471-9cc9-e9885251c556")
PARENT_LOCATOR = UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c")
KNOWN_ITEMS = {
    *(FILE_PARAMETERS, VIRTUAL_DISK_SIZE, PAGE_83, LOGICAL_SECTOR_SIZE, PHYSICAL_SECTOR_SIZE),
}
HAS_PARENT = 1 << 1
CRC32C = 0x82F63B78  # Castagnoli's polynomial, reflected


def check(file: ImageFile) -> int:
    """Check headers, region table and metadata.

    :returns: the virtual size in bytes.
    :raises RefusedError: a parent, a log to replay, or a value out of the range that qemu knows.
    """
    _check_log(file)
    regions = _regions(file)
    for known, what in ((METADATA, "metadata"), (BAT, "block table")):
        require(known in regions, f"it has no {what}")
        file.require(*regions[known], what=what)
    items = _items(file, *regions[METADATA])
    require(PARENT_LOCATOR not in items, "it has a parent: a differencing VHDX")
    require(not set(items) - KNOWN_ITEMS, "it has metadata of an unknown kind")
    require(set(items) == KNOWN_ITEMS, "its metadata are not complete")
    block, flags = struct.unpack("<II", _value(file, items[FILE_PARAMETERS], 8))
    require(not flags & HAS_PARENT, "it has a parent: a differencing VHDX")
    require(is_power_of_two(block) and MIB <= block <= 256 * MIB, "its block size is out of range")
    sector = struct.unpack("<I", _value(file, items[LOGICAL_SECTOR_SIZE], 4))[0]
    require(sector == 512, f"it has logical sectors of {sector} bytes")
    size = int(struct.unpack("<Q", _value(file, items[VIRTUAL_DISK_SIZE], 8))[0])
    require(-(-size // block) * 8 <= regions[BAT][1], "its block table is too small for its size")
    return size


def _check_log(file: ImageFile) -> None:
    """Find the current header, the one with the higher number of those that are whole."""
    best, log = -1, b""
    for offset in HEADERS_AT:
        data = file.read(offset, HEADER_BYTES, what="header")
        number = int.from_bytes(data[8:16], "little")
        if data.startswith(b"head") and _is_whole(data) and number > best:
            best, log = number, data[48:64]
    require(best >= 0, "it has no valid header")
    require(
        not any(log),
        "it was not closed cleanly and has a log to replay",
        hint="attach it once where it was made",
    )


def _regions(file: ImageFile) -> dict[UUID, tuple[int, int]]:
    """Read where each region is: offset and length in bytes."""
    data = file.read(REGIONS_AT, REGIONS_BYTES, what="region table")
    require(data.startswith(b"regi") and _is_whole(data), "its region table is damaged")
    count = int.from_bytes(data[8:12], "little")
    require(count <= TABLE_LIMIT, "its region table is too long")
    found = {}
    for number in range(count):
        entry = data[16 + 32 * number :][:32]
        name = UUID(bytes_le=entry[:16])
        offset, length, required = struct.unpack("<QII", entry[16:])
        known = name in (BAT, METADATA)
        require(known or not required & 1, "it has a required region of an unknown kind")
        require(name not in found, "it has a region twice")
        require(not known or offset >= MIB, "a region of it lies in its header")
        found[name] = (offset, length)
    return found


def _items(file: ImageFile, offset: int, length: int) -> dict[UUID, tuple[int, int]]:
    """Read where each item of the metadata is: offset in the file and length in bytes."""
    require(length >= METADATA_TABLE_BYTES, "its metadata are too short")
    data = file.read(offset, METADATA_TABLE_BYTES, what="metadata")
    require(data.startswith(b"metadata"), "its metadata are damaged")
    count = int.from_bytes(data[10:12], "little")
    require(count <= TABLE_LIMIT, "its metadata are too long")
    found = {}
    for number in range(count):
        entry = data[32 + 32 * number :][:32]
        name = UUID(bytes_le=entry[:16])
        at, size = struct.unpack("<II", entry[16:24])
        require(name not in found, "it has an item of its metadata twice")
        require(at + size <= length, "an item of its metadata lies beyond them")
        found[name] = (offset + at, size)
    return found


def _value(file: ImageFile, place: tuple[int, int], length: int) -> bytes:
    if place[1] != length:
        raise RefusedError("an item of its metadata has a wrong length")
    return file.read(*place, what="metadata")


def _is_whole(data: bytes) -> bool:
    """Compare the checksum at byte 4, which counts itself as zero."""
    zeroed = data[:4] + bytes(4) + data[8:]
    return crc32c(zeroed) == int.from_bytes(data[4:8], "little")


def crc32c(data: bytes) -> int:
    """Return the CRC-32C (Castagnoli) of some bytes.

    Source: RFC 3720, appendix B.4.
    """
    table = _crc32c_table()
    crc = 0xFFFF_FFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFF_FFFF


@cache
def _crc32c_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (CRC32C if crc & 1 else 0)
        table.append(crc)
    return tuple(table)
