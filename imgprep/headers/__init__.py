"""Check the headers of disk image files as the qemu driver that will open them reads them.

oslo.utils' inspector decides which format a file is and refuses the best known dangers. What it
does not look at is looked at here: references to other files in other places of a header, tables
that lie outside of the file, sizes that no disk has. Each module knows one format and reads a few
kilobytes; none of them runs a program.
"""

from typing import BinaryIO


class RefusedError(Exception):
    """A header that must not reach qemu.

    :param hint: what to do about it, None when there is nothing to say.
    """

    def __init__(self, reason: str, *, hint: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


class ImageFile:
    """An image file that is open for reading, and knows where it ends."""

    def __init__(self, file: BinaryIO, *, size_bytes: int) -> None:
        self._file = file
        self.size_bytes = size_bytes

    def read(self, offset: int, length: int, *, what: str) -> bytes:
        """Read a range whole.

        :param what: is there, for the error.
        :raises RefusedError: the range is not inside the file.
        """
        self.require(offset, length, what=what)
        self._file.seek(offset)
        data = self._file.read(length)
        if len(data) != length:
            raise RefusedError(f"its {what} cannot be read whole")
        return data

    def read_at_most(self, offset: int, length: int) -> bytes:
        """Read a range as far as the file goes."""
        self._file.seek(min(offset, self.size_bytes))
        return self._file.read(length)

    def require(self, offset: int, length: int, *, what: str) -> None:
        """Refuse a range that is not inside the file.

        :raises RefusedError: see above.
        """
        if offset + length > self.size_bytes:
            raise RefusedError(f"its {what} lies beyond the end of the file")


def require(condition: bool, reason: str, *, hint: str | None = None) -> None:
    """Raise RefusedError unless a condition holds."""
    if not condition:
        raise RefusedError(reason, hint=hint)


def is_power_of_two(number: int) -> bool:
    """Tell whether a number is 1, 2, 4, 8 ..."""
    return number > 0 and number & (number - 1) == 0
