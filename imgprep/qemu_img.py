"""Call qemu-img, with formats and ranges spelled out, and limits on its memory and time.

Paths go to it as absolute file names or inside qemu's `json:` pseudo-protocol, so that no comma,
colon or blank in them is read as syntax.
"""

import json
import shutil
from pathlib import Path

from atomic_baremetal import command
from atomic_baremetal.errors import CommandError, Error
from imgprep.precheck import ImageFormat

MEMORY_BYTES = 4 << 30  # address space; convert takes some hundred MB
QUICK_S = 60
COPY_S = 6 * 3600
SECTOR_BYTES = 512  # what qemu-img counts in
NO_SPACE = "No space left on device"


class NoSpaceError(Error):
    """The file system that the output goes to is full."""


def run(*arguments: str | Path, timeout_s: float) -> str:
    """Run qemu-img with limited memory and return what it printed.

    :raises NoSpaceError: a write found the disk full.
    :raises CommandError: it is missing, failed or took too long.
    """
    if shutil.which("qemu-img") is None:
        raise CommandError("qemu-img: no such program", hint="install qemu-utils")
    try:
        return command.run(
            *("prlimit", f"--as={MEMORY_BYTES}", "qemu-img", *arguments),
            timeout_s=timeout_s,
            with_us=True,
        ).stdout
    except CommandError as error:
        message = error.message.replace("prlimit", "qemu-img", 1)
        if NO_SPACE in message:
            raise NoSpaceError("the disk is full", hint="free some space and try again") from error
        raise CommandError(message, hint=error.hint) from error


def create_overlay(overlay: Path, *, of: Path, of_format: ImageFormat) -> None:
    """Create a qcow2 file that takes the writes for an image, which is only read."""
    run(
        *("create", "-q", "-f", "qcow2", "-b", of, "-F", of_format, overlay),
        timeout_s=QUICK_S,
    )


def extent(image: Path, *, format_: ImageFormat, offset_bytes: int, size_bytes: int) -> str:
    """Name a byte range of an image's guest-visible content as a file name that qemu-img reads."""
    file = {"driver": format_.value, "file": {"driver": "file", "filename": str(image)}}
    node = {"driver": "raw", "offset": offset_bytes, "size": size_bytes, "file": file}
    return "json:" + json.dumps(node)


def read(
    image: Path, *, format_: ImageFormat, offset_bytes: int, size_bytes: int, scratch: Path
) -> bytes:
    """Return a few of an image's guest-visible bytes.

    :param offset_bytes: with the size not beyond the image's end.
    :param scratch: a file for them, which goes again.
    """
    start = offset_bytes // SECTOR_BYTES * SECTOR_BYTES
    end = -(-(offset_bytes + size_bytes) // SECTOR_BYTES) * SECTOR_BYTES
    wanted = extent(image, format_=format_, offset_bytes=start, size_bytes=end - start)
    try:
        convert(wanted, scratch, format_=ImageFormat.RAW)
        return scratch.read_bytes()[offset_bytes - start :][:size_bytes]
    finally:
        scratch.unlink(missing_ok=True)


def measure(source: str) -> int:
    """Return how many bytes a qcow2 copy of `source` takes at most, holes not counted.

    :param source: as :func:`extent` returns it.
    """
    told = run("measure", "--output=json", "-O", "qcow2", source, timeout_s=QUICK_S)
    return int(json.loads(told)["required"])


def convert(source: str, target: Path, *, format_: ImageFormat) -> None:
    """Copy what is allocated of `source` into a new file, in one pass, holes staying holes.

    :param source: as :func:`extent` returns it.
    :raises NoSpaceError: the target's file system is full.
    """
    run("convert", "-O", format_, source, target, timeout_s=COPY_S)
