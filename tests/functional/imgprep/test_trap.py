"""Show that no file of this host is read for a disk that claims to be an overlay of it.

libguestfs' `readonly=True` puts an overlay of its own on top, whose outer node has no format. qemu
then believes what the *guest's* sector 0 holds. Ours is made by qemu-img, with its format named.
"""

import subprocess
from pathlib import Path

import guestfs
import pytest

from imgprep import overlay, precheck, session
from imgprep.accelerator import Accelerator, accelerator
from imgprep.precheck import ImageFormat
from tests.fixtures import image_headers
from tests.fixtures.image_headers import MIB

SECRET = b"a secret of this host\n".ljust(512, b".")


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("host") / "secret"
    path.write_bytes(SECRET * (MIB // len(SECRET)))
    return path


@pytest.fixture(scope="module")
def disk(secret: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What the guest wrote: the header of an overlay of the secret, and a partition table."""
    header = image_headers.qcow2(
        size_bytes=MIB, extensions=image_headers.qcow2_extension(0xE2792ACA, b"raw")
    ).parts[0]
    name = str(secret).encode()
    at = 160
    header = header.ljust(at, b"\0") + name
    header = header[:8] + at.to_bytes(8) + len(name).to_bytes(4) + header[20:]
    assert len(header) < 446
    path = tmp_path_factory.mktemp("guest") / "disk"
    image_headers.raw(code=header).write(path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def trap(disk: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image with nothing wrong in its own header, which holds that disk."""
    place = tmp_path_factory.mktemp("trap")
    (place / "raw").write_bytes(disk)
    argv = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", place / "raw", place / "trap.qcow2"]
    subprocess.run(argv, check=True)
    return place / "trap.qcow2"


def test_the_trap_is_set(trap: Path) -> None:
    """Without this control, the test below could not fail."""
    handle = guestfs.GuestFS()
    handle.set_backend("direct")
    if accelerator() is Accelerator.TCG:
        handle.set_backend_setting("force_tcg", "1")
    handle.add_drive_opts(str(trap), readonly=True, format="qcow2")
    handle.launch()
    try:
        assert handle.pread_device("/dev/sda", len(SECRET), 0) == SECRET
    finally:
        handle.close()


def test_our_overlay_shows_what_the_guest_wrote(trap: Path, disk: bytes) -> None:
    source = precheck.check(trap)
    assert source.format is ImageFormat.QCOW2
    with overlay.temporary(source) as over, session.launched(over) as guest:
        assert guest._do("pread_device", "/dev/sda", 512, 0) == disk[:512]
        assert guest.partition_table() == "mbr"


def test_as_a_raw_image_it_is_refused(disk: bytes, tmp_path: Path) -> None:
    path = tmp_path / "disk.raw"
    path.write_bytes(disk)
    with pytest.raises(precheck.ImageError) as error:
        precheck.check(path)
    assert str(error.value) == (
        f"{path} looks like two formats at once: raw with a partition table, qcow2"
    )
