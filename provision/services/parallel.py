"""Do things with many nodes at once, not more than so many; one that fails does not spoil the rest.

Each runs in a thread of its own that dies with the process: an interrupt need not wait for a node
that does not answer.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

from provision.services.host import HostError

K = TypeVar("K")
T = TypeVar("T")
R = TypeVar("R")
HEAR_S = 0.5


class Crew(Generic[K, R]):
    """Run functions in threads, and hand out what they return in the order in which they end."""

    def __init__(self) -> None:
        """Begin with none running."""
        self.running: set[K] = set()
        self._ended: SimpleQueue[tuple[K, R | BaseException]] = SimpleQueue()

    def start(self, key: K, do: Callable[[], R]) -> None:
        """Run a function."""
        self.running.add(key)

        def run() -> None:
            try:
                self._ended.put((key, do()))
            except BaseException as error:
                self._ended.put((key, error))

        Thread(target=run, name=f"services {key}", daemon=True).start()

    def next(self) -> tuple[K, R | HostError]:
        """Wait until one has ended; return what it returned, or its HostError; raise any other."""
        key, found = self._first()
        self.running.discard(key)
        if isinstance(found, BaseException) and not isinstance(found, HostError):
            raise found
        return key, found

    def _first(self) -> tuple[K, R | BaseException]:
        while True:  # a signal that comes just before the wait is heard only after it
            with suppress(Empty):
                return self._ended.get(timeout=HEAR_S)


def each(
    hosts: Mapping[str, T], ask: Callable[[T], R], *, at_once: int
) -> tuple[dict[str, R], dict[str, HostError]]:
    """Do something with each host; return what came of it by name, and who failed with what.

    Both come in the order of the hosts.
    """
    crew: Crew[str, R] = Crew()
    waiting = list(hosts)
    found: dict[str, R] = {}
    failed: dict[str, HostError] = {}
    while waiting or crew.running:
        while waiting and len(crew.running) < at_once:
            name = waiting.pop(0)
            crew.start(name, lambda host=hosts[name]: ask(host))  # type: ignore[misc]
        name, what = crew.next()
        if isinstance(what, HostError):
            failed[name] = what
        else:
            found[name] = what
    return _as(hosts, found), _as(hosts, failed)


def _as(hosts: Mapping[str, T], found: Mapping[str, R]) -> dict[str, R]:
    return {name: found[name] for name in hosts if name in found}
