"""Read off a disk's first bytes what has to be known of it before an appliance takes it."""

from dataclasses import dataclass
from pathlib import Path

from imgprep import partition_table, qemu_img, sectors
from imgprep.partition_table import Table
from imgprep.precheck import ImageFormat

QCOW2_SIZE_AT = 24  # 8 bytes, big endian; the overlay is of our own making


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """A disk for an appliance.

    :param overlay: a qcow2 file; it will be written to: mounting alone may replay a journal.
    """

    overlay: Path
    size_bytes: int
    sector_size_bytes: int
    table: Table | None

    @classmethod
    def of(cls, overlay: Path) -> "Drive":
        """Read off a disk's first bytes how large its sectors are and where its partitions."""
        with overlay.open("rb") as file:
            file.seek(QCOW2_SIZE_AT)
            size = int.from_bytes(file.read(8))
        head = _read(overlay, 0, min(partition_table.HEAD_BYTES, size))

        def read(offset_bytes: int, size_bytes: int) -> bytes:
            end = min(offset_bytes + size_bytes, size)
            if end <= max(offset_bytes, len(head)):
                return head[offset_bytes:end]
            return _read(overlay, offset_bytes, end - offset_bytes)

        sector = sectors.detect(read, disk_size_bytes=size)
        table = partition_table.parse(head, sector_size_bytes=sector, disk_size_bytes=size)
        return cls(overlay=overlay, size_bytes=size, sector_size_bytes=sector, table=table)


def _read(overlay: Path, offset_bytes: int, size_bytes: int) -> bytes:
    return qemu_img.read(
        overlay,
        format_=ImageFormat.QCOW2,
        offset_bytes=offset_bytes,
        size_bytes=size_bytes,
        scratch=overlay.with_name("sectors"),
    )
