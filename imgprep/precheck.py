"""Decide what an image file truly is before any program of qemu's opens it.

An image is hostile until inspected: a header can name another file of this host as its backing,
parent or data file, and a file can look like two formats at once. What the name or the user says of
the format counts for nothing. oslo.utils' inspector says which format it is and refuses what it
knows of; `imgprep.headers` checks the rest. A few megabytes are read at most, and nothing is run.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from oslo_utils.imageutils import format_inspector
from oslo_utils.imageutils.format_inspector import FileInspector

from atomic_baremetal.errors import Error
from imgprep.headers import ImageFile, RefusedError, probe, qcow2, vdi, vhdx, vmdk, vpc

# The inspector reads to a file's end where a format may have something there, and a sparse file's
# end can be exabytes away. All that it decides by is in front, but for a VMDK's footer.
HEAD_BYTES = 4 << 20
CHUNK_BYTES = 32 << 10
VIRTUAL_SIZE_LIMIT_BYTES = 8 << 40
SECTOR = 512
TRAILER_BYTES = 512
APPLE_TRAILER = b"koly"
COMPRESSED = {
    b"\xfd7zXZ\0": "xz",
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"PK\x03\x04": "zip",
    b"7z\xbc\xaf\x27\x1c": "7z",
}


class ImageFormat(StrEnum):
    """A disk image format that is read here, by the name of qemu's driver for it."""

    RAW = "raw"
    QCOW2 = "qcow2"
    VMDK = "vmdk"
    VPC = "vpc"
    VHDX = "vhdx"
    VDI = "vdi"


BASE_FORMATS = (ImageFormat.RAW, ImageFormat.QCOW2)  # those that are written, too
# the inspector's word, ours, and the check of what the inspector does not look at
FORMATS_WE_READ: dict[str, tuple[ImageFormat, Callable[[ImageFile], int]]] = {
    "gpt": (ImageFormat.RAW, lambda file: file.size_bytes),  # a partition table, MBR or GPT
    "qcow2": (ImageFormat.QCOW2, qcow2.check),
    "vmdk": (ImageFormat.VMDK, vmdk.check),
    "vhd": (ImageFormat.VPC, vpc.check),
    "vhdx": (ImageFormat.VHDX, vhdx.check),
    "vdi": (ImageFormat.VDI, vdi.check),
}
READ = "raw, qcow2, VHD, VHDX, VDI and VMDK in one file are read"


class ImageError(Error):
    """An image that cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An image file whose format has been established by looking at it."""

    path: Path
    format: ImageFormat
    virtual_size_bytes: int


def check(image: Path) -> Source:
    """Establish the format of an image file and refuse what is not safe to open.

    :returns: with an absolute path, so that nothing in it can be read as a protocol of qemu's.
    :raises ImageError: not there, not a file, not a disk image, of a format not read here, or
        unsafe.
    """
    path = image.absolute()
    try:
        if not path.exists():
            raise ImageError(f"{image}: no such file")
        if path.is_dir():
            raise ImageError(f"{image} is a directory", hint="name the image file in it")
        if not path.is_file():
            raise ImageError(f"{image} is not a regular file", hint="copy it into a file first")
        with path.open("rb") as file:
            format_, size = _established(image, file, path.stat().st_size)
    except OSError as error:
        raise ImageError(f"{image} cannot be read: {error.strerror}") from error
    except ValueError as error:  # a NUL byte in the name
        raise ImageError(f"{image}: no such file") from error
    return Source(path=path, format=format_, virtual_size_bytes=size)


def _established(image: Path, file: BinaryIO, size_bytes: int) -> tuple[ImageFormat, int]:
    """Return the format and the virtual size in bytes."""
    if size_bytes == 0:
        raise ImageError(f"{image}: not a disk image", hint="the file is empty")
    inspector = _inspected(image, file)
    name = str(inspector)
    _refuse_unknown(image, file, name)
    _refuse_unsafe(image, _with_footer(inspector, file, size_bytes))
    format_, check_header = FORMATS_WE_READ[name]
    opened = ImageFile(file, size_bytes=size_bytes)
    try:
        size = check_header(opened)
        _refuse_second_format(opened, format_)
    except RefusedError as error:
        raise ImageError(f"{image} is not safe to open: {error.reason}", hint=error.hint) from error
    _refuse_absurd_size(image, size)
    return format_, size


