"""Put files on disk so that they are complete or absent, whenever the power goes."""

import ctypes
import errno
import os
import tempfile
from pathlib import Path

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # fcntl.h, linux/fs.h


def write(path: Path, text: str, *, mode: int = 0o600) -> bool:
    """Write a file beside its place and rename it; say whether that changed anything.

    Missing directories above it are made.
    """
    if path.exists() and path.read_text() == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(descriptor, mode)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink()
        raise
    return True


def exchange(one: Path, other: Path) -> bool:
    """Let two names of one file system change places in one step, so that neither is ever missing.

    :returns: False when the file system cannot do that; then nothing has changed.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    names = (AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other))
    if libc.renameat2(*names, RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(one), None, str(other))


def flush_tree(tree: Path) -> None:
    """Have everything below a directory on disk, so that renaming it publishes it whole."""
    for path in tree.rglob("*"):
        if not path.is_symlink() and (path.is_file() or path.is_dir()):
            flush(path)
    flush(tree)


def flush(path: Path) -> None:
    """Have a file's content, or a directory's list of names, on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
