"""Write and read systemd unit files so that every string arrives as it was, or is refused.

Glossary: a *value* is what stands behind KEY= in the file; a *word* is what systemd, or podman
behind it, gets in the end. Between the two lie, in this order: lines that go on behind a backslash,
quotes with C escapes, specifiers (``%n``; ``%%`` is a per cent sign) and, in commands alone,
variables (``$X``, ``${X}``; ``$$`` is a dollar).

Quadlet reads words by the same rules but for details that ``quadlet.py`` knows.

Source: systemd.syntax(7), systemd.service(5) "Command lines"; systemd 252 ``extract-word.c``,
``escape.c``, ``conf-parser.c``.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from atomic_baremetal.errors import Error

# systemd's LONG_LINE_MAX, for a line and for what it goes on to together
LINE_MAX_BYTES = 1 << 20
# Linux' MAX_ARG_STRLEN without the closing NUL: no program can be given a longer word
WORD_MAX_BYTES = (128 << 10) - 1

_BARE = re.compile(r"[A-Za-z0-9_./:=@,+%$-]+")
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
# systemd 252 leaves \\U0001fffe as these ten characters, and drops a line that has U+FFFE as it is
_NONCHARACTER = re.compile(
    "[\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | 0xFFFE) + chr(plane << 16 | 0xFFFF) for plane in range(17))
    + "]"
)
_BLANKS = " \t\n\r"
_WRAP = " \\\n    "
_ESCAPES = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    '"': '"',
    "'": "'",
    "s": " ",
}
_WRITTEN = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


class UnitFileError(Error):
    """A string that a unit file cannot carry, or a unit file that cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A section: its name without brackets, and its keys and values in the file's order."""

    name: str
    entries: tuple[tuple[str, str], ...]

    def all(self, key: str) -> tuple[str, ...]:
        """Return every value of a key, in order."""
        return tuple(value for one, value in self.entries if one == key)

    def last(self, key: str) -> str | None:
        """Return the value that counts; None without one."""
        return next(reversed(self.all(key)), None)


def serialize(sections: Iterable[Section]) -> str:
    """Write a unit file.

    :raises UnitFileError: a name or value that would be read as something else.
    """
    return "\n".join(_section(section) for section in sections)


def parse(text: str) -> tuple[Section, ...]:
    """Read a unit file; comments go, sections of one name stay apart.

    :raises UnitFileError: not a unit file.
    """
    found: list[tuple[str, list[tuple[str, str]]]] = []
    for number, line in _logical_lines(text):
        if line.startswith("["):
            if not line.endswith("]"):
                raise UnitFileError(f"line {number} of the unit file: a section without its ]")
            found.append((line[1:-1], []))
            continue
        key, equals, value = line.partition("=")
        if not equals or not found:
            raise UnitFileError(f"line {number} of the unit file is neither section nor key")
        found[-1][1].append((key.rstrip(_BLANKS), value.strip(_BLANKS)))
    return tuple(Section(name=name, entries=tuple(entries)) for name, entries in found)


def quote(word: str) -> str:
    """Write one word so that its quotes and escapes are read back as it is.

    :raises UnitFileError: it holds a NUL or no valid Unicode, which no unit file carries.
    """
    check(word)
    if _BARE.fullmatch(word):
        return word
    return '"' + "".join(_escape(character) for character in word) + '"'


def check(word: str) -> None:
    """Refuse a word that no unit can give to a program.

    :raises UnitFileError: it holds a NUL, a noncharacter or no valid Unicode, or is longer than
        Linux hands over.
    """
    if "\0" in word:
        raise UnitFileError(f"{_shown(word)} holds a NUL byte, which no program can be given")
    try:
        size_bytes = len(word.encode())
    except UnicodeEncodeError as error:
        raise UnitFileError(f"{_shown(word)} is not valid Unicode") from error
    if found := _NONCHARACTER.search(word):
        raise UnitFileError(
            f"{_shown(word)} holds U+{ord(found[0]):04X}, which Unicode keeps free of meaning and"
            " systemd does not read",
            hint="put it into a config",
        )
    if size_bytes > WORD_MAX_BYTES:
        raise UnitFileError(
            f"{_shown(word)} is {size_bytes} bytes long, and a program can be given"
            f" {WORD_MAX_BYTES} at most",
            hint="put it into a config",
        )


def check_line(key: str, line: str) -> None:
    """Refuse a line, or all that it goes on to, that is longer than systemd reads.

    :raises UnitFileError: it is; the error names the key.
    """
    if (size_bytes := len(line.encode())) > LINE_MAX_BYTES:
        raise UnitFileError(
            f"{key}= is {size_bytes} bytes long, and systemd reads {LINE_MAX_BYTES} at most",
            hint="put long values into a config",
        )


def split(value: str) -> tuple[str, ...]:
    """Read a value's words: quotes and C escapes; neither specifiers nor variables.

    :raises UnitFileError: a quote that does not end, or an escape that systemd does not know.
    """
    words: list[str] = []
    position = 0
    while True:
        while position < len(value) and value[position] in _BLANKS:
            position += 1
        if position == len(value):
            return tuple(words)
        word, position = _word(value, position)
        words.append(word)


def plain(text: str) -> str:
    """Write text of which systemd shall take no part for a specifier."""
    return text.replace("%", "%%")


