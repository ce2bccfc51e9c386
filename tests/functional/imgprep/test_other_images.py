"""Refuse by name what cannot be taken apart; take one disk apart in each format it comes in."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from atomic_baremetal.errors import Error
from imgprep import convert, luks
from imgprep.bundle import Bundle
from imgprep.convert import Request
from tests.fixtures import layouts
from tests.fixtures.layouts import LAYOUTS, REFUSED
from tests.functional.imgprep.conftest import imgprep

WHOLE = "deploy it as a whole disk, with Ironic's deploy interface `direct`"
SEALED = f"kernel, ramdisk and arguments are sealed in it and cannot be taken apart; {WHOLE}"
NO_KERNEL = REFUSED["no-kernel"].system.deployed[0]
SAID = {
    "not-ostree": "no ostree in this image (no file system of it holds /ostree/repo and"
    f" /ostree/deploy; {WHOLE})",
    "composefs": "this image is deployed with composefs alone (bootc), without ostree (its root is"
    f" put together from an object store by its own initramfs; {WHOLE})",
    "sealed": f"this image boots a unified kernel image (UKI): '/EFI/Linux/os-1.efi' ({SEALED})",
    "sealed-entry": "this image boots a unified kernel image (UKI): '/EFI/Linux/os.efi'"
    f" ({SEALED})",
    "no-entries": f"no boot entry in this image has an ostree= argument ({WHOLE})",
    "two-roots": "several roots in this image: partition 2, partition 3"
    " (one ostree root is handled)",
    "no-kernel": f"boot entry ostree-1.conf names /{NO_KERNEL.directory}/vmlinuz-6.1.0-test, which"
    " is not in the image (nor does the deployment hold one:"
    f" /{NO_KERNEL.path}/usr/lib/modules/6.1.0-test/vmlinuz)",
    "edge-luks": "partition 3 is encrypted (LUKS) (give its key: --key /dev/sda3:file:FILE)",
    "luks-plain": "partition 2 is encrypted (LUKS), and the key given does not open it",
}
KEYS = {"edge-luks": ["/dev/sda2:key:of another one"], "luks-plain": ["all:key:not this one"]}
ENCRYPTED = ("edge-luks", "luks-plain")
FORMATS = {
    "raw": ("raw", ()),
    "qcow2": ("qcow2", ()),
    "compressed.qcow2": ("qcow2", ("-c",)),
    "zstd.qcow2": ("qcow2", ("-c", "-o", "compression_type=zstd")),
    "vmdk": ("vmdk", ()),
    "stream.vmdk": ("vmdk", ("-o", "subformat=streamOptimized")),
    "vhd": ("vpc", ("-o", "force_size=on")),
    "fixed.vhd": ("vpc", ("-o", "force_size=on,subformat=fixed")),
    "vhdx": ("vhdx", ()),
    "vdi": ("vdi", ()),
}
AS_RAW = ("fixed.vhd",)  # is one, with a footer behind it
PLAIN = LAYOUTS["bootc"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What became of each image, by its name or by its ending."""

    refused: dict[str, Bundle | Error]
    formats: dict[str, Bundle | Error]
    left: list[str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Convert all of them in one appliance."""
    images, place = layouts.images(), tmp_path_factory.mktemp("other")
    out = place / "out"
    out.mkdir()
    requests = [
        Request(
            image=images / f"{name}.qcow2",
            directory=out / name,
            keys=[luks.parse(key) for key in KEYS.get(name, ())],
        )
        for name in SAID
    ]
    for ending, (format_, options) in FORMATS.items():
        image = place / f"image.{ending}"
        argv = ["qemu-img", "convert", "-f", "qcow2", "-O", format_, *options]
        subprocess.run([*argv, images / f"{PLAIN.name}.qcow2", image], check=True)
        requests.append(Request(image=image, name="x", directory=out / ending))
    found = convert.convert_all(requests)
    left = sorted(path.name for path in out.iterdir())
    return Made(
        refused=dict(zip(SAID, found, strict=False)),
        formats=dict(zip(FORMATS, found[len(SAID) :], strict=True)),
        left=left,
    )


@pytest.mark.parametrize("name", SAID)
def test_what_is_refused(name: str, made: Made) -> None:
    error = made.refused[name]
    assert isinstance(error, Error)
    assert str(error) == SAID[name]


def test_what_is_refused_leaves_nothing_behind(made: Made) -> None:
    assert made.left == sorted(FORMATS)


@pytest.mark.parametrize("ending", FORMATS)
def test_a_format(ending: str, made: Made, tmp_path: Path) -> None:
    bundle = made.formats[ending]
    assert isinstance(bundle, Bundle), bundle
    one = PLAIN.system.deployed[0]
    manifest = bundle.manifest
    assert manifest.source.format == ("raw" if ending in AS_RAW else FORMATS[ending][0])
    assert bundle.path(manifest.kernel).read_bytes() == one.kernel
    assert bundle.path(manifest.ramdisk).read_bytes() == one.ramdisk(0)
    # nothing is edited, so that the base is the partition
    whole, base = tmp_path / "whole", tmp_path / "base"
    for image, raw in (
        (layouts.images() / f"{PLAIN.name}.qcow2", whole),
        (bundle.path(manifest.base), base),
    ):
        subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, raw], check=True)
    extent = PLAIN.extents[PLAIN.root]
    with whole.open("rb") as file:
        file.seek(extent.start_mib << 20)
        assert base.read_bytes() == file.read(extent.size_mib << 20)


def test_a_key_on_the_command_line(tmp_path: Path) -> None:
    """One image alone in its appliance, where LVM is found inside of what the key opens."""
    key = tmp_path / "passphrase"
    key.write_text(f"{layouts.PASSPHRASE}\n")
    layout = LAYOUTS["edge-luks"]
    done = imgprep(
        *("--debug", "inspect", layouts.images() / "edge-luks.qcow2"),
        *("--key", f"/dev/sda3:file:{key}", "-f", "json"),
        directory=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["root"] == {
        "partition": 3,
        "content": "luks",
        "filesystem": "ext4",
        "device": "/dev/mapper/rootvg-rootlv",
    }
    [deployment] = told["deployments"]
    assert deployment["checksum"] == layout.system.deployed[0].checksum
    assert layouts.PASSPHRASE not in done.stderr
