"""Put the deploy ramdisk where Ironic takes it from."""

import logging
import shutil
from pathlib import Path

from atomic_baremetal.durable import write
from provision.lab.model import Lab, LabError

LOG = logging.getLogger(__name__)
KERNEL = "ironic-python-agent.kernel"
RAMDISK = "ironic-python-agent.initramfs"


def find(given: Path | None) -> Path:
    """Return the directory of the deploy ramdisk.

    :param given: the operator's own, with kernel and ramdisk; None builds ours unless it is built.
    :raises LabError: the given directory does not hold both.
    :raises Error: ours could not be built.
    """
    if given:
        return _check(given)
    # its builder brings diskimage-builder along, which not every command needs
    from provision.lab.build import ramdisk

    return ramdisk()


def place(lab: Lab, source: Path) -> Path:
    """Copy kernel and ramdisk into the lab, if they are not the ones there; return the kernel."""
    mark = lab.directory / "ramdisk"
    files = [source / KERNEL, source / RAMDISK]
    now = "".join(f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}\n" for file in files)
    if not mark.exists() or mark.read_text() != now:
        mark.unlink(missing_ok=True)
        for file in files:
            # a copy, not a link: nothing done to the lab's own can reach what is cached
            beside = lab.http_root / f".{file.name}"
            shutil.copyfile(file, beside)
            beside.replace(lab.http_root / file.name)
        write(mark, now)
    return lab.http_root / KERNEL


def _check(directory: Path) -> Path:
    missing = [name for name in (KERNEL, RAMDISK) if not (directory / name).is_file()]
    if missing:
        raise LabError(
            f"no deploy ramdisk in {directory}: {' and '.join(missing)} missing",
            hint="--ramdisk and ATOMIC_RAMDISK_DIR name a directory with both; else ours is built",
        )
    return directory.resolve()
