"""Start the appliance with its kernel unpacked.

A kernel unpacks itself when it boots, and an emulated processor takes more than two seconds for
that, of the eight that an appliance takes to come up. Unpacked once, kept in the cache and handed
to qemu as the ELF file it then is, the same kernel boots at once. What is lost is the randomisation
of its addresses (KASLR), which is the unpacker's work.

Source: Linux, Documentation/arch/x86/boot.rst (where the payload is); QEMU, hw/i386/x86.c, takes an
ELF kernel that has a PVH entry (Xen's note of type 18).
"""

import fcntl
import hashlib
import logging
import lzma
import os
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from atomic_baremetal import durable, paths

LOG = logging.getLogger(__name__)
LIMIT_BYTES = 256 << 20
HEADER, HEADER_AT = b"HdrS", 0x202
VERSION = 0x0208  # of the boot protocol: the first one that says where the payload is
SECTOR_BYTES = 512
NOTE_SEGMENT, PVH_ENTRY = 4, 18


def cached(packed: bytes) -> Path | None:
    """Return the file of an unpacked kernel, None for one that cannot be used."""
    place = paths.cache() / "appliance" / "kernel"
    path = place / hashlib.sha256(packed).hexdigest()
    if not path.exists():
        kernel = unpack(packed)
        if kernel is None:
            LOG.debug("the appliance's kernel cannot be unpacked here: it does that itself")
            return None
        place.mkdir(parents=True, exist_ok=True)
        lock = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():  # until now: another run may have been at it
                _keep(kernel, path)
        finally:
            os.close(lock)
    return path


def _keep(kernel: bytes, path: Path) -> None:
    for old in path.parent.glob("*"):
        old.unlink()  # of a kernel before this one; a machine that runs it has read it
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(kernel)
    durable.flush(Path(file.name))
    Path(file.name).rename(path)


def unpack(packed: bytes) -> bytes | None:
    """Return the ELF file in a bzImage, None when there is none that qemu can start."""
    try:
        version = int.from_bytes(packed[HEADER_AT + 4 : HEADER_AT + 6], "little")
        if packed[HEADER_AT : HEADER_AT + 4] != HEADER or version < VERSION:
            return None
        start = (packed[0x1F1] + 1) * SECTOR_BYTES
        offset, size = struct.unpack_from("<II", packed, 0x248)
        payload = packed[start + offset : start + offset + size]
        decompress = _decompressor(payload)
        kernel = decompress(payload) if decompress else b""
        return kernel if _has_pvh_entry(kernel) else None
    except (struct.error, IndexError, lzma.LZMAError, zlib.error):
        return None


def _decompressor(payload: bytes) -> Callable[[bytes], bytes] | None:
    if payload.startswith(b"\xfd7zXZ\0"):
        return lambda data: lzma.LZMADecompressor().decompress(data, LIMIT_BYTES)
    if payload.startswith(b"\x1f\x8b"):
        return lambda data: zlib.decompressobj(31).decompress(data, LIMIT_BYTES)
    return None


def _has_pvh_entry(kernel: bytes) -> bool:
    if kernel[:6] != b"\x7fELF\x02\x01":  # 64 bits, little endian
        return False
    table, entry_bytes, entries = (
        *struct.unpack_from("<Q", kernel, 32),
        *struct.unpack_from("<HH", kernel, 54),
    )
    for number in range(entries):
        at = table + number * entry_bytes
        kind, _flags, offset, _virtual, _physical, size = struct.unpack_from("<IIQQQQ", kernel, at)
        if kind == NOTE_SEGMENT and PVH_ENTRY in _xen_notes(kernel[offset : offset + size]):
            return True
    return False


def _xen_notes(notes: bytes) -> Iterator[int]:
    """List the types of Xen's notes."""
    at = 0
    while at + 12 <= len(notes):
        name_bytes, content_bytes, kind = struct.unpack_from("<III", notes, at)
        if notes[at + 12 : at + 12 + name_bytes] == b"Xen\0":
            yield kind
        at += 12 + -(-name_bytes // 4) * 4 + -(-content_bytes // 4) * 4
