"""Launch libguestfs' appliance on disks, and end it. The only module that imports guestfs."""

import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from atomic_baremetal.errors import Error
from imgprep import unpacked_kernel, workplace
from imgprep.accelerator import Accelerator, accelerator
from imgprep.appliance import Appliance
from imgprep.drive import Drive
from imgprep.machine import Machine
from imgprep.precheck import ImageError

LOG = logging.getLogger(__name__)
DISKS = [f"/dev/sd{letter}" for letter in "abcdefghijklmnopqrstuvwxy"]  # z is the appliance's own


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
    accelerator_ = accelerator()
    with workplace.temporary() as scratch, ThreadPoolExecutor(1) as pool:
        machine = Machine(pool)
        handle = _up(machine, accelerator_, drives, scratch)
        try:
            alone = len(drives) == 1
            yield [
                Appliance(machine, handle, drive, disk, alone=alone)
                for drive, disk in zip(drives, DISKS, strict=False)
            ]
            machine.call(handle.shutdown)
        finally:
            machine.close(handle)


def _up(
    machine: Machine, accelerator_: Accelerator | None, drives: Sequence[Drive], scratch: Path
) -> Any:
    """Launch an appliance on disks and return its handle, which the caller closes."""
    settings = os.environ.get("LIBGUESTFS_BACKEND_SETTINGS", "")
    emulated = accelerator_ is Accelerator.TCG or "force_tcg" in settings
    unpacked = emulated and "LIBGUESTFS_HV" not in os.environ
    while True:
        handle = machine.call(_handle, accelerator_)
        try:
            # what it leaves when we are killed goes with that workplace; those of the images go as
            # soon as one of them is refused
            machine.call(handle.set_tmpdir, str(scratch))
            for drive in drives:
                machine.call(
                    handle.add_drive_opts,
                    str(drive.overlay),
                    format="qcow2",
                    cachemode="unsafe",
                    blocksize=drive.sector_size_bytes,
                )
            if unpacked:
                cached = Path(handle.get_cachedir(), f".guestfs-{os.geteuid()}", "appliance.d")
                with unpacked_kernel.wrapper(cached / "kernel", handle.get_hv()) as script:
                    if script is not None:
                        machine.call(handle.set_hv, str(script))
                    machine.call(handle.launch)
            else:
                machine.call(handle.launch)
            return handle
        except ImageError as error:
            machine.close(handle)
            if not unpacked:
                raise
            LOG.info("once more, with the appliance's own kernel: %s", error)
            unpacked = False
        except BaseException:
            machine.close(handle)
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
