"""Check a VMDK file: one sparse extent that holds its own descriptor, and nothing else.

Glossary: the *descriptor* is a text inside the file that says how the disk is made up; an *extent*
is a file with a part of the disk's data. qemu reads the descriptor by looking for words anywhere in
it, comments included, up to the first NUL byte and beyond the size that the header gives.

Source: VMware, Virtual Disk Format 5.0; QEMU, block/vmdk.c.
"""

import re
import struct
from dataclasses import dataclass

from imgprep.headers import ImageFile, RefusedError, is_power_of_two, require

SECTOR = 512
MAGIC = b"KDMV"
HEADER = struct.Struct("<4sIIQQQQIQQ")  # as far as the grain directory, without padding
DESCRIPTOR_AT = 512
DESCRIPTOR_LIMIT_BYTES = 1 << 20
GD_AT_END = 0xFFFF_FFFF_FFFF_FFFF
FOOTER_BYTES = 3 * SECTOR  # a marker, the header again, the end-of-stream marker
CREATE_TYPES = ("monolithicsparse", "streamoptimized")
EXTENT = re.compile(r'(?:rw|rdonly) \d{1,15} sparse "[^"/\\]*"')
GRAIN_SECTORS = range(8, 65536 + 1)
TABLE_ENTRIES = range(1, 513)
DIRECTORY_LIMIT_BYTES = 128 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    version: int
    capacity_sectors: int
    grain_sectors: int
    table_entries: int
    directory_sector: int


def check(file: ImageFile) -> int:
    """Check header, footer and descriptor.

    :returns: the virtual size in bytes.
    :raises RefusedError: another file is named, or a value is out of the range that qemu knows.
    """
    header = _header(file.read(0, SECTOR, what="header"), what="it has no header of its own")
    _check_descriptor(file)
    if header.directory_sector == GD_AT_END:
        require(file.size_bytes >= SECTOR + FOOTER_BYTES, "its footer is missing")
        footer = file.read(file.size_bytes - FOOTER_BYTES + SECTOR, SECTOR, what="footer")
        end = _header(footer, what="its footer is none")
        require(
            (end.version, end.capacity_sectors, end.grain_sectors, end.table_entries)
            == (header.version, header.capacity_sectors, header.grain_sectors, header.table_entries)
            and end.directory_sector != GD_AT_END,
            "its footer says something else than its header",
        )
        header = end
    covered = header.table_entries * header.grain_sectors
    length = -(-header.capacity_sectors // covered) * 4
    require(length <= DIRECTORY_LIMIT_BYTES, "its grain directory is too large")
    file.require(header.directory_sector * SECTOR, length, what="grain directory")
    return header.capacity_sectors * SECTOR


def _header(data: bytes, *, what: str) -> _Header:
    magic, version, _, capacity, grain, _, _, entries, _, directory = HEADER.unpack_from(data)
    require(magic == MAGIC, what)
    require(version in (1, 2, 3), f"VMDK version {version} is not read")
    # qemu takes a capacity of 0 for a sign that the descriptor names other files
    require(capacity > 0, "it has no data of its own")
    require(grain in GRAIN_SECTORS and is_power_of_two(grain), "its grain size is out of range")
    require(entries in TABLE_ENTRIES, "its grain tables are out of range")
    return _Header(
        version=version,
        capacity_sectors=capacity,
        grain_sectors=grain,
        table_entries=entries,
        directory_sector=directory,
    )


def _check_descriptor(file: ImageFile) -> None:
    data = file.read_at_most(DESCRIPTOR_AT, DESCRIPTOR_LIMIT_BYTES).partition(b"\0")[0]
    try:
        text = data.decode("ascii").lower()
    except UnicodeDecodeError as error:
        raise RefusedError("its descriptor is not text") from error
    require("parentfilenamehint" not in text, "it has a parent file")
    parents = re.findall(r"parentcid\s*=\s*(\S*)", text)
    require(all(parent == "ffffffff" for parent in parents), "it has a parent")
    kinds = re.findall(r'createtype\s*=\s*"([^"]*)"', text)
    require(
        len(kinds) == 1 == text.count("createtype"), "its descriptor names its type not just once"
    )
    require(kinds[0] in CREATE_TYPES, f"it is a VMDK of the type {kinds[0][:40]!r}")
    lines = [" ".join(line.split()) for line in text.splitlines()]
    extents = [line for line in lines if line.startswith(("rw ", "rdonly ", "noaccess "))]
    require(
        len(extents) == 1 and EXTENT.fullmatch(extents[0]) is not None,
        "its descriptor names other extents than itself",
    )
