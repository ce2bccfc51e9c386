"""Check the header of a VDI file, VirtualBox's own format.

Source: VirtualBox, Storage/VDICore.h, as QEMU's block/vdi.c reads it.
"""

import struct

from imgprep.headers import ImageFile, require

SECTOR = 512
HEADER_BYTES = 512
VERSION = 0x0001_0001
DYNAMIC, STATIC = 1, 2
BLOCK_BYTES = 1 << 20
UUID_LINK, UUID_PARENT = slice(0x1A8, 0x1B8), slice(0x1B8, 0x1C8)


def check(file: ImageFile) -> int:
    """Check the header and where the block map is.

    :returns: the virtual size in bytes.
    :raises RefusedError: a differencing disk, or a value out of the range that qemu knows.
    """
    header = file.read(0, HEADER_BYTES, what="header")
    version, _header_size, kind = struct.unpack_from("<III", header, 0x44)
    require(version == VERSION, f"VDI version {version:#x} is not read")
    require(
        kind in (DYNAMIC, STATIC) and not any(header[UUID_LINK]) and not any(header[UUID_PARENT]),
        "it has a parent, or is of an unknown type",
    )
    map_at, data_at = struct.unpack_from("<II", header, 0x154)
    sector, _, size, block, extra, blocks = struct.unpack_from("<IIQIII", header, 0x168)
    require(sector == SECTOR, f"it has sectors of {sector} bytes")
    require(block == BLOCK_BYTES and extra == 0, "its block size is out of range")
    require(blocks * block >= size, "its block map is too small for its size")
    require(
        map_at % SECTOR == data_at % SECTOR == 0 and HEADER_BYTES <= map_at <= data_at,
        "its block map is out of place",
    )
    file.require(map_at, blocks * 4, what="block map")
    require(map_at + blocks * 4 <= data_at, "its block map is out of place")
    return int(size)
