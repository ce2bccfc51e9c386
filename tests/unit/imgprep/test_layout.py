from dataclasses import replace

import pytest

from imgprep import layout
from imgprep.layout import Content, Layout, Menu, Signs, Volume
from imgprep.precheck import ImageError

BOOT = Volume(device="/dev/sda1", partition=1, filesystem=Content.EXT4)
ROOT = Volume(
    device="/dev/atomicos/root",
    partition=2,
    filesystem=Content.XFS,
    group="atomicos",
    logical_volume="root",
)
PLAIN = Volume(device="/dev/sda4", partition=4, filesystem=Content.XFS)


def signs(volume: Volume, of: str = "") -> Signs:
    """`r`: an ostree repository, `e`: boot entries at the top, `g`: a grub.cfg there, `b`: boot
    entries in /boot, `c`: composefs."""
    at_top = [menu for sign, menu in (("e", Menu.ENTRIES), ("g", Menu.GRUB2)) if sign in of]
    return Signs(
        volume=volume,
        repository="r" in of,
        menus_at_top=tuple(at_top),
        menus_in_boot=(Menu.ENTRIES,) if "b" in of else (),
        composefs="c" in of,
    )


def layouts(root: Volume, boot: Volume | None, *menus: Menu) -> list[Layout]:
    return [Layout(root=root, boot=boot, menus=menus)]


A, B = (replace(PLAIN, filesystem=Content.BTRFS, subvolume=name) for name in ("a", "b/snapshot"))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([signs(BOOT, "e"), signs(ROOT, "r")], layouts(ROOT, BOOT, Menu.ENTRIES)),
        ([signs(BOOT, "e"), signs(PLAIN, "r")], layouts(PLAIN, BOOT, Menu.ENTRIES)),
        ([signs(BOOT), signs(ROOT, "rb")], layouts(ROOT, None, Menu.ENTRIES)),
        ([signs(BOOT, "e"), signs(ROOT, "rb")], layouts(ROOT, None, Menu.ENTRIES)),
        ([signs(BOOT, "g"), signs(ROOT, "r")], layouts(ROOT, BOOT, Menu.GRUB2)),
        # entries go before a boot loader's own file
        (
            [signs(BOOT, "g"), signs(PLAIN, "e"), signs(ROOT, "r")],
            layouts(ROOT, PLAIN, Menu.ENTRIES),
        ),
        # whoever asks goes on to look for a unified kernel image
        ([signs(BOOT), signs(ROOT, "r")], layouts(ROOT, None)),
        # a snapshot of the root is one, too
        (
            [signs(BOOT, "e"), signs(A, "r"), signs(B, "r")],
            layouts(A, BOOT, Menu.ENTRIES) + layouts(B, BOOT, Menu.ENTRIES),
        ),
        (
            [signs(A, "rb"), signs(B, "rb")],
            layouts(A, None, Menu.ENTRIES) + layouts(B, None, Menu.ENTRIES),
        ),
    ],
)
def test_root_and_boot(found: list[Signs], expected: list[Layout]) -> None:
    assert layout.candidates(found) == expected


SPANNING = Volume(
    device="/dev/v/r",
    partition=2,
    filesystem=Content.XFS,
    group="v",
    logical_volume="r",
    spans=True,
)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            [],
            "no ostree in this image (no file system of it holds /ostree/repo and /ostree/deploy;"
            " deploy it as a whole disk, with Ironic's deploy interface `direct`)",
        ),
        (
            [signs(BOOT), signs(PLAIN, "c")],
            "this image is deployed with composefs alone (bootc), without ostree"
            " (its root is put together from an object store by its own initramfs;"
            " deploy it as a whole disk, with Ironic's deploy interface `direct`)",
        ),
        (
            [signs(ROOT, "r"), signs(PLAIN, "r")],
            "several roots in this image: /dev/mapper/atomicos-root, partition 4"
            " (one ostree root is handled)",
        ),
        (
            [signs(BOOT, "e"), signs(SPANNING, "r")],
            "the volume group v lies on several partitions (the base is one partition)",
        ),
        (
            [signs(BOOT, "e"), signs(PLAIN, "e"), signs(ROOT, "r")],
            "several boot file systems in this image: partition 1, partition 4",
        ),
    ],
)
def test_what_is_refused(found: list[Signs], said: str) -> None:
    with pytest.raises(ImageError) as error:
        layout.candidates(found)
    assert str(error.value) == said


@pytest.mark.parametrize(
    ("blkid", "content"),
    [
        ("ext4", Content.EXT4),
        ("LVM2_member", Content.LVM2_PV),
        ("crypto_LUKS", Content.LUKS),
        ("ntfs", Content.UNKNOWN),
        ("", Content.UNKNOWN),
    ],
)
def test_content(blkid: str, content: Content) -> None:
    assert layout.content_of(blkid) is content


def test_device_mapper_doubles_dashes() -> None:
    assert layout.mapper_device("atomicos", "root") == "/dev/mapper/atomicos-root"
    assert layout.mapper_device("a-b", "c-d") == "/dev/mapper/a--b-c--d"


def test_what_is_mounted_and_how_it_is_called() -> None:
    assert (PLAIN.mountable, str(PLAIN)) == ("/dev/sda4", "partition 4")
    assert (B.mountable, str(B)) == (
        "btrfsvol:/dev/sda4/b/snapshot",
        "partition 4 subvolume b/snapshot",
    )
    assert (ROOT.mountable, str(ROOT)) == ("/dev/atomicos/root", "/dev/mapper/atomicos-root")