def _inspected(image: Path, file: BinaryIO) -> FileInspector:
    """Ask the inspector, which is shown the head of the file."""
    wrapper = format_inspector.InspectWrapper(BytesIO(file.read(HEAD_BYTES)))
    try:
        while wrapper.read(CHUNK_BYTES) and wrapper.formats is None:
            pass
        wrapper.close()
        found = sorted(wrapper.formats or (), key=str)
    except Exception as error:  # the inspector trips over some texts; whatever it is, it says no
        raise ImageError(f"{image}: not a disk image", hint="its header cannot be read") from error
    if len(found) > 1:
        names = ", ".join(_known_as(str(one)) for one in found)
        raise ImageError(f"{image} looks like two formats at once: {names}")
    return found[0]


def _known_as(name: str) -> str:
    return "raw with a partition table" if name == "gpt" else name


def _refuse_unknown(image: Path, file: BinaryIO, name: str) -> None:
    if name in FORMATS_WE_READ:
        return
    if name != "raw":
        raise ImageError(f"{image} is of the format {name}", hint=READ)
    file.seek(0)  # "raw" is what the inspector calls anything that it does not recognise
    head = file.read(SECTOR)
    if found := probe.formats(head):
        raise ImageError(f"{image} is of the format {' and '.join(found)}", hint=READ)
    for magic, packer in COMPRESSED.items():
        if head.startswith(magic):
            raise ImageError(f"{image} is compressed with {packer}", hint="unpack it first")
    raise ImageError(
        f"{image}: not a disk image",
        hint="it has no partition table and no header of a known format",
    )


def _with_footer(inspector: FileInspector, file: BinaryIO, size_bytes: int) -> FileInspector:
    """Show a VMDK's inspector the end of the file too, where its footer may be."""
    if str(inspector) != "vmdk" or size_bytes <= HEAD_BYTES:
        return inspector
    again = format_inspector.VMDKInspector()
    with suppress(Exception):  # what trips it here leaves it incomplete, and that is refused
        file.seek(0)
        again.eat_chunk(file.read(HEAD_BYTES))
        file.seek(-vmdk.FOOTER_BYTES, 2)
        again.eat_chunk(file.read(vmdk.FOOTER_BYTES))
    again.finish()
    return again


def _refuse_unsafe(image: Path, inspector: FileInspector) -> None:
    try:
        inspector.safety_check()
    except format_inspector.SafetyCheckFailed as error:
        reasons = "; ".join(sorted(str(reason) for reason in error.failures.values()))
        raise ImageError(f"{image} is not safe to open: {reasons}") from error
    except format_inspector.ImageFormatError as error:
        raise ImageError(f"{image} is not safe to open: its header is not complete") from error


def _refuse_second_format(file: ImageFile, format_: ImageFormat) -> None:
    """Refuse what another program would take for another format, at its start or its end.

    A fixed VHD is a raw image with a footer behind it: that is no second format.
    """
    head = file.read_at_most(0, probe.PROBED_BYTES)
    others = [name for name in probe.formats(head) if name != format_]
    tail = file.read_at_most(max(0, file.size_bytes - TRAILER_BYTES), TRAILER_BYTES)
    if tail.startswith(vpc.COOKIE) and format_ is not ImageFormat.VPC:
        others += [] if format_ is ImageFormat.RAW and vpc.is_fixed(tail) else ["vpc"]
    if tail.startswith(APPLE_TRAILER):
        others.append("dmg")
    if others:
        raise RefusedError(f"it is {format_} and looks like {', '.join(others)}, too")


def _refuse_absurd_size(image: Path, size: int) -> None:
    if size == 0 or size > VIRTUAL_SIZE_LIMIT_BYTES:
        raise ImageError(
            f"{image} claims to be a disk of {size} bytes", hint="at most 8 TiB are believed"
        )
