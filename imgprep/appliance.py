"""Open file systems of an image inside libguestfs' appliance, a small virtual machine of its own.

No kernel of this host ever mounts what an image holds. The only module that imports guestfs.
"""

import json
import logging
import os
import platform
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

from atomic_baremetal import command, durable, paths
from atomic_baremetal.errors import CommandError, Error
from imgprep.layout import Content, Partition, Volume, content_of
from imgprep.precheck import ImageError
from imgprep.qemu_img import NO_SPACE, NoSpaceError

LOG = logging.getLogger(__name__)
DISK = "/dev/sda"
PROBE_S = 60  # an appliance that works at all with KVM is up in 5 s
SESSION_S = 1800  # a file system made to hang its kernel must not hang us


class Accelerator(StrEnum):
    """How the appliance's processor runs."""

    KVM = "kvm"
    TCG = "tcg"


class _Machine:
    """Make all calls of one handle in one thread of its own.

    libguestfs keeps its errors by thread. And the main thread stays free: an interruption ends the
    machine at once instead of after the call, and a call that never returns has a limit.
    """

    def __init__(self, pool: Executor) -> None:
        self._pool = pool
        self._deadline = time.monotonic() + SESSION_S

    def call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Call a function of libguestfs.

        :raises ImageError: it failed, or the session has lasted too long.
        """
        future = self._pool.submit(function, *arguments, **options)
        try:
            return future.result(self._deadline - time.monotonic())
        except RuntimeError as error:
            raise _translated(error) from error
        except TimeoutError as error:
            _kill_qemu()
            raise ImageError(
                f"the appliance was not done within {SESSION_S} seconds and was ended",
                hint="a damaged or hostile file system can do that",
            ) from error
        except BaseException:
            _kill_qemu()
            raise

    def close(self, handle: Any) -> None:
        """Close a handle, which ends its machine if that still runs."""
        self._pool.submit(handle.close).result()


def _translated(error: RuntimeError) -> Error:
    # what follows is advice on how to debug libguestfs, ten lines of it
    said = " ".join(str(error).partition("This usually means")[0].split())
    if NO_SPACE in said:
        return NoSpaceError("the disk is full", hint="free some space and try again")
    if "guestfs_launch" in said:
        return ImageError(
            f"libguestfs' appliance does not start: {said}",
            hint="run libguestfs-test-tool to see why",
        )
    return ImageError(f"the appliance failed: {said}", hint="--debug shows more")


class Appliance:
    """A launched appliance with one disk. Get one from :func:`launched`."""

    def __init__(self, machine: _Machine, handle: Any) -> None:
        self._machine = machine
        self._handle = handle

    def _do(self, call: str, *arguments: Any, **options: Any) -> Any:
        return self._machine.call(getattr(self._handle, call), *arguments, **options)

    def partition_table(self) -> str:
        """Return `mbr`, `gpt` or `none`; parted's own word for any other kind."""
        try:
            found = self._do("part_get_parttype", DISK)
        except ImageError as error:
            if "unrecognised disk label" in error.message:
                return "none"
            raise
        return {"msdos": "mbr"}.get(found, str(found))

    def partitions(self) -> list[Partition]:
        """List the partitions in the table's order, each with what blkid finds in it."""
        return [
            Partition(
                number=part["part_num"],
                start_bytes=part["part_start"],
                size_bytes=part["part_size"],
                content=content_of(self._do("vfs_type", f"{DISK}{part['part_num']}")),
            )
            for part in self._do("part_list", DISK)
        ]

    def volumes(self, partitions: list[Partition]) -> Iterator[Volume]:
        """Find what can hold a file system: partitions, and logical volumes on them."""
        for part in partitions:
            device = f"{DISK}{part.number}"
            if part.content is Content.LVM2_PV:
                yield from self._logical_volumes(part.number, self._do("pvuuid", device))
            else:
                yield Volume(device=device, partition=part.number, filesystem=part.content)

    def _logical_volumes(self, number: int, uuid: str) -> Iterator[Volume]:
        members: dict[str, list[str]] = {}
        for path in self._do("lvs"):
            group, _, name = path.removeprefix("/dev/").partition("/")
            if group not in members:
                members[group] = self._do("vgpvuuids", group)
            if uuid in members[group]:
                yield Volume(
                    device=path,
                    partition=number,
                    filesystem=content_of(self._do("vfs_type", path)),
                    group=group,
                    logical_volume=name,
                    spans=len(members[group]) > 1,
                )

    def uuid(self, volume: Volume) -> str:
        """Return the UUID of a file system, empty when it has none."""
        return str(self._do("vfs_uuid", volume.device))

    def label(self, volume: Volume) -> str:
        """Return the label of a file system, empty when it has none."""
        return str(self._do("vfs_label", volume.device))

    @contextmanager
    def mounted(
        self, volume: Volume, *, boot: Volume | None = None, writable: bool = False
    ) -> Iterator[None]:
        """Mount a volume as /, and another one on its /boot; unmount both afterwards.

        :param writable: the root; /boot never is.
        """
        self._do("mount" if writable else "mount_ro", volume.device, "/")
        if boot is not None:
            self._do("mount_ro", boot.device, "/boot")
        yield
        self._do("umount_all")  # not after an error: the session ends then

    def is_directory(self, path: str) -> bool:
        """Tell whether there is a directory, symbolic links followed."""
        return bool(self._do("is_dir", path, followsymlinks=True))

    def is_file(self, path: str) -> bool:
        """Tell whether there is a regular file, symbolic links followed."""
        return bool(self._do("is_file", path, followsymlinks=True))

    def list_directory(self, path: str) -> list[str]:
        """List the names in a directory, sorted."""
        return [str(name) for name in self._do("ls", path)]

    def resolve(self, path: str) -> str:
        """Follow all symbolic links of a path.

        :raises ImageError: it leads nowhere.
        """
        return str(self._do("realpath", path))

    def read(self, path: str, *, limit_bytes: int) -> bytes:
        """Read a regular file whole.

        :raises ImageError: it is larger than the limit.
        """
        size = int(self._do("filesize", path))
        if size > limit_bytes:
            raise ImageError(f"{path} in the image is too large: {size} bytes")
        return bytes(self._do("read_file", path))

    def size_bytes(self, path: str) -> int:
        """Return the size of a file."""
        return int(self._do("filesize", path))

    def copy_out(self, path: str, to: Path) -> None:
        """Copy a file of the image to a file of this host."""
        self._do("download", path, str(to))

    def replace(self, path: str, content: bytes) -> None:
        """Give a file another content; its mode, owner and extended attributes stay.

        It is written in place, unless another name leads to the same inode: in ostree that would be
        an object of the repository, which must never change.
        """
        status = self._do("lstatns", path)
        if not stat.S_ISREG(status["st_mode"]):
            raise ImageError(f"{path} in the image is not a regular file")
        if status["st_nlink"] == 1:
            self._do("write", path, content)
            return
        beside = f"{path}.imgprep"
        self._do("cp_a", path, beside)
        self._do("write", beside, content)
        self._do("mv", beside, path)


