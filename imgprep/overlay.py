"""Put a temporary qcow2 overlay between an image and whoever opens it.

The image is then only read. libguestfs must not be asked to do this itself (`readonly=True`):
version 1.48 makes an overlay whose outer node has no format, so that qemu believes a header which
the *guest* wrote into its disk, and reads the file of this host that the header names.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imgprep import qemu_img, workplace
from imgprep.precheck import Source


def make(source: Source, *, directory: Path) -> Path:
    """Make an overlay for an image in a workplace, which removes it in the end."""
    path = directory / "overlay.qcow2"
    qemu_img.create_overlay(path, of=source.path, of_format=source.format)
    return path


@contextmanager
def temporary(source: Source) -> Iterator[Path]:
    """Make an overlay for an image among the temporary files and remove it in the end."""
    with workplace.temporary() as directory:
        yield make(source, directory=directory)
