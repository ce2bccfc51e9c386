"""Put a temporary qcow2 overlay between an image and whoever opens it.

The image is then only read. libguestfs must not be asked to do this itself (`readonly=True`):
version 1.48 makes an overlay whose outer node has no format, so that qemu believes a header which
the *guest* wrote into its disk, and reads the file of this host that the header names.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imgprep import qemu_img
from imgprep.precheck import Source


@contextmanager
def overlay(source: Source, *, directory: Path | None = None) -> Iterator[Path]:
    """Make an overlay for an image and remove it in the end, whatever happens.

    :param directory: where to; None makes a temporary one.
    """
    with tempfile.TemporaryDirectory(prefix="imgprep-", dir=directory) as temporary:
        path = Path(temporary).absolute() / "overlay.qcow2"
        qemu_img.create_overlay(path, of=source.path, of_format=source.format)
        yield path
