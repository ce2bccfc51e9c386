"""Gather what is wrong with a file, so that one run names all of it, each with its line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from atomic_baremetal.errors import Error

MOST = 20  # a page of errors; the first ones tell more than the last
TOO_MANY = 200


class FileError(Error):
    """A file of services that does not say clearly what to run."""


class Problem(Exception):
    """One thing that is wrong, with its line; caught where the reading can go on."""

    def __init__(self, line: int, what: str, *, hint: str | None = None) -> None:
        super().__init__(what)
        self.line = line
        self.what = what
        self.hint = hint


class Problems:
    """Collect the problems of one file."""

    def __init__(self, path: Path) -> None:
        """Name the file as errors are to name it."""
        self.path = path
        self._found: dict[tuple[int, str], Problem] = {}

    def add(self, problem: Problem) -> None:
        """Note a problem; the same one twice, as an alias can have it, counts once.

        :raises FileError: there are so many that nobody would read one more.
        """
        self._found.setdefault((problem.line, problem.what), problem)
        if len(self._found) >= TOO_MANY:
            self.check()

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Note the problem that ends the block; what comes after the block goes on."""
        try:
            yield
        except Problem as problem:
            self.add(problem)

    def check(self) -> None:
        """Leave if there were problems.

        :raises FileError: names the file, each line, and what is wrong there.
        """
        found = sorted(self._found.values(), key=lambda one: one.line)
        if not found:
            return
        first, *others = found
        further = [
            self._located(one) + (f" ({one.hint})" if one.hint else "")
            for one in others[: MOST - 1]
        ]
        if len(found) > MOST:
            further.append(f"{self.path}: and {len(found) - MOST} more")
        raise FileError(self._located(first), hint=first.hint, further=further)

    def _located(self, problem: Problem) -> str:
        return f"{self.path}:{problem.line}: {problem.what}"
