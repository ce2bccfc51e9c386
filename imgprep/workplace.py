"""Give each run a place for its unfinished files that a later run can tell from a live one's.

A run that is killed cannot tidy up: the next one does it. A place is locked (flock) for as long as
its run lives; the kernel drops the lock with the process, however that ends. So a place without a
lock is a dead run's, and goes.
"""

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from atomic_baremetal.errors import Error

PREFIX = "imgprep-"  # of the places in the directory for temporary files
RUN = "run-"  # each run has a directory of its own: what a dead one's helper may write goes nowhere
ASIDE = "old"  # a bundle that is being replaced, see bundle.written
SOCKETS = {"guestfsd.sock", "console.sock"}
SLACK_S = 60.0  # between a directory's last change and what its run did before


class BusyError(Error):
    """Another run is at work in the same place."""


@contextlib.contextmanager
def beside(place: Path) -> Iterator[Path]:
    """Give an empty directory on the file system of `place`, to this run alone.

    What a dead run left for the same place goes first; a bundle that it had put aside comes back.

    :param place: what will be made, absolute; need not exist.
    :raises BusyError: a live run is making it.
    """
    home = place.parent / f".{place.name}.imgprep"
    lock = None
    while lock is None:
        try:
            home.mkdir(mode=0o700, exist_ok=True)
            lock = _locked(home)
        except BlockingIOError as error:
            raise BusyError(
                f"another imgprep is making {place} at this moment",
                hint="wait for it, or name another place with -o",
            ) from error
        except (FileExistsError, NotADirectoryError, PermissionError) as error:
            raise Error(f"{home} is in the way: {error.strerror}", hint="remove it") from error
    with _removed_in_the_end(home, lock):
        _clear(home, place)
        yield Path(tempfile.mkdtemp(prefix=RUN, dir=home))


@contextlib.contextmanager
def temporary() -> Iterator[Path]:
    """Give an empty directory among the temporary files; what dead runs left there goes."""
    parent = Path(tempfile.gettempdir()).absolute()
    for left in parent.glob(f"{PREFIX}*"):
        _clear_dead(left)
    lock = None
    while lock is None:
        made = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        with contextlib.suppress(BlockingIOError):  # it looked dead until now: another run took it
            lock = _locked(made)
    with _removed_in_the_end(made, lock):
        yield made


@contextlib.contextmanager
def _removed_in_the_end(directory: Path, lock: int) -> Iterator[None]:
    try:
        yield
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(lock)


def _locked(directory: Path) -> int | None:
    """Lock a directory of ours; None when it has gone meanwhile.

    :raises BlockingIOError: a live run holds it.
    """
    try:
        lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock), directory.lstat()):
            return lock
    except FileNotFoundError:
        pass
    except BaseException:
        os.close(lock)
        raise
    os.close(lock)
    return None


def _clear(home: Path, place: Path) -> None:
    since = home.stat().st_mtime
    for left in sorted(home.iterdir()):
        aside = left / ASIDE
        if aside.is_dir() and not place.exists():
            aside.rename(place)
        shutil.rmtree(left)
        _sweep_sockets(since=since)


def _clear_dead(left: Path) -> None:
    """Remove a place of this user that no run holds."""
    with contextlib.suppress(OSError):
        status = left.lstat()
        if status.st_uid != os.geteuid() or not stat.S_ISDIR(status.st_mode):
            return
        lock = _locked(left)
        if lock is not None:
            with _removed_in_the_end(left, lock):
                _sweep_sockets(since=status.st_mtime - SLACK_S)


def _sweep_sockets(*, since: float) -> None:
    """Remove the sockets of a dead run's appliance.

    libguestfs puts them where it wants, under a random name: /tmp for root, else
    $XDG_RUNTIME_DIR (guestfs_get_sockdir). Those of a live appliance are in the kernel's list.

    :param since: when the dead run began, in seconds since the epoch.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    parent = Path(runtime if runtime and os.geteuid() != 0 else "/tmp")  # noqa: S108
    in_use = {line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines()}
    for directory in parent.glob("libguestfs??????"):
        with contextlib.suppress(OSError):
            status = directory.lstat()
            if status.st_uid != os.geteuid() or status.st_mtime < since:
                continue
            there = {path.name for path in directory.iterdir()}
            live = in_use & {str(directory / name) for name in there}
            if there and there <= SOCKETS and not live:
                shutil.rmtree(directory)
