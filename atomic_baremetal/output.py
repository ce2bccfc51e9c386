"""Print results on stdout, for people or for programs, and narration on stderr."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

FORMATS = ("table", "json", "yaml")


def emit(data: Any, *, format_: str, table: Table | None = None) -> None:
    """Print data on stdout as json or yaml, or the table drawn from it.

    :param table: what `table` shows; None draws keys and values of the mapping.
    """
    if format_ == "json":
        sys.stdout.write(json.dumps(data, indent=2) + "\n")
    elif format_ == "yaml":
        sys.stdout.write(yaml.safe_dump(data, sort_keys=False))
    else:
        terminal = console(stderr=False)
        with terminal.capture() as drawn:
            terminal.print(fields(data) if table is None else table)
        # the cells of a last column are padded to its longest: nobody needs those blanks
        sys.stdout.writelines(f"{line.rstrip()}\n" for line in drawn.get().splitlines())


def fields(data: Mapping[str, Any]) -> Table:
    """Draw a mapping as a table of two columns, `field` and `value`."""
    return rows(("field", "value"), [(key, value) for key, value in data.items()])


def rows(columns: Sequence[str], values: Sequence[Sequence[Any]]) -> Table:
    """Draw a table; None is an empty cell; nothing in a value is taken as markup."""
    table = Table(box=None, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in values:
        table.add_row(*(Text("" if value is None else _plain(value)) for value in row))
    return table


def console(*, stderr: bool = True) -> Console:
    """Open a rich console: colours only on a terminal without NO_COLOR; off it, no wrapping."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, highlight=False, width=None if stream.isatty() else 10_000)


def _plain(value: Any) -> str:
    return escaped(json.dumps(value) if isinstance(value, dict | list | bool) else str(value))


def escaped(text: str) -> str:
    """Write control characters, and whatever else a terminal might obey, as Python would.

    What is told of an image holds names and texts of a stranger's.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else repr(character)[1:-1] for character in text
    )
