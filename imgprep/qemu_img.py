"""Call qemu-img, with formats and ranges spelled out, and limits on its memory and time.

Paths go to it as absolute file names or inside qemu's `json:` pseudo-protocol, so that no comma,
colon or blank in them is read as syntax.
"""

import json
import math
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from atomic_baremetal import command
from atomic_baremetal.command import Started
from atomic_baremetal.errors import CommandError, Error
from imgprep.precheck import ImageFormat

PROGRAM = "qemu-img"
MEMORY_BYTES = 4 << 30  # address space; convert takes some hundred MB
QUICK_S = 60
COPY_S = 6 * 3600
SECTOR_BYTES = 512  # what qemu-img counts in
NO_SPACE = "No space left on device"


class NoSpaceError(Error):
    """The file system that the output goes to is full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A range of an overlay that hides what lies below it.

    :param start_bytes: as a guest counts.
    :param file_offset_bytes: where in the overlay's file it is, None for zeros.
    """

    start_bytes: int
    size_bytes: int
    file_offset_bytes: int | None


def run(
    *arguments: str | Path, timeout_s: float, program: str = PROGRAM, cwd: Path | None = None
) -> str:
    """Run qemu-img with limited memory and return what it printed.

    :param program: another one of the same package.
    :raises NoSpaceError: a write found the disk full.
    :raises CommandError: it is missing, failed or took too long.
    """
    words = _limited(program, *arguments, timeout_s=timeout_s)
    with _translated(program):
        return command.run(*words, timeout_s=timeout_s, cwd=cwd, with_us=True).stdout


def _limited(program: str, *arguments: str | Path, timeout_s: float) -> tuple[str | Path, ...]:
    """Have a program run with limits of the kernel's; it leaves no memory of the image's on disk.

    :param timeout_s: as many seconds of processor it may use.
    """
    if shutil.which(program) is None:
        raise CommandError(f"{program}: no such program", hint="install qemu-utils")
    limits = (f"--as={MEMORY_BYTES}", f"--cpu={math.ceil(timeout_s)}", "--core=0")
    return ("prlimit", *limits, program, *arguments)


@contextmanager
def _translated(program: str) -> Iterator[None]:
    try:
        yield
    except CommandError as error:
        message = error.message.replace("prlimit", program, 1)
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
        run("convert", "-O", ImageFormat.RAW, wanted, scratch, timeout_s=QUICK_S)
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


class Conversion:
    """A conversion that runs beside us. Get one from :func:`converting`."""

    def __init__(self, program: Started) -> None:
        self._program = program

    @property
    def is_running(self) -> bool:
        """Tell whether it has not ended yet."""
        return self._program.is_running

    def finish(self) -> None:
        """Wait for its end, and raise as :func:`convert` does."""
        with _translated(PROGRAM):
            self._program.finish(COPY_S)


@contextmanager
def converting(source: str, target: Path, *, format_: ImageFormat) -> Iterator[Conversion]:
    """Do as :func:`convert` while something else is done; leaving the context ends it."""
    words = _limited(PROGRAM, "convert", "-O", format_, source, target, timeout_s=COPY_S)
    with command.started(*words) as program:
        yield Conversion(program)


def changes(overlay: Path) -> list[Piece]:
    """List what an overlay itself holds, by its place."""
    told = run("map", "--output=json", "-f", "qcow2", overlay, timeout_s=QUICK_S)
    return [
        Piece(
            start_bytes=one["start"],
            size_bytes=one["length"],
            file_offset_bytes=None if one["zero"] else one["offset"],
        )
        for one in json.loads(told)
        if one["depth"] == 0
    ]


def write(
    target: Path, pieces: Iterable[tuple[int, int, Path | None]], *, format_: ImageFormat
) -> None:
    """Write pieces over what an image holds, as a guest would.

    :param pieces: place and size in bytes, and the file with the content, None for zeros. The files
        lie in one directory and their names are plain words.
    :raises NoSpaceError: the target's file system is full.
    """
    commands: list[str | Path] = []
    directory = None
    for start, size, content in pieces:
        if content is not None:
            directory = content.parent
        what = "-z -u" if content is None else f"-s {content.name}"
        commands += ["-c", f"write -q {what} {start} {size}"]
    if commands:
        run(
            *("-t", "unsafe", "-f", format_, *commands, target),  # it is flushed with the bundle
            timeout_s=COPY_S,
            program="qemu-io",
            cwd=directory,
        )
