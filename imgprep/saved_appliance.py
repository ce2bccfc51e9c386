"""Save an appliance that has booted, for later runs to go on with.

Booting is most of what an emulated appliance costs, and it is the same every time, until the
image's disk is looked at. So one boots with an empty disk; its memory and its root are kept in the
cache, as qemu's migration writes them. A run that goes on with them has the image's disk in the
place of the empty one, and has the appliance look at it anew. What happens in a resumed appliance
is never kept.
"""

import fcntl
import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from atomic_baremetal import durable, paths
from imgprep.precheck import ImageError
from imgprep.start_qemu import MEMORY, MONITOR

SAVE_S = 60.0
POLL_S = 0.01
NO_LIMIT = 1 << 40  # bytes a second, to a file
NEW = "new-"
DISK, DISK_BYTES = "disk", 1 << 20
# for a shell in the appliance: what most images need anyway, and takes long to load
GET_READY = """\
for one in ext4 xfs btrfs vfat dm-mod dm-crypt; do modprobe $one; done
for one in 'lvm pvs' 'blkid /dev/sda' 'blockdev --getsize64 /dev/sda'; do $one; done
udevadm settle
"""
# what it did for its disk and its clock when it booted
LOOK_ANEW = """\
date --set=@{now:.2f} >/dev/null && echo 1 >/sys/block/sda/device/rescan || exit
for attempt in 1 2 3 4 5; do
    blockdev --flushbufs /dev/sda && blockdev --rereadpt /dev/sda && break
    udevadm settle
done
udevadm settle && [ $attempt != 5 ] || exit
lvm pvscan --cache --activate ay || :
"""


def place(*, sector_size_bytes: int) -> Path:
    """Return where an appliance is kept for disks with such sectors; it need not be there."""
    return paths.cache() / "appliance" / "saved" / str(sector_size_bytes)


@contextmanager
def new(target: Path) -> Iterator[Path]:
    """Give a directory to save an appliance in, which becomes the target when all has gone well.

    Its name is short, as that of a socket in it has to be.

    :raises ImageError: another run is at it.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ImageError("another run is saving an appliance") from error
        for left in target.parent.glob(f"{NEW}*"):  # by a run that was killed
            shutil.rmtree(left)
        with tempfile.TemporaryDirectory(
            prefix=NEW, dir=target.parent, ignore_cleanup_errors=True
        ) as made:
            directory = os.open(made, os.O_RDONLY | os.O_DIRECTORY)
            try:
                yield Path(f"/proc/{os.getpid()}/fd/{directory}")
            finally:
                os.close(directory)
            _publish(Path(made), target)
    finally:
        os.close(lock)


def _publish(made: Path, target: Path) -> None:
    for name in (MONITOR, DISK):
        (made / name).unlink(missing_ok=True)
    durable.flush_tree(made)
    discard(target)
    made.rename(target)
    durable.flush(target.parent)


def discard(target: Path) -> None:
    """Remove a saved appliance: it is of no use."""
    shutil.rmtree(target, ignore_errors=True)


def empty_disk(directory: Path) -> Path:
    """Make the empty disk that an appliance boots with to be saved."""
    path = directory / DISK
    with path.open("wb") as file:
        file.truncate(DISK_BYTES)
    return path


def save(directory: Path) -> None:
    """Write the memory of an appliance that has booted, and end it.

    Source: QEMU, QMP reference: `getfd`, `migrate`.

    :raises ImageError: qemu could not.
    """
    deadline = time.monotonic() + SAVE_S
    with (
        (directory / MEMORY).open("wb") as memory,
        socket.socket(socket.AF_UNIX) as channel,
        channel.makefile("rb") as answers,
    ):
        channel.settimeout(SAVE_S)
        channel.connect(str(directory / MONITOR))

        def ask(command: str, *, file: int | None = None, **arguments: Any) -> Any:
            asked = json.dumps({"execute": command, "arguments": arguments}).encode()
            socket.send_fds(channel, [asked], [] if file is None else [file])
            while True:
                answer = json.loads(answers.readline() or b'{"error": "it has ended"}')
                if "error" in answer:
                    raise ImageError(f"the appliance cannot be saved: {answer['error']}")
                if "return" in answer:  # neither its greeting nor an event
                    return answer["return"]

        ask("qmp_capabilities")
        ask("getfd", file=memory.fileno(), fdname=MEMORY)
        ask("migrate-set-parameters", **{"max-bandwidth": NO_LIMIT})
        ask("migrate", uri=f"fd:{MEMORY}")
        while (done := ask("query-migrate"))["status"] != "completed":
            if done["status"] == "failed" or time.monotonic() > deadline:
                raise ImageError(f"the appliance cannot be saved: {done}")
            time.sleep(POLL_S)
        with suppress(ImageError):
            ask("quit")
