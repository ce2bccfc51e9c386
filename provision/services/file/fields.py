"""Ask a value of a YAML file for what it should be, in errors that name its line and its place.

A value that is not quoted is taken as a text only where every YAML reader sees the same one: `8080`
and `true`, not `1.10`, `0x10`, `True` or `yes`. Those have to be in quotes. An error about a text
does not show the text where it may be a password.
"""

import difflib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NoReturn, TypeVar

from provision.services.file import yaml_file
from provision.services.file.problems import Problem, Problems
from provision.services.file.values import Wrong
from provision.services.file.yaml_file import Node, Scalar, Sequence, shown

T = TypeVar("T")

NOTHING = re.compile(r"~|null|Null|NULL|")
BOOLEAN = re.compile(r"true|false|yes|no|on|off", re.ASCII | re.IGNORECASE)
NUMBER = re.compile(
    r"[-+]?(0x[0-9a-f_]+|0o?[0-7_]+|0b[01_]+|\.inf"
    r"|(\.[0-9][0-9_]*|[0-9][0-9_]*(\.[0-9_]*)?)(e[-+]?[0-9]+)?)|\.nan",
    re.ASCII | re.IGNORECASE,
)
DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,15})?", re.ASCII)
EXTENSION = "x-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """Hold a value of the file together with where it is.

    :ivar where: names it in errors: "service 'db': healthcheck: interval".
    """

    node: Node
    where: str
    problems: Problems

    @property
    def line(self) -> int:
        """The line that the value begins in."""
        return self.node.line

    def fail(self, what: str, *, hint: str | None = None) -> NoReturn:
        """Refuse the value.

        :raises Problem: always.
        """
        raise Problem(self.line, f"{self.where}: {what}" if self.where else what, hint=hint)

    def is_nothing(self) -> bool:
        """Tell whether no value was given, or null."""
        node = self.node
        return isinstance(node, Scalar) and node.plain and bool(NOTHING.fullmatch(node.text))

    def is_list(self) -> bool:
        """Tell whether it is a list."""
        return isinstance(self.node, Sequence)

    def is_mapping(self) -> bool:
        """Tell whether it is a mapping."""
        return isinstance(self.node, yaml_file.Mapping)

    def text(self, *, as_written: bool = False) -> str:
        """Return the text, `$$` made one dollar.

        :param as_written: what stands there is meant, whatever YAML makes of it: 0440.
        :raises Problem: no text, or one that YAML readers do not agree on, or a variable.
        """
        node = self.node
        if not isinstance(node, Scalar):
            self.fail("not a text but a list or mapping")
        if self.is_nothing():
            self.fail("has no value", hint='an empty text is ""')
        if node.plain and not as_written and _is_ambiguous(node.text):
            self.fail(
                "a number or boolean that YAML readers do not all write the same way",
                hint="put it in quotes",
            )
        if "$" in node.text.replace("$$", ""):
            self.fail("a variable", hint="no variables here: write $$ for a dollar")
        return node.text.replace("$$", "$")

    def read(self, as_: Callable[[str], T], *, as_written: bool = False) -> T:
        """Return the text as a value of some kind; as_written as in text()."""
        text = self.text(as_written=as_written)
        return self.judged(lambda: as_(text))

    def judged(self, value: Callable[[], T]) -> T:
        """Return what the function makes; what is wrong with that is wrong with this field."""
        try:
            return value()
        except Wrong as wrong:
            self.fail(wrong.what, hint=wrong.hint)

    def boolean(self) -> bool:
        """Return true or false, written like that."""
        node = self.node
        if not isinstance(node, Scalar) or not node.plain or node.text not in {"true", "false"}:
            self.fail("not true or false", hint="written so, without quotes")
        return node.text == "true"

    def one_of(self, known: Collection[str]) -> str:
        """Return the text, which has to be a known one."""
        if (text := self.text()) not in known:
            self.fail(
                f"{shown(text)} is not handled here", hint=f"it can be {' or '.join(sorted(known))}"
            )
        return text

    def items(self, *, what: str = "a list") -> list["Field"]:
        """Return the items of a list.

        :param what: what there should have been, for the error.
        """
        if not isinstance(self.node, Sequence):
            self.fail(f"not {what}")
        return [replace(self, node=one) for one in self.node.items]

    def gathered(self, items: Collection["Field"], read: Callable[["Field"], T]) -> list[T]:
        """Read items one by one; an item that is wrong is noted, and the next one read."""
        found = []
        for item in items:
            with self.problems.gathered():
                found.append(read(item))
        return found

    def entries(
        self, *, kind: str | None = None, what: str = "a mapping"
    ) -> list[tuple[str, "Field", "Field"]]:
        """Return a mapping whose keys are names: each name, as a field too, and its value.

        :param kind: what a name is of, for errors; None: as this field is called.
        """
        return [
            (
                entry.key,
                replace(self, node=Scalar(line=entry.line, text=entry.key)),
                replace(self, node=entry.value, where=f"{kind or self.where} {shown(entry.key)}"),
            )
            for entry in self._entries(what)
        ]

    def keys(
        self, known: Collection[str], *, unhandled: Mapping[str, str] | None = None
    ) -> dict[str, "Field"]:
        """Return the values of a mapping whose keys are given, by key.

        Keys that are not known are noted as problems; those that begin with x- are other tools'.

        :param unhandled: keys of Compose that are not handled, with what to do instead.
        """
        found = {}
        for entry in self._entries("a mapping"):
            if entry.key in known:
                where = f"{self.where}: {entry.key}" if self.where else entry.key
                found[entry.key] = replace(self, node=entry.value, where=where)
                continue
            inside = f"in {self.where.replace(': ', ', ')}" if self.where else "at the top"
            with self.problems.gathered():
                _refuse(entry, inside, known, unhandled or {})
        return found

    def _entries(self, what: str) -> Iterator[yaml_file.Entry]:
        if not isinstance(self.node, yaml_file.Mapping):
            self.fail(f"not {what}")
        yield from self.node.entries


def closest(name: str, known: Collection[str]) -> str | None:
    """Suggest what somebody meant; None for no idea."""
    sure = 0.8 if name.startswith(EXTENSION) else 0.6
    close = difflib.get_close_matches(name[:80], sorted(known), n=1, cutoff=sure)
    return f"did you mean {close[0]!r}?" if close else None


def _refuse(
    entry: yaml_file.Entry, inside: str, known: Collection[str], unhandled: Mapping[str, str]
) -> None:
    if (instead := unhandled.get(entry.key)) is not None:
        raise Problem(
            entry.line, f"key {entry.key!r} {inside}: not handled here", hint=instead or None
        )
    suggestion = closest(entry.key, known)
    if entry.key.startswith(EXTENSION) and suggestion is None:
        return
    raise Problem(
        entry.line,
        f"unknown key {shown(entry.key)} {inside}",
        hint=suggestion or "docs/services.rst lists the keys",
    )


def _is_ambiguous(text: str) -> bool:
    if BOOLEAN.fullmatch(text):
        return text not in {"true", "false"}
    if not NUMBER.fullmatch(text):
        return False
    return (
        not DECIMAL.fullmatch(text) or text == "-0" or ("." in text and repr(float(text)) != text)
    )
