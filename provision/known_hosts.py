"""Pin the ssh host keys of deployed nodes, in OpenSSH's own format.

The file is ours alone: one line a node, its alias the node's uuid, because addresses are used again
and uuids are not.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from atomic_baremetal import durable


class KnownHosts:
    """Keep the pinned host keys; several commands may use the file at once."""

    def __init__(self, path: Path) -> None:
        """Name the file; it and its directory are made when the first key is pinned."""
        self.path = path

    def key(self, alias: str) -> str | None:
        """Return the pinned key as `TYPE BASE64`; None when nothing is pinned."""
        for line in self._lines():
            name, _, key = line.partition(" ")
            if name == alias:
                return key
        return None

    def pin(self, alias: str, public_key: str) -> None:
        """Pin a host's key in place of an earlier one."""
        with self._locked():
            self._write([*self._others(alias), f"{alias} {public_key}"])

    def remove(self, alias: str) -> None:
        """Forget a host's key; one that is not pinned is fine."""
        if self.key(alias) is None:
            return
        with self._locked():
            self._write(self._others(alias))

    def _others(self, alias: str) -> list[str]:
        return [line for line in self._lines() if line.partition(" ")[0] != alias]

    def _lines(self) -> list[str]:
        try:
            return self.path.read_text().splitlines()
        except FileNotFoundError:
            return []

    def _write(self, lines: list[str]) -> None:
        durable.write(self.path, "".join(f"{line}\n" for line in lines))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self.path.with_name(f"{self.path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
