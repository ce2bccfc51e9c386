"""Check a qcow2 header.

Source: QEMU, docs/interop/qcow2.txt, and the limits of block/qcow2.h.
"""

import struct
from dataclasses import dataclass

from imgprep.headers import ImageFile, RefusedError, require

V2_LENGTH = 72
V3_LENGTH = 104
COMPRESSION_TYPE_AT = 104
# incompatible features, by bit
DIRTY, CORRUPT, EXTERNAL_DATA, COMPRESSION_TYPE = 1 << 0, 1 << 1, 1 << 2, 1 << 3
COMPRESSION_TYPES = (0, 1)  # zlib, zstd
CLUSTER_BITS = range(9, 22)
REFCOUNT_ORDERS = range(7)
L1_LIMIT_BYTES = 32 << 20
REFCOUNT_TABLE_LIMIT_BYTES = 8 << 20
SNAPSHOTS_LIMIT = 65536
SNAPSHOT_LEAST_BYTES = 40
DATA_FILE_EXTENSION = 0x44415441


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    version: int
    backing_offset: int
    cluster_bits: int
    size_bytes: int
    crypt_method: int
    l1_entries: int
    l1_offset: int
    refcount_offset: int
    refcount_clusters: int
    snapshots: int
    snapshots_offset: int
    incompatible: int
    refcount_order: int
    length: int

    @property
    def cluster_bytes(self) -> int:
        return 1 << self.cluster_bits


def check(file: ImageFile) -> int:
    """Check the header and where its tables are.

    :returns: the virtual size in bytes.
    :raises RefusedError: another file is named, it is encrypted or marked as corrupt, or a value
        is out of the range that qemu knows.
    """
    header = _read(file)
    require(header.backing_offset == 0, "it has a backing file")
    require(
        header.crypt_method == 0,
        "it is encrypted",
        hint="decrypt it with qemu-img convert first",
    )
    features = header.incompatible
    require(not features & EXTERNAL_DATA, "it keeps its data in another file")
    require(not features & CORRUPT, "it is marked as corrupt", hint="qemu-img check -r all")
    known = DIRTY | COMPRESSION_TYPE
    require(not features & ~known, f"it has unknown features ({features & ~known:#x})")
    require(header.refcount_order in REFCOUNT_ORDERS, "its reference counts are of no known width")
    _check_compression(file, header)
    _check_extensions(file, header)
    _check_tables(file, header)
    return header.size_bytes


def _read(file: ImageFile) -> _Header:
    names = (
        *("version", "backing_offset", "_backing_size", "cluster_bits", "size_bytes"),
        *("crypt_method", "l1_entries", "l1_offset", "refcount_offset", "refcount_clusters"),
        *("snapshots", "snapshots_offset"),
    )
    data = file.read(0, V2_LENGTH, what="header")
    values = dict(zip(names, struct.unpack(">4xIQIIQIIQQIIQ", data), strict=True))
    del values["_backing_size"]
    require(values["version"] in (2, 3), f"qcow2 version {values['version']} is not read")
    require(values["cluster_bits"] in CLUSTER_BITS, "its cluster size is out of range")
    if values["version"] == 2:
        return _Header(**values, incompatible=0, refcount_order=4, length=V2_LENGTH)
    more = file.read(V2_LENGTH, V3_LENGTH - V2_LENGTH, what="header")
    incompatible, refcount_order, length = struct.unpack(">Q16xII", more)
    require(
        V3_LENGTH <= length <= 1 << values["cluster_bits"] and length % 8 == 0,
        f"its header claims a length of {length} bytes",
    )
    return _Header(
        **values, incompatible=incompatible, refcount_order=refcount_order, length=length
    )


def _check_compression(file: ImageFile, header: _Header) -> None:
    there = header.length > COMPRESSION_TYPE_AT
    kind = file.read(COMPRESSION_TYPE_AT, 1, what="header")[0] if there else 0
    require(kind in COMPRESSION_TYPES, f"its compression is of the unknown kind {kind}")
    require(
        bool(kind) == bool(header.incompatible & COMPRESSION_TYPE),
        "its compression is declared in two ways",
    )


def _check_extensions(file: ImageFile, header: _Header) -> None:
    """Walk the header extensions: they end before the first cluster does."""
    position = header.length
    while position + 8 <= header.cluster_bytes:
        data = file.read_at_most(position, 8)
        if len(data) < 8:
            raise RefusedError("its header extensions lie beyond the end of the file")
        kind, length = struct.unpack(">II", data)
        if kind == 0:
            return
        require(kind != DATA_FILE_EXTENSION, "it names another file for its data")
        require(
            position + 8 + length <= header.cluster_bytes, "a header extension of it is too long"
        )
        position += 8 + (length + 7) // 8 * 8


def _check_tables(file: ImageFile, header: _Header) -> None:
    cluster = header.cluster_bytes
    need = -(-header.size_bytes // (cluster * (cluster // 8)))  # an L2 table fills one cluster
    require(header.l1_entries >= need, "its L1 table is too small for its size")
    require(header.l1_entries * 8 <= L1_LIMIT_BYTES, "its L1 table is too large")
    counts = header.refcount_clusters * cluster
    require(0 < counts <= REFCOUNT_TABLE_LIMIT_BYTES, "its refcount table is of no possible size")
    require(header.snapshots <= SNAPSHOTS_LIMIT, "it has too many snapshots")
    for what, offset, length in (
        ("L1 table", header.l1_offset, header.l1_entries * 8),
        ("refcount table", header.refcount_offset, counts),
        ("snapshot table", header.snapshots_offset, header.snapshots * SNAPSHOT_LEAST_BYTES),
    ):
        if length:
            require(offset >= cluster, f"its {what} lies in its header")
            require(offset % cluster == 0, f"its {what} is not aligned")
            file.require(offset, length, what=what)
