import pytest

from imgprep import base
from imgprep.partition_table import Extent
from imgprep.qemu_img import Piece

MIB = 1 << 20
EXTENT = Extent(number=2, start_bytes=10 * MIB, size_bytes=40 * MIB)


def piece(start: int, size: int, offset: int | None) -> Piece:
    return Piece(start_bytes=start, size_bytes=size, file_offset_bytes=offset)


@pytest.mark.parametrize(
    ("pieces", "cut"),
    [
        ([], []),
        ([piece(0, 10 * MIB, 0), piece(50 * MIB, MIB, 0)], []),
        ([piece(10 * MIB, MIB, 512)], [piece(0, MIB, 512)]),
        ([piece(9 * MIB, 2 * MIB, 512)], [piece(0, MIB, MIB + 512)]),
        ([piece(9 * MIB, 2 * MIB, None)], [piece(0, MIB, None)]),
        ([piece(49 * MIB, 9 * MIB, 0)], [piece(39 * MIB, MIB, 0)]),
        (
            [piece(11 * MIB, 17 * MIB, MIB)],
            [piece(MIB, 16 * MIB, MIB), piece(17 * MIB, MIB, 17 * MIB)],
        ),
    ],
)
def test_pieces_are_cut_to_the_partition(pieces: list[Piece], cut: list[Piece]) -> None:
    assert base.within(pieces, EXTENT) == cut
