"""Check a dynamic VHD file, which qemu calls vpc.

Glossary: the *footer* says what the disk is; a dynamic VHD has it at its end and a copy of it at
its start. A *differencing* VHD holds what differs from another one, its parent. A *fixed* VHD is a
raw image with a footer behind it, and is read as raw.

Source: Microsoft, Virtual Hard Disk Image Format Specification 1.0; QEMU, block/vpc.c.
"""

import struct

from imgprep.headers import ImageFile, is_power_of_two, require

SECTOR = 512
FOOTER_BYTES = 512
HEADER_BYTES = 1024
COOKIE = b"conectix"
FIXED, DYNAMIC, DIFFERENCING = 2, 3, 4
BLOCK_BYTES = range(SECTOR, (256 << 20) + 1)
# qemu believes the size that these give; of all others it multiplies the geometry
SIZE_IS_TRUE = (b"win ", b"d2v ", b"qem2", b"tap\0", b"CTXS", b"wa\0\0")
LARGEST_GEOMETRY = 65535 * 16 * 255


def check(file: ImageFile) -> int:
    """Check the footer's copy and the header of the dynamic disk.

    :returns: the virtual size in bytes.
    :raises RefusedError: a differencing disk, or a value out of the range that qemu knows.
    """
    footer = file.read(0, FOOTER_BYTES, what="footer")
    kind = struct.unpack_from(">I", footer, 60)[0]
    require(kind != DIFFERENCING, "it has a parent: a differencing VHD")
    require(kind == DYNAMIC, f"it is a VHD of the unknown type {kind}")
    _require_checksum(footer, at=64, what="footer")
    size = _size_bytes(footer)
    header_at = struct.unpack_from(">Q", footer, 16)[0]
    header = file.read(header_at, HEADER_BYTES, what="header")
    require(header.startswith(b"cxsparse"), "its header is missing")
    _require_checksum(header, at=36, what="header")
    table_at, _version, entries, block = struct.unpack_from(">QIII", header, 16)
    require(block in BLOCK_BYTES and is_power_of_two(block), "its block size is out of range")
    require(entries * block >= size, "its block table is too small for its size")
    file.require(table_at, entries * 4, what="block table")
    # parent's unique id, name, and locators
    require(not any(header[40:56]) and not any(header[64:768]), "it names a parent")
    return size


def is_fixed(footer: bytes) -> bool:
    """Tell whether the last 512 bytes of a file are the footer of a fixed VHD."""
    return footer.startswith(COOKIE) and footer[60:64] == FIXED.to_bytes(4, "big")


def _size_bytes(footer: bytes) -> int:
    size, cylinders, heads, sectors = struct.unpack_from(">QHBB", footer, 48)
    geometry = cylinders * heads * sectors
    if footer[28:32] not in SIZE_IS_TRUE and geometry != LARGEST_GEOMETRY:
        require(
            geometry * SECTOR == size,
            "its geometry and its size differ",
            hint="qemu would cut its end off: convert it to raw with the tool that made it",
        )
    return int(size)


def _require_checksum(data: bytes, *, at: int, what: str) -> None:
    stored = int.from_bytes(data[at : at + 4], "big")
    right = ~(sum(data) - sum(data[at : at + 4])) & 0xFFFF_FFFF
    require(stored == right, f"the checksum of its {what} is wrong")
