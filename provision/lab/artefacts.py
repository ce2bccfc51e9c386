"""Keep what takes minutes to build, under a name that says what it was made from.

*Artefact*: a directory that a builder filled. *Kind*: what it is ("ramdisk"). *Key*: the sha256 of
everything it was made from; a change in any of it is another key, and so another artefact. An
artefact is complete or absent: it is built beside its place, written to disk, then renamed.
"""

import fcntl
import hashlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from atomic_baremetal import durable, paths
from atomic_baremetal.errors import Error

LOG = logging.getLogger(__name__)
BUILDING = ".building"  # ending of a directory that is not complete

Input = str | bytes | Path


def cached(kind: str, inputs: Iterable[Input], build: Callable[[Path], None]) -> Path:
    """Return the artefact made from the inputs; build it when it is not there.

    One build of a kind runs at a time; who comes second waits, and finds the first one's result.

    :param inputs: what the artefact is made from, always in the same order; see :func:`key_of`.
    :param build: fills the empty directory that it is given.
    :returns: a directory under the cache, complete; not to be written to.
    """
    home = paths.cache() / kind
    artefact = home / key_of(inputs)
    if artefact.is_dir():
        LOG.info("%s: already built: %s", kind, artefact)
        return artefact
    home.mkdir(parents=True, exist_ok=True)
    with _alone(home / ".lock", kind):
        _remove_unfinished(home)
        if not artefact.is_dir():
            _build(kind, artefact, build)
    return artefact


def key_of(inputs: Iterable[Input]) -> str:
    """Hash the inputs: text, bytes, files and directory trees, in the given order.

    A file counts with its name, whether it is executable, and its content; a tree with all its
    files by relative name, and its symbolic links by their targets. Where it lies, times, owners
    and Python's caches do not count.

    :raises Error: a path that does not exist.
    """
    digest = hashlib.sha256()
    for item in inputs:
        for fields in _fields(item):
            # each field with its length: no two different inputs give the same bytes
            digest.update(len(fields).to_bytes(8))
            for field in fields:
                digest.update(len(field).to_bytes(8))
                digest.update(field)
    return digest.hexdigest()


def _fields(item: Input) -> Iterator[tuple[bytes, ...]]:
    if isinstance(item, str):
        yield b"text", item.encode()
    elif isinstance(item, bytes):
        yield b"bytes", item
    elif item.is_dir():
        yield (b"tree",)
        for path in sorted(item.rglob("*")):
            name = path.relative_to(item)
            if "__pycache__" not in name.parts and (path.is_symlink() or path.is_file()):
                yield _file_fields(path, str(name))
    elif item.is_file():
        yield _file_fields(item, item.name)
    else:
        raise Error(f"{item}: no such file or directory")


def _file_fields(path: Path, name: str) -> tuple[bytes, ...]:
    if path.is_symlink():
        return b"link", os.fsencode(name), os.fsencode(path.readlink())
    executable = b"x" if path.stat().st_mode & 0o100 else b"-"
    return b"file", os.fsencode(name), executable, path.read_bytes()


@contextmanager
def _alone(lock: Path, kind: str) -> Iterator[None]:
    """Hold a lock that its holder's death frees, whatever the death."""
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            LOG.info("%s: another process is building one; waiting for it", kind)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _remove_unfinished(home: Path) -> None:
    """Remove what killed builders left. With the lock held, nobody is building."""
    for left in home.glob(f"*{BUILDING}"):
        LOG.info("removing %s, which an interrupted build left", left)
        shutil.rmtree(left)


def _build(kind: str, artefact: Path, build: Callable[[Path], None]) -> None:
    beside = artefact.with_name(artefact.name + BUILDING)
    beside.mkdir()
    LOG.info("%s: building", kind)
    began = time.monotonic()
    try:
        build(beside)
        durable.flush_tree(beside)
        beside.rename(artefact)
        durable.flush(artefact.parent)
    except BaseException:  # Ctrl-C as well: nothing half-made may stay
        shutil.rmtree(beside, ignore_errors=True)
        raise
    LOG.info("%s: built in %.0f s: %s", kind, time.monotonic() - began, artefact)
