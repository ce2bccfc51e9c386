"""Read what the scripts on a node print: lines `NAME STATUS BASE64 BASE64`, and at last `end`.

Each line is one command there: its exit status, its output and the end of its errors. The encoding
keeps what a node holds, down to names with line ends in them, apart from the lines themselves.
"""

import binascii
from collections.abc import Mapping
from dataclasses import dataclass

FIELDS = 4


class Unreadable(Exception):
    """An answer that a node did not finish, or that says something went wrong there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How one command on a node ended.

    :ivar output: all of it; errors are the last 4000 bytes.
    """

    status: int = 0
    output: bytes = b""
    errors: bytes = b""

    @property
    def text(self) -> str:
        """The output, whatever its bytes, as text."""
        return self.output.decode(errors="backslashreplace")

    @property
    def last_words(self) -> str:
        """What it complained about last; empty: nothing."""
        lines = [line.strip() for line in plain(self.errors.decode(errors="replace")).splitlines()]
        return next((line for line in reversed(lines) if line), "")


def read(printed: bytes) -> Mapping[str, Answer]:
    """Take the printed lines apart, by name.

    :raises Unreadable: the end is missing, a line is none of ours, or the script gave up: its word.
    """
    lines = printed.decode("ascii", errors="replace").splitlines()
    found = {}
    for line in lines:
        if line == "end":
            break
        fields = line.split(" ")
        try:
            name, status, output, errors = fields
            found[name] = Answer(
                status=int(status), output=_decoded(output), errors=_decoded(errors)
            )
        except ValueError as error:  # binascii.Error is one
            raise Unreadable(f"it answered something else: {plain(line)[:200]!r}") from error
    else:
        raise Unreadable("its answer has no end")
    if "error" in found:
        raise Unreadable(" ".join(plain(found["error"].text).split()))
    return found


def plain(text: str) -> str:
    """Take control characters out of a text, but for line ends and tabs."""
    return "".join(one for one in text if one.isprintable() or one in "\n\t")


def _decoded(field: str) -> bytes:
    return binascii.a2b_base64(field, strict_mode=True) if field else b""
