"""Decide what an image file truly is before any program of qemu's opens it.

An image is hostile until inspected: a qcow2 header can name another file of this host as its
backing or data file, and a file can look like two formats at once. What the name or the user says
of the format counts for nothing.
"""

import hashlib
import re
import struct
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from oslo_utils.imageutils import format_inspector

from atomic_baremetal.errors import Error

QCOW2_CRYPT_METHOD_OFFSET = 32  # 4 bytes, big endian; docs/interop/qcow2.txt of QEMU
FORMATS_WE_READ = {
    "qcow2": "qcow2",
    "gpt": "raw",
}  # the inspector's word for a raw disk with a partition table


class ImageFormat(StrEnum):
    """A disk image format that is read and written here."""

    RAW = "raw"
    QCOW2 = "qcow2"


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
    if not path.exists():
        raise ImageError(f"{image}: no such file")
    if path.is_dir():
        raise ImageError(f"{image} is a directory", hint="name the image file in it")
    if not path.is_file():
        raise ImageError(f"{image} is not a regular file", hint="copy it into a file first")
    inspector = _detect(image)
    name = str(inspector)
    if name == "raw":  # what the inspector calls anything that it does not recognise
        raise ImageError(f"{image}: not a disk image", hint="neither qcow2 nor a partition table")
    if name not in FORMATS_WE_READ:
        raise ImageError(
            f"{image} is a {name} image", hint="qcow2 and raw are read; convert it with qemu-img"
        )
    _refuse_unsafe(image, inspector)
    format_ = ImageFormat(FORMATS_WE_READ[name])
    size = path.stat().st_size if format_ is ImageFormat.RAW else inspector.virtual_size
    return Source(path=path, format=format_, virtual_size_bytes=size)


def _detect(image: Path) -> format_inspector.FileInspector:
    try:
        inspector = format_inspector.detect_file_format(str(image.absolute()))
    except OSError as error:
        raise ImageError(f"{image} cannot be read: {error.strerror}") from error
    except format_inspector.ImageFormatError as error:
        raise ImageError(f"{image} looks like two formats at once: {error}") from error
    if inspector is None:
        raise ImageError(f"{image}: not a disk image", hint="the file is empty")
    return inspector


def _refuse_unsafe(image: Path, inspector: format_inspector.FileInspector) -> None:
    try:
        inspector.safety_check()
    except format_inspector.SafetyCheckFailed as error:
        reasons = "; ".join(sorted(str(reason) for reason in error.failures.values()))
        raise ImageError(f"{image} is not safe to open: {reasons}") from error
    except format_inspector.ImageFormatError as error:
        raise ImageError(f"{image} cannot be checked: {error}") from error
    if str(inspector) == "qcow2" and _crypt_method(image):
        raise ImageError(f"{image} is encrypted", hint="decrypt it with qemu-img convert first")


def _crypt_method(image: Path) -> int:
    with image.open("rb") as file:
        file.seek(QCOW2_CRYPT_METHOD_OFFSET)
        return int(struct.unpack(">I", file.read(4))[0])


def verify_checksum(image: Path, wanted: str) -> None:
    """Compare an image file with a published checksum.

    :param wanted: `ALGO:HEX`, as in `sha256:9f86...`.
    :raises ImageError: not of that form, an algorithm that is unknown here, or another content.
    """
    algorithm, _, value = wanted.partition(":")
    algorithm, value = algorithm.lower(), value.strip().lower()
    if algorithm not in ("sha256", "sha384", "sha512") or not re.fullmatch("[0-9a-f]+", value):
        raise ImageError(
            f"not a checksum: {wanted!r}", hint="ALGO:HEX, with sha256, sha384 or sha512"
        )
    with image.open("rb") as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
    if found != value:
        raise ImageError(
            f"{image} has another checksum: {algorithm}:{found}", hint=f"wanted {algorithm}:{value}"
        )