@contextmanager
def launched(overlay: Path) -> Iterator[Appliance]:
    """Run an appliance on a qcow2 file, and end it in any case.

    :param overlay: it will be written to: mounting alone may replay a journal.
    :raises ImageError: the appliance does not come up, or fails at its end.
    """
    accelerator_ = accelerator()
    with ThreadPoolExecutor(1) as pool:
        machine = _Machine(pool)
        handle = machine.call(_handle, accelerator_)
        try:
            options = {"format": "qcow2", "cachemode": "unsafe"}
            machine.call(handle.add_drive_opts, str(overlay), **options)
            machine.call(handle.launch)
            yield Appliance(machine, handle)
            machine.call(handle.shutdown)
        finally:
            machine.close(handle)


def _kill_qemu() -> None:
    """End our machine, also while it is launched: libguestfs tells its process id only then."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, _, rest = status.read_text().partition(" (")
        except OSError:
            continue  # it ended meanwhile
        name, _, fields = rest.rpartition(") ")
        if name.startswith("qemu") and int(fields.split()[1]) == os.getpid():
            os.kill(int(pid), signal.SIGKILL)


def _handle(accelerator_: Accelerator | None) -> Any:
    """Open a handle; None leaves the choice of accelerator to the user's environment."""
    try:
        import guestfs
    except ImportError as error:
        raise Error(
            "Python's binding of libguestfs is missing",
            hint="install python3-guestfs, run make venv",
        ) from error
    handle = guestfs.GuestFS(python_return_dict=True)
    if "LIBGUESTFS_BACKEND" not in os.environ:
        handle.set_backend("direct")
    if accelerator_ is Accelerator.TCG:
        handle.set_backend_setting("force_tcg", "1")
    if LOG.isEnabledFor(logging.DEBUG):
        handle.set_event_callback(
            lambda _event, _handle, text, _array: LOG.debug("appliance: %s", text.rstrip()),
            guestfs.EVENT_APPLIANCE,
        )
    return handle


def accelerator() -> Accelerator | None:
    """Decide how the appliance's processor runs; None when the user has decided.

    /dev/kvm may be there and open and still run no guest. So KVM is believed only after an
    appliance came up with it, once per boot of this machine.
    """
    if "LIBGUESTFS_BACKEND_SETTINGS" in os.environ:
        return None
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        verdict = Accelerator.TCG
    else:
        verdict = _remembered() or _probed()
    if verdict is Accelerator.TCG:
        LOG.info("no usable KVM here: the appliance is emulated, which takes some seconds longer")
    return verdict


def _verdict_file() -> Path:
    return paths.cache() / "appliance" / "accelerator.json"


def _machine() -> dict[str, str]:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return {"boot_id": boot, "kernel": platform.release()}


def _remembered() -> Accelerator | None:
    try:
        known = json.loads(_verdict_file().read_text())
        verdict = Accelerator(known.pop("accelerator"))
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None  # never asked, or not written by us: ask
    return verdict if known == _machine() else None


def _probed() -> Accelerator:
    LOG.info("trying KVM once ...")
    try:
        command.run(sys.executable, "-m", "imgprep.appliance", timeout_s=PROBE_S)
    except CommandError as error:
        LOG.debug("KVM does not work here: %s", error)
        verdict = Accelerator.TCG
    else:
        verdict = Accelerator.KVM
    durable.write(_verdict_file(), json.dumps({"accelerator": verdict, **_machine()}))
    return verdict


def _probe() -> None:
    """Launch an appliance with KVM: what the child process of :func:`_probed` does."""
    handle = _handle(Accelerator.KVM)
    handle.add_drive_opts("/dev/null", format="raw")
    handle.launch()
    handle.shutdown()
    handle.close()


if __name__ == "__main__":
    _probe()
