"""Narrate long work on stderr: a bar on a terminal, lines elsewhere, durations at the end."""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from atomic_baremetal import output

LOG = logging.getLogger(__name__)
LINE_EVERY_S = 10.0
LOOK_EVERY_S = 0.5


def size(number_bytes: int) -> str:
    """Word a number of bytes: `512 B`, `40.1 MB`, `1.2 GB`."""
    value = float(number_bytes)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


@contextmanager
def phase(doing: str) -> Iterator[None]:
    """Say what is being done, and how long it took once it is done."""
    LOG.info("%s ...", doing)
    start = time.monotonic()
    yield
    LOG.info("%s: %.1f s", doing, time.monotonic() - start)


@contextmanager
def counted(doing: str, *, total_bytes: int) -> Iterator[Callable[[int], None]]:
    """Do as :func:`phase`, and show how many bytes are done.

    :returns: a function to be called with the number of bytes done so far.
    """
    start = time.monotonic()
    if sys.stderr.isatty() and LOG.isEnabledFor(logging.INFO):
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
        with Progress(
            *columns, TimeElapsedColumn(), console=output.console(), transient=True
        ) as bar:
            task = bar.add_task(doing, total=total_bytes)
            yield lambda done: bar.update(task, completed=done)
    else:
        LOG.info("%s (%s) ...", doing, size(total_bytes))
        yield _lines(doing, total_bytes)
    LOG.info("%s: %.1f s", doing, time.monotonic() - start)


def _lines(doing: str, total_bytes: int) -> Callable[[int], None]:
    last = time.monotonic()

    def show(done: int) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_EVERY_S:
            last = time.monotonic()
            LOG.info("%s: %s of %s", doing, size(done), size(total_bytes))

    return show


@contextmanager
def growing(doing: str, file: Path, *, total_bytes: int) -> Iterator[None]:
    """Do as :func:`counted` for a file that another program writes, by watching it grow."""
    done = threading.Event()
    with counted(doing, total_bytes=total_bytes) as show:

        def watch() -> None:
            while not done.wait(LOOK_EVERY_S):
                if file.exists():
                    show(min(file.stat().st_blocks * 512, total_bytes))

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()
