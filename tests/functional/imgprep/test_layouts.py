"""Take a disk of each layout apart and hold every part against what its maker wrote."""

import json
import logging
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from imgprep import inspect, luks, precheck
from imgprep.bundle import Bundle
from imgprep.convert import Request
from imgprep.inspect import Inspection
from tests.fixtures import layouts, made_again
from tests.fixtures.layouts import LAYOUTS, Fs, Layout, Luks, Lvm
from tests.fixtures.made_again import Found
from tests.fixtures.partition_tables import MIB

BLOCK = 4096
# What an edit of one file may change: XFS clears 2 MiB of its journal at each mount, btrfs writes
# its trees anew. Which files differ is told by their names and contents.
EDIT_BYTES = 5 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of a layout.

    :param base: the bundle's base as raw bytes.
    :param partition: the same bytes of the source, cut out of the whole disk.
    :param files: on the root of the base, by path.
    """

    layout: Layout
    bundle: Bundle
    inspection: Inspection
    base: Path
    partition: Path
    files: dict[str, Found]


def request_for(name: str, image: Path, directory: Path, **more: Any) -> Request:
    keys = [luks.parse(key) for key in LAYOUTS[name].keys]
    return Request(image=image, name=name, directory=directory, keys=keys, **more)


@pytest.fixture(scope="module")
def images() -> Path:
    return layouts.images()


class Said(logging.Handler):
    """Keep all that is logged."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture(scope="module")
def said() -> Iterator[Said]:
    """Log all that there is, as --debug does."""
    root, handler = logging.getLogger(), Said()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.setLevel(level)
    root.removeHandler(handler)


@pytest.fixture(scope="module")
def taken(images: Path, said: Said, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Taken]:
    """Convert all layouts, and read all bases back in an appliance of our own."""
    place = tmp_path_factory.mktemp("layouts")
    looks: dict[str, Inspection] = {}
    original = inspect.look

    def spy(*arguments: Any, **options: Any) -> Inspection:
        found = original(*arguments, **options)
        looks[found.source.path.stem] = found
        return found

    requests = [request_for(name, images / f"{name}.qcow2", place / name) for name in LAYOUTS]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inspect, "look", spy)
        bundles = made_again.convert_all(requests)
    bases = {made.manifest.name: as_raw(made, place) for made in bundles}
    files = made_again.files_of(bases, place)
    return {
        made.manifest.name: Taken(
            layout=LAYOUTS[made.manifest.name],
            bundle=made,
            inspection=looks[made.manifest.name],
            base=bases[made.manifest.name],
            partition=cut_out(images, LAYOUTS[made.manifest.name], place),
            files=files[made.manifest.name],
        )
        for made in bundles
    }


def as_raw(made: Bundle, place: Path) -> Path:
    return to_raw(made.path(made.manifest.base), place / f"{made.manifest.name}.base")


def to_raw(image: Path, raw: Path) -> Path:
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, raw], check=True)
    return raw


def cut_out(images: Path, layout: Layout, place: Path) -> Path:
    """Cut the root partition out of a disk, at the place where its maker put it."""
    whole = to_raw(images / f"{layout.name}.qcow2", place / "whole")
    extent = layout.extents[layout.root]
    partition = place / f"{layout.name}.partition"
    argv = ["dd", f"if={whole}", f"of={partition}", "bs=1M", "conv=sparse", "status=none"]
    subprocess.run([*argv, f"skip={extent.start_mib}", f"count={extent.size_mib}"], check=True)
    whole.unlink()
    return partition


def differing(one: Path, other: Path) -> int:
    """Count the blocks that differ between two files of one size."""
    assert one.stat().st_size == other.stat().st_size
    blocks = 0
    with one.open("rb") as mine, other.open("rb") as theirs:
        while chunk := mine.read(MIB):
            against = theirs.read(MIB)
            if chunk != against:
                blocks += sum(
                    chunk[at : at + BLOCK] != against[at : at + BLOCK]
                    for at in range(0, MIB, BLOCK)
                )
    return blocks


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout(name: str, taken: dict[str, Taken]) -> None:
    one = taken[name]
    layout, bundle = one.layout, one.bundle
    default = layout.system.deployed[0]
    looked_into(one)
    manifest = json.loads((bundle.directory / f"{name}.json").read_text())
    assert (bundle.directory / f"{name}-kernel").read_bytes() == default.kernel
    assert (bundle.directory / f"{name}-ramdisk").read_bytes() == b"".join(
        default.ramdisk(number) for number in range(max(1, default.ramdisks))
    )
    assert manifest["kernel_cmdline"] == layout.system.cmdline(default)
    assert manifest["deployment"] == {
        "stateroot": default.stateroot,
        "checksum": default.checksum,
        "serial": default.serial,
        "bootcsum": default.bootcsum,
        "kernel_version": default.kernel_version,
    }
    # each file of the base is as its maker wrote it, but for the mounts at /boot in the fstab
    expected = made_again.expected(layout)
    if default.fstab is not None:
        assert expected[f"{default.path}/etc/fstab"].content == default.fstab
        expected[f"{default.path}/etc/fstab"].content = default.kept
    assert one.files == expected
    blocks = differing(one.base, one.partition)
    if default.fstab == default.kept:
        assert blocks == 0
    else:
        assert 0 < blocks <= EDIT_BYTES // BLOCK


