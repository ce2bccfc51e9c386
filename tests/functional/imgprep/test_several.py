"""Convert several images in one session of one appliance."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest

from atomic_baremetal.errors import Error
from imgprep import base, bundle, convert, session
from imgprep.bundle import Bundle
from imgprep.drive import Drive
from imgprep.precheck import ImageError, ImageFormat
from tests.fixtures.make_atomic_image import SAMPLES
from tests.functional.imgprep.conftest import extract_by_2014, sha256_of, write_empty_disk


def test_each_gets_its_own_though_they_share_every_name(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two copies of one image: the same volume group, the same UUIDs. And one without ostree.

    The copy that is begun ahead is of the wrong partition.
    """
    monkeypatch.setattr(base, "likely", lambda table: table.extents[0])
    twin, empty = tmp_path / "twin.qcow2", tmp_path / "empty.raw"
    shutil.copy(image, twin)
    write_empty_disk(empty)
    raw = ImageFormat.RAW
    first, second, third = convert.convert_all(
        [
            convert.Request(image=image, directory=tmp_path / "first", name="x"),
            convert.Request(image=empty, directory=tmp_path / "second"),
            convert.Request(
                image=twin, directory=tmp_path / "third", name="x", index=1, base_format=raw
            ),
        ]
    )
    assert isinstance(first, Bundle) and isinstance(third, Bundle) and isinstance(second, Error)
    assert str(second) == (
        "no ostree in this image (no file system of it holds /ostree/repo and /ostree/deploy;"
        " deploy it as a whole disk, with Ironic's deploy interface `direct`)"
    )
    assert {path.name for path in tmp_path.iterdir()} == {
        *("first", "third", "twin.qcow2", "empty.raw")
    }
    for made, sample in ((first, SAMPLES[0]), (third, SAMPLES[1])):
        bundle.verify(bundle.load(made.directory))
        assert made.path(made.manifest.kernel).read_bytes() == sample.kernel
        assert made.path(made.manifest.ramdisk).read_bytes() == b"".join(sample.ramdisks)
        assert made.manifest.kernel_cmdline == sample.cmdline
    # the older deployment's fstab has nothing to take out: what was done to the twin's twin is not
    # in it
    extract_by_2014(twin, tmp_path / "partition")
    assert third.manifest.base.sha256 == sha256_of(tmp_path / "partition")
    first_base, third_base = tmp_path / "first.raw", third.path(third.manifest.base)
    argv = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", first.path(first.manifest.base)]
    subprocess.run([*argv, first_base], check=True)
    assert first_base.stat().st_size == third_base.stat().st_size
    with first_base.open("rb") as one, third_base.open("rb") as other:
        blocks = iter(lambda: (one.read(4096), other.read(4096)), (b"", b""))
        # the edit, and the 2 MiB of its journal that XFS clears at each mount
        assert 0 < sum(left != right for left, right in blocks) < 600


def test_more_than_one_appliance_takes_are_put_into_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None is launched: each is as good as one that does not come up."""
    disks = []

    def shared(drives: Sequence[Drive]) -> NoReturn:
        disks.append(len(drives))
        raise ImageError(f"appliance {len(disks)} does not start")

    monkeypatch.setattr(session, "shared", shared)
    write_empty_disk(tmp_path / "empty.raw")
    made = convert.convert_all(
        [
            convert.Request(image=tmp_path / "empty.raw", directory=tmp_path / f"{number}")
            for number in range(27)
        ]
    )
    assert disks == [25, 2]
    assert [str(one) for one in made] == ["appliance 1 does not start"] * 25 + [
        "appliance 2 does not start"
    ] * 2
    assert [path.name for path in tmp_path.iterdir()] == ["empty.raw"]
