"""Read YAML with the line of every value, and without the surprises that YAML readers differ on.

PyYAML only splits the text into events here. What a scalar means is decided by who asks for it
(fields.py), because YAML 1.1 and 1.2 do not agree on `yes`, `0440`, `1:30` or `1.10`.

Refused: keys that come twice, tags, several documents, aliases that grow beyond any use, and
characters that YAML 1.1 takes as line breaks and 1.2 does not.

Source: yaml.org/spec/1.2.2, yaml.org/type/merge.html
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from provision.services.file.problems import Problem, Problems

LARGEST_BYTES = 1_000_000
LARGEST_NODES = 100_000  # a long text counts for several
DEEPEST = 40
TEXT = "tag:yaml.org,2002:str"
NONCHARACTER = re.compile(
    "[\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
    + "]"
)
BREAKS = "\x85\u2028\u2029"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar:
    """Hold a single value.

    :ivar plain: written without quotes, so that it may mean a number, a boolean or nothing.
    """

    line: int
    text: str
    plain: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    """Hold a list of values."""

    line: int
    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Hold a key of a mapping, its line, and its value."""

    key: str
    line: int
    value: "Node"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """Hold keys with their values, in the file's order; no key is there twice."""

    line: int
    entries: tuple[Entry, ...]


Node = Scalar | Sequence | Mapping


def parse(data: bytes, problems: Problems) -> Node:
    """Read one YAML document.

    :param problems: gets the keys that come twice.
    :raises Problem: it is not YAML that can be understood.
    """
    if len(data) > LARGEST_BYTES:
        raise Problem(1, f"the file is larger than {LARGEST_BYTES} bytes")
    text = _decoded(data)
    try:
        return _Builder(_events(text), problems).document()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise Problem(
            line,
            f"the control character U+{ord(text[error.position]):04X} stands in the file",
            hint='write it in double quotes as "\\xNN", if it is meant',
        ) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = ", ".join(part for part in (error.context, error.problem) if part)
        raise Problem(mark.line + 1 if mark else 1, f"not YAML: {said}") from error


def _decoded(data: bytes) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Problem(line, "the file is not in UTF-8") from error
    for position, character in enumerate(text):
        if character in BREAKS:
            raise Problem(
                text.count("\n", 0, position) + 1,
                f"U+{ord(character):04X} ends a line for some YAML readers and not for others",
                hint=f'write it in double quotes as "\\u{ord(character):04x}", if it is meant',
            )
    return text


def _events(text: str) -> Iterator[yaml.Event]:
    line = 1
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            line = _line(event)
            yield event
    except (ValueError, OverflowError) as error:  # PyYAML's own, of "\U00110000" and the like
        if isinstance(error, yaml.YAMLError):
            raise
        raise Problem(line, "not YAML: a number in an escape or directive is too large") from error


class _Builder:
    def __init__(self, events: Iterator[yaml.Event], problems: Problems) -> None:
        self._events = events
        self._problems = problems
        self._anchors: dict[str, tuple[Node, int] | None] = {}

    def document(self) -> Node:
        """Build the one document there has to be."""
        next(self._events)  # the stream's start
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            raise Problem(1, "the file is empty")
        node, _ = self._node(next(self._events), depth=0)
        next(self._events)  # the document's end
        event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            raise Problem(_line(event), "a second YAML document begins here", hint="one is enough")
        return node

    def _node(self, event: yaml.Event, *, depth: int) -> tuple[Node, int]:
        """Build what an event begins; also count what it holds, with all aliases written out."""
        line = _line(event)
        if depth > DEEPEST:
            raise Problem(line, f"values are nested deeper than {DEEPEST} levels")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event.anchor or "", line)
        if not isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
            raise Problem(line, f"not YAML: {type(event).__name__} is out of place")
        # what a tag or an anchor is called is not shown: it may be a password without quotes
        if event.tag not in {None, "!", TEXT}:
            raise Problem(line, "a YAML tag, which is not handled here", hint="quotes make a text")
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            node, size = _scalar(event), 1 + len(event.value) // 64
        elif isinstance(event, yaml.SequenceStartEvent):
            node, size = self._sequence(line, depth)
        else:
            node, size = self._mapping(line, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node, size
        return node, size

    def _alias(self, anchor: str, line: int) -> tuple[Node, int]:
        if anchor not in self._anchors:
            raise Problem(
                line,
                "a YAML alias of something that has no anchor",
                hint="a text that begins with * has to be in quotes",
            )
        if (known := self._anchors[anchor]) is None:
            raise Problem(line, "a YAML alias stands within what it means")
        return known

    def _sequence(self, line: int, depth: int) -> tuple[Sequence, int]:
        items: list[Node] = []
        total = 1
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            item, size = self._node(event, depth=depth + 1)
            items.append(item)
            total = _sum(total, size, line)
        return Sequence(line=line, items=tuple(items)), total

    def _mapping(self, line: int, depth: int) -> tuple[Mapping, int]:
        own: dict[str, Entry] = {}
        merged: dict[str, Entry] = {}
        total = 1
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key, _ = self._node(event, depth=depth + 1)
            value, size = self._node(next(self._events), depth=depth + 1)
            total = _sum(total, 1 + size, line)
            if not isinstance(key, Scalar) or (key.plain and not key.text):
                raise Problem(_line(event), "a key that is not a text")
            if key.plain and key.text == "<<":
                for entry in _to_merge(value):
                    merged.setdefault(entry.key, entry)
            elif key.text in own:
                first = own[key.text].line
                what = f"key {shown(key.text)} is there a second time"
                self._problems.add(
                    Problem(_line(event), what, hint=f"the first is in line {first}")
                )
            else:
                own[key.text] = Entry(key=key.text, line=_line(event), value=value)
        return Mapping(line=line, entries=tuple((merged | own).values())), total


def shown(text: str) -> str:
    """Write a text for an error: in quotes, control characters escaped, not too long."""
    return repr(text if len(text) <= 80 else f"{text[:77]}...")


def _sum(total: int, more: int, line: int) -> int:
    if total + more > LARGEST_NODES:
        raise Problem(line, f"with all aliases written out, more than {LARGEST_NODES} values")
    return total + more


def _to_merge(value: Node) -> Iterator[Entry]:
    for one in value.items if isinstance(value, Sequence) else (value,):
        if not isinstance(one, Mapping):
            raise Problem(one.line, "<< merges mappings only")
        yield from one.entries


def _scalar(event: yaml.ScalarEvent) -> Scalar:
    line = _line(event)
    if "\0" in event.value:
        raise Problem(line, "a text with a NUL character, which no program can be given")
    try:
        event.value.encode()
    except UnicodeEncodeError as error:
        raise Problem(
            line,
            "a text with half a character (a surrogate)",
            hint="write the character itself, or as \\UNNNNNNNN",
        ) from error
    if found := NONCHARACTER.search(event.value):
        raise Problem(line, f"a text with U+{ord(found[0]):04X}, which is no character to systemd")
    plain = event.style is None and event.tag is None
    return Scalar(line=line, text=event.value, plain=plain)


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1