@pytest.mark.parametrize("name", ["atomic-hyphens", "edge-luks", "btrfs", "coreos-4k"])
def test_alone_in_an_appliance_it_is_the_same(
    name: str, taken: dict[str, Taken], images: Path
) -> None:
    """Such an appliance was saved when it had booted, and has looked at the disk since."""
    keys = [luks.parse(key) for key in LAYOUTS[name].keys]
    alone = inspect.inspect(precheck.check(images / f"{name}.qcow2"), keys=keys)
    assert inspect.to_json(alone) == inspect.to_json(taken[name].inspection)


def test_what_is_said(taken: dict[str, Taken], said: Said) -> None:
    """What could not be kept is; a key never is, whatever is logged."""
    text = "\n".join(said.lines)
    tree = LAYOUTS["kernel-in-tree"].system.deployed[0]
    modules = f"/{tree.path}/usr/lib/modules/{tree.kernel_version}"
    for line in (
        "left out of the kernel arguments, a boot loader variable: $ignition_firstboot",
        "left out of the kernel arguments, a boot loader variable: x=${y}",
        "the bundle holds no device tree, as the entry has: /ostree/dtb/board.dtb",
        "the kernel arguments name no root=: the ramdisk has to find it by itself",
        f"boot entry ostree-1.conf names /{tree.directory}/vmlinuz-{tree.kernel_version}, which is"
        f" not in the image; taken instead: {modules}/vmlinuz",
    ):
        assert line in said.lines
    assert "appliance: " in text  # what the appliance itself writes
    assert layouts.PASSPHRASE not in text
    assert len(taken) == len(LAYOUTS) >= 20


def looked_into(one: Taken) -> None:
    """Check what `imgprep inspect` prints of a layout."""
    layout, told = one.layout, inspect.to_json(one.inspection)
    base = layout.extents[layout.root]
    assert told["sector_size_bytes"] == layout.sector_bytes
    assert told["partition_table"] == layout.table
    there = {part["number"]: part for part in told["partitions"]}
    for part, extent in zip(layout.parts, layout.extents, strict=True):
        assert there[extent.number] == {
            "number": extent.number,
            "start_bytes": extent.start_mib * MIB,
            "size_bytes": extent.size_mib * MIB,
            "content": content_of(part.content),
        }
    boot = layout.extents[layout.boot].number if layout.boot is not None else None
    assert told["boot"]["partition"] == boot
    assert told["root"]["partition"] == base.number
    uuid = layouts.uuid_of(layout.name, "root")
    if root_kind(layout) != "btrfs":
        assert told["root"]["device"] == (layout.device or f"/dev/disk/by-uuid/{uuid}")
    assert told["root"]["filesystem"] == root_kind(layout)
    content = layout.parts[layout.root].content
    words = {Lvm: "lvm2-pv", Luks: "luks", Fs: "filesystem"}
    assert told["root"]["content"] == words[type(content)]
    assert [
        (found["checksum"], found["kernel_cmdline"], found["default"])
        for found in told["deployments"]
    ] == [
        (wanted.checksum, layout.system.cmdline(wanted), wanted is layout.system.deployed[0])
        for wanted in layout.system.deployed
    ]


def content_of(content: Fs | Lvm | Luks | None) -> str:
    if isinstance(content, Lvm):
        return "lvm2-pv"
    if isinstance(content, Luks):
        return "luks"
    kind = content.kind if content else ""
    return kind if kind in ("ext4", "xfs", "btrfs", "vfat") else "unknown"


def root_kind(layout: Layout) -> str:
    return next(fs.kind for fs in made_again.file_systems(layout) if fs.holds == "root")
