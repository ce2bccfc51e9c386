"""Launch libguestfs' appliance on disks, and end it. The only module that imports guestfs."""

import logging
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from atomic_baremetal.errors import Error
from imgprep import hypervisor, saved_appliance, workplace
from imgprep.accelerator import Accelerator, accelerator
from imgprep.appliance import Appliance
from imgprep.drive import Drive
from imgprep.machine import Machine
from imgprep.precheck import ImageError

LOG = logging.getLogger(__name__)
SHELL_S = 120.0
DISKS = [f"/dev/sd{letter}" for letter in "abcdefghijklmnopqrstuvwxy"]  # z is the appliance's own


class Disk(NamedTuple):
    """A file that an appliance has as a disk."""

    path: Path
    format: str
    sector_size_bytes: int


@contextmanager
def launched(overlay: Path) -> Iterator[Appliance]:
    """Run an appliance on a qcow2 file, and end it in any case.

    :param overlay: it will be written to.
    :raises ImageError: the appliance does not come up, or fails at its end.
    """
    with shared([Drive.of(overlay)]) as [appliance]:
        yield appliance


@contextmanager
def shared(drives: Sequence[Drive]) -> Iterator[list[Appliance]]:
    """Run one appliance on several disks, and end it in any case; work on one disk after the other.

    :param drives: as many as there are :data:`DISKS` at most.
    :raises ImageError: the appliance does not come up, or fails at its end.
    """
    with workplace.temporary() as scratch, ThreadPoolExecutor(1) as pool:
        launcher = _Launcher(Machine(pool), scratch)
        handle = launcher.up(drives)
        try:
            yield [
                Appliance(launcher.machine, handle, drive, disk, alone=len(drives) == 1)
                for drive, disk in zip(drives, DISKS, strict=False)
            ]
            launcher.machine.call(handle.shutdown)
        finally:
            launcher.machine.close(handle)


class _Launcher:
    """Launch an appliance, in the fastest way that works here."""

    def __init__(self, machine: Machine, scratch: Path) -> None:
        self.machine = machine
        self._scratch = scratch
        self._accelerator = accelerator()

    def up(self, drives: Sequence[Drive]) -> Any:
        """Launch one on disks, and return its handle, which the caller closes."""
        disks = [Disk(drive.overlay, "qcow2", drive.sector_size_bytes) for drive in drives]
        settings = os.environ.get("LIBGUESTFS_BACKEND_SETTINGS", "")
        emulated = self._accelerator is Accelerator.TCG or "force_tcg" in settings
        if not emulated or "LIBGUESTFS_HV" in os.environ:
            return self._started(disks)
        if len(disks) > 1:
            return self._booted(disks)
        saved = saved_appliance.place(sector_size_bytes=drives[0].sector_size_bytes)
        was_there = saved.exists()
        try:
            return self._resumed(disks[0], saved)
        except (Error, OSError) as error:
            LOG.info("once more, from its boot: %s", error)
        handle = self._booted(disks)
        if was_there:  # and the disk is not to blame
            saved_appliance.discard(saved)
        return handle

    def _booted(self, disks: Sequence[Disk]) -> Any:
        try:
            return self._started(disks, faster=True)
        except (Error, OSError) as error:
            LOG.info("once more, with the appliance's own kernel: %s", error)
            return self._started(disks)

    def _resumed(self, disk: Disk, saved: Path) -> Any:
        if not saved.exists():
            self._save(disk, saved)
        handle = self._started([disk], faster=True, resuming=saved)
        with self._closed_on_failure(handle):
            look = saved_appliance.LOOK_ANEW.format(now=time.time())
            self.machine.call_within(SHELL_S, handle.debug, "sh", [look])
        LOG.info("the appliance has not booted: a saved one goes on")
        return handle

    def _save(self, disk: Disk, place: Path) -> None:
        """Save an appliance for such a disk."""
        with saved_appliance.new(place) as directory:
            LOG.info("saving the appliance as it is when it has booted, for this and later runs")
            empty = disk._replace(path=saved_appliance.empty_disk(directory), format="raw")
            handle = self._started([empty], faster=True, saving=directory)
            try:
                self.machine.call_within(SHELL_S, handle.debug, "sh", [saved_appliance.GET_READY])
                saved_appliance.save(directory)
            finally:
                self.machine.close(handle)

    def _started(
        self,
        disks: Sequence[Disk],
        *,
        faster: bool = False,
        saving: Path | None = None,
        resuming: Path | None = None,
    ) -> Any:
        """Launch, faster: with qemu started our way."""
        handle = self.machine.call(_handle, self._accelerator)
        with self._closed_on_failure(handle):
            # what it leaves when we are killed goes with that workplace; those of the images go as
            # soon as one of them is refused
            self.machine.call(handle.set_tmpdir, str(self._scratch))
            for disk in disks:
                self.machine.call(
                    handle.add_drive_opts,
                    str(disk.path),
                    format=disk.format,
                    cachemode="unsafe",
                    blocksize=disk.sector_size_bytes,
                )
            if faster:
                cached = Path(handle.get_cachedir(), f".guestfs-{os.geteuid()}", "appliance.d")
                qemu = handle.get_hv()
                with hypervisor.instead_of(qemu, cached, saving=saving, resuming=resuming) as hv:
                    if hv is not None:
                        self.machine.call(handle.set_hv, str(hv))
                    elif saving or resuming:
                        raise ImageError("the appliance has not been built yet")
                    self.machine.call(handle.launch)
            else:
                self.machine.call(handle.launch)
        return handle

    @contextmanager
    def _closed_on_failure(self, handle: Any) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.machine.close(handle)
            raise


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


def _probe() -> None:
    """Launch an appliance with KVM: what the child process that imgprep.accelerator starts does."""
    handle = _handle(Accelerator.KVM)
    handle.add_drive_opts("/dev/null", format="raw")
    handle.launch()
    handle.shutdown()
    handle.close()


if __name__ == "__main__":
    _probe()
