"""Copy the partition that becomes the base, beside the session of the appliance, and then bring the
copy up to what the session changed.

The session takes ten seconds under emulation and hardly any of the disk; the copy is the other way
round. What the session wrote, a few clusters, lies in the overlay.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from imgprep import progress, qemu_img
from imgprep.partition_table import Extent, Table
from imgprep.precheck import ImageFormat, Source
from imgprep.qemu_img import Conversion, Piece

PIECE_BYTES = 16 << 20
# beyond these it is no edit and no journal, and the whole is copied again
PIECES_LIMIT = 1000
CHANGED_LIMIT_BYTES = 512 << 20


def likely(table: Table | None) -> Extent | None:
    """Guess which partition is the base before anybody has looked: the largest one."""
    return max(table.extents, key=lambda one: one.size_bytes) if table else None


class Copy:
    """A copy of a partition. Get one from :func:`started`."""

    def __init__(
        self, source: Source, extent: Extent, target: Path, conversion: Conversion
    ) -> None:
        self.extent = extent
        self._source = source
        self._target = target
        self._conversion = conversion

    def finish(self) -> None:
        """Wait until it is done.

        :raises NoSpaceError: the target's file system is full.
        """
        if self._conversion.is_running:
            total = _measured(self._source, self.extent)
            doing = "copying the root partition"
            with progress.growing(doing, self._target, total_bytes=total):
                self._conversion.finish()
        else:
            self._conversion.finish()


@contextlib.contextmanager
def started(
    source: Source, extent: Extent, target: Path, *, format_: ImageFormat
) -> Iterator[Copy]:
    """Start to copy a partition as it is in the source; leaving the context ends it.

    :raises NoSpaceError: there is less room than it needs.
    """
    if free(target) < extent.size_bytes:  # else it fits in any case
        require_space(target, _measured(source, extent))
    with qemu_img.converting(_named(source, extent), target, format_=format_) as conversion:
        yield Copy(source, extent, target, conversion)


def _named(source: Source, extent: Extent) -> str:
    return qemu_img.extent(
        source.path,
        format_=source.format,
        offset_bytes=extent.start_bytes,
        size_bytes=extent.size_bytes,
    )


def _measured(source: Source, extent: Extent) -> int:
    return qemu_img.measure(_named(source, extent))


def update(target: Path, overlay: Path, extent: Extent, *, format_: ImageFormat) -> None:
    """Write over a copy of a partition what an overlay changed in it.

    :param target: the finished copy, of that format.
    :raises NoSpaceError: the target's file system is full.
    """
    pieces = within(qemu_img.changes(overlay), extent)
    changed = sum(piece.size_bytes for piece in pieces)
    require_space(target, 2 * changed)
    if len(pieces) > PIECES_LIMIT or changed > CHANGED_LIMIT_BYTES:
        _copy_again(target, overlay, extent, format_)
        return
    with ExitStack() as undo:
        extract = partial(_extracted, overlay, undo)
        qemu_img.write(
            target,
            [
                (piece.start_bytes, piece.size_bytes, extract(number, piece))
                for number, piece in enumerate(pieces)
            ],
            format_=format_,
        )


def within(pieces: Sequence[Piece], extent: Extent) -> list[Piece]:
    """Cut pieces to what lies in a partition, counted from its start, none of them large."""
    cut = []
    for piece in pieces:
        start = max(piece.start_bytes, extent.start_bytes)
        end = min(piece.start_bytes + piece.size_bytes, extent.start_bytes + extent.size_bytes)
        for at in range(start, end, PIECE_BYTES):
            offset = piece.file_offset_bytes
            cut.append(
                Piece(
                    start_bytes=at - extent.start_bytes,
                    size_bytes=min(PIECE_BYTES, end - at),
                    file_offset_bytes=None if offset is None else offset + at - piece.start_bytes,
                )
            )
    return cut


def _extracted(overlay: Path, undo: ExitStack, number: int, piece: Piece) -> Path | None:
    """Put a piece's content into a file of its own, beside the overlay; None for zeros."""
    if piece.file_offset_bytes is None:
        return None
    path = overlay.with_name(f"piece-{number}")
    undo.callback(path.unlink)
    with overlay.open("rb") as file:
        content = os.pread(file.fileno(), piece.size_bytes, piece.file_offset_bytes)
    path.write_bytes(content.ljust(piece.size_bytes, b"\0"))  # a file need not hold its last zeros
    return path


def _copy_again(target: Path, overlay: Path, extent: Extent, format_: ImageFormat) -> None:
    wanted = qemu_img.extent(
        overlay,
        format_=ImageFormat.QCOW2,
        offset_bytes=extent.start_bytes,
        size_bytes=extent.size_bytes,
    )
    target.unlink()
    require_space(target, qemu_img.measure(wanted))
    qemu_img.convert(wanted, target, format_=format_)


def free(path: Path) -> int:
    """Return how many bytes are free where a file is or will be."""
    status = os.statvfs(path.parent)
    return status.f_bavail * status.f_frsize


def require_space(path: Path, needed_bytes: int) -> None:
    """Refuse to begin what cannot be finished.

    :raises NoSpaceError: less is free where the file is or will be.
    """
    there = free(path)
    if there < needed_bytes:
        raise qemu_img.NoSpaceError(
            f"{progress.size(needed_bytes)} are needed and {progress.size(there)} are free"
        )