def command(words: Sequence[str], *, wrap: bool = False) -> str:
    """Write the value of ExecStart= and its kin, of which systemd shall expand nothing.

    :param words: the first is the program's absolute path; a "-" before it lets it fail.
    :param wrap: a line for each word.
    :raises UnitFileError: no path first, or a word that cannot be carried.
    """
    if not words or not words[0].removeprefix("-").startswith("/"):
        raise UnitFileError("a unit's command has to begin with an absolute path")
    for word in words:
        check(word)
    return (_WRAP if wrap else " ").join(quote(literal(word)) for word in words)


def literal(word: str) -> str:
    """Write a word so that neither a specifier nor a variable in it is expanded."""
    return plain(word).replace("$", "$$")


def unliteral(word: str) -> str:
    """Read a word in which nothing is to be expanded.

    :raises UnitFileError: there is something that systemd would expand.
    """

    def one(match: re.Match[str]) -> str:
        if match[0] not in ("%%", "$$"):
            raise UnitFileError(f"{match[0]!r} in a unit file is expanded by systemd")
        return match[0][0]

    return re.sub(r"[%$].?", one, word, flags=re.DOTALL)


def _section(section: Section) -> str:
    if "]" in section.name or not section.name.isprintable():
        raise UnitFileError(f"{section.name!r} is no name of a section")
    return "".join([f"[{section.name}]\n", *(_entry(*entry) for entry in section.entries)])


def _entry(key: str, value: str) -> str:
    if not _KEY.fullmatch(key):
        raise UnitFileError(f"{key!r} is no key of a unit file")
    bare = value.replace("\\\n", "")
    if value != value.strip(_BLANKS) or bare.endswith("\\") or "\n" in bare or "\r" in bare:
        raise UnitFileError(f"the value of {key}= would not be read back as it is")
    line = f"{key}={value}\n"
    check_line(key, line)
    return line


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield a line's number and what it and the lines it goes on to say, but for comments."""
    begun, so_far = 0, ""
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.lstrip(_BLANKS)
        if line[:1] in ("#", ";") or (not line.strip(_BLANKS) and not so_far):
            continue
        begun = begun or number
        if _goes_on(line):
            so_far += line[:-1] + " "
            continue
        yield begun, (so_far + line).strip(_BLANKS)
        begun, so_far = 0, ""
    if so_far:
        yield begun, so_far.strip(_BLANKS)


def _goes_on(line: str) -> bool:
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1


def _word(value: str, position: int) -> tuple[str, int]:
    """Read one word from a position that is no blank; return it and where it ended."""
    word, quoted = "", ""
    while position < len(value):
        character = value[position]
        if character == "\\":
            read, position = _unescape(value, position + 1)
            word += read
            continue
        position += 1
        if quoted:
            if character == quoted:
                quoted = ""
            else:
                word += character
        elif character in "'\"":
            quoted = character
        elif character in _BLANKS:
            return word, position
        else:
            word += character
    if quoted:
        raise UnitFileError("a quote in a unit file does not end")
    return word, position


def _unescape(value: str, position: int) -> tuple[str, int]:
    """Read an escape behind its backslash; return what it stands for and where it ended.

    Bytes that only together make a character (``\\xc3\\xa9``) are read together.
    """
    kind = value[position : position + 1]
    if kind in _ESCAPES and kind:
        return _ESCAPES[kind], position + 1
    if kind in ("u", "U"):
        end = position + (5 if kind == "u" else 9)
        return _code_point(value[position + 1 : end], end - position - 1), end
    octets = b""
    while match := re.compile(r"x([0-9a-fA-F]{2})|([0-7]{3})").match(value, position):
        octets += bytes([int(match[1], 16) if match[1] else int(match[2], 8) & 0xFF])
        position = match.end()
        if value[position : position + 1] != "\\" or octets[-1] < 0x80:
            break
        if not re.compile(r"x[89a-fA-F]|[23]").match(value, position + 1):
            break
        position += 1
    if not octets or b"\0" in octets:
        raise UnitFileError(f"a unit file holds an escape that systemd does not know: \\{kind}")
    try:
        return octets.decode(), position
    except UnicodeDecodeError as error:
        raise UnitFileError("a unit file holds escapes that are not UTF-8") from error


def _code_point(digits: str, length: int) -> str:
    if len(digits) != length or not re.fullmatch(r"[0-9a-fA-F]+", digits):
        raise UnitFileError("a unit file holds a broken \\u or \\U escape")
    number = int(digits, 16)
    if not number or number > 0x10FFFF or 0xD800 <= number < 0xE000:
        raise UnitFileError(f"a unit file holds an escape of no character: {digits}")
    return chr(number)


def _escape(character: str) -> str:
    if written := _WRITTEN.get(character):
        return written
    if character.isprintable():
        return character
    number = ord(character)
    if number < 0x80:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _shown(word: str) -> str:
    """Show so much of a word that it is recognised: it may be long, and may be confidential."""
    begin = re.match(r"(?:--[a-z-]+=)?[^=]{0,40}=?", word, flags=re.DOTALL)
    shown = begin[0] if begin else ""
    return ascii(shown if shown == word and "=" not in word else f"{shown}...")
