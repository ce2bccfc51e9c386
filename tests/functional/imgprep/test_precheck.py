"""Check what qemu-img itself makes, and show what it would do with some of what is refused."""

import hashlib
import subprocess
from pathlib import Path

import pytest
from oslo_utils.imageutils import format_inspector

from atomic_baremetal.errors import CommandError
from imgprep import overlay, precheck
from imgprep.drive import Drive
from imgprep.precheck import ImageError, ImageFormat
from tests.fixtures import image_headers
from tests.fixtures.image_headers import CLUSTER, MIB, VMDK_DESCRIPTOR, Image

SECRET = b"a secret of this host\n".ljust(512, b".")
MADE = {
    "qcow2-v2": ("qcow2", "-o", "compat=0.10"),
    "qcow2-small-clusters": ("qcow2", "-o", "cluster_size=512"),
    "qcow2-large-clusters": ("qcow2", "-o", "cluster_size=2M"),
    "qcow2-lazy": ("qcow2", "-o", "lazy_refcounts=on"),
    "qcow2-narrow-refcounts": ("qcow2", "-o", "refcount_bits=1"),
    "qcow2-zlib": ("qcow2", "-c"),
    "qcow2-zstd": ("qcow2", "-c", "-o", "compression_type=zstd"),
    "vmdk": ("vmdk",),
    "vmdk-stream": ("vmdk", "-o", "subformat=streamOptimized"),
    "vmdk-6": ("vmdk", "-o", "compat6"),
    "vpc": ("vpc", "-o", "force_size=on"),
    "vpc-by-geometry": ("vpc",),
    "vhdx": ("vhdx",),
    "vhdx-fixed": ("vhdx", "-o", "subformat=fixed"),
    "vdi": ("vdi",),
    "vdi-static": ("vdi", "-o", "static=on"),
    "raw-fixed-vhd": ("vpc", "-o", "force_size=on,subformat=fixed"),
}


def qemu_img(*arguments: str | Path) -> str:
    return subprocess.run(
        ["qemu-img", *arguments], check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("disk") / "disk"
    image_headers.raw(size_bytes=8 * MIB).with_part(MIB, b"data" * 5000).write(path)
    return path


@pytest.mark.parametrize("name", MADE)
def test_what_qemu_img_makes_is_read_as_it_was_meant(name: str, disk: Path, tmp_path: Path) -> None:
    image = tmp_path / "image"
    format_, *options = MADE[name]
    qemu_img("convert", "-f", "raw", "-O", format_, *options, disk, image)
    source = precheck.check(image)
    assert source.format == name.partition("-")[0]
    before = hashlib.sha256(image.read_bytes()).hexdigest()
    with overlay.temporary(source) as over:
        qemu_img("convert", "-f", "qcow2", "-O", "raw", over, tmp_path / "back")
    content = disk.read_bytes()
    back = (tmp_path / "back").read_bytes()
    assert back[: len(content)] == content
    assert len(back) == source.virtual_size_bytes
    assert hashlib.sha256(image.read_bytes()).hexdigest() == before


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A disk image of this host."""
    path = tmp_path / "secret"
    image_headers.vmdk().write(path)
    qemu_img("convert", "-f", "vmdk", "-O", "raw", path, tmp_path / "raw")
    (tmp_path / "raw").write_bytes(SECRET * (MIB // len(SECRET)))
    qemu_img("convert", "-f", "raw", "-O", "vmdk", tmp_path / "raw", path)
    return path


def leaks(image: Path, format_: ImageFormat) -> bool:
    qemu_img("convert", "-f", format_, "-O", "raw", image, image.with_suffix(".leak"))
    return SECRET in image.with_suffix(".leak").read_bytes()


def test_a_vmdk_s_parent_is_a_file_of_this_host(secret: Path, tmp_path: Path) -> None:
    """The inspector lets it pass, and qemu reads it: what the check of our own is for."""
    image = tmp_path / "image"
    identity = secret.read_bytes().partition(b"CID=")[2][:8].decode()
    text = VMDK_DESCRIPTOR.replace("ffffffff", identity) + f'parentFileNameHint="{secret}"\n'
    image_headers.vmdk(descriptor=text).write(image)
    inspector = format_inspector.detect_file_format(str(image))
    assert inspector is not None
    inspector.safety_check()
    assert leaks(image, ImageFormat.VMDK)
    with pytest.raises(ImageError) as error:
        precheck.check(image)
    assert str(error.value) == f"{image} is not safe to open: it has a parent file"


def test_so_is_what_a_type_named_twice_hides(secret: Path, tmp_path: Path) -> None:
    (tmp_path / "raw").rename(tmp_path / "neighbour")
    image = tmp_path / "image"
    text = VMDK_DESCRIPTOR.replace(
        'createType="monolithicSparse"', 'CREATETYPE="monolithicSparse"\ncreateType="vmfs"'
    ).replace('SPARSE "disk.vmdk"', 'FLAT "neighbour" 0')
    image_headers.vmdk(descriptor=text, capacity=0).write(image)
    inspector = format_inspector.detect_file_format(str(image))
    assert inspector is not None
    inspector.safety_check()
    assert leaks(image, ImageFormat.VMDK)
    with pytest.raises(ImageError) as error:
        precheck.check(image)
    assert str(error.value) == f"{image} is not safe to open: it has no data of its own"


def pointing(l1: int, l2: int | None = None) -> Image:
    """Write a qcow2 image whose L1 table names one place as its L2 table."""
    image = image_headers.qcow2(file_bytes=5 * CLUSTER).with_part(3 * CLUSTER, l1.to_bytes(8))
    return image if l2 is None else image.with_part(4 * CLUSTER, l2.to_bytes(8))


COPIED = 1 << 63
CORRUPT = (
    "qemu-img failed with status 1: qcow2: Image is corrupt: {}; further non-fatal corruption"
    " events will be suppressed; qemu-img: error while reading at byte 0: Input/output error"
)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (pointing(COPIED | 512), "L2 table offset 0x200 unaligned (L1 index: 0)"),
        (
            pointing(COPIED | 4 * CLUSTER, COPIED | 512),
            "Cluster allocation offset 0x200 unaligned (L2 offset: 0x40000, L2 index: 0)",
        ),
    ],
    ids=["tables", "data"],
)
def test_what_only_qemu_finds_is_an_error_too(image: Image, said: str, tmp_path: Path) -> None:
    """Its header is good, and so it comes to qemu-img, which reads the tables; not to a guest."""
    path = tmp_path / "image"
    image.write(path)
    before = path.read_bytes()
    source = precheck.check(path)
    with overlay.temporary(source) as over, pytest.raises(CommandError) as error:
        Drive.of(over)
    assert str(error.value) == CORRUPT.format(said)
    assert path.read_bytes() == before  # qemu would mark it as corrupt, were it allowed to write


def test_tables_beyond_the_file_are_zeros(tmp_path: Path) -> None:
    path = tmp_path / "image"
    pointing(COPIED | (1 << 55)).write(path)
    with overlay.temporary(precheck.check(path)) as over:
        assert Drive.of(over).table is None
