import pytest

from imgprep import layout
from imgprep.layout import Content, Signs, Volume
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
    """`r`: an ostree repository, `e`: entries at the top, `b`: entries in /boot."""
    return Signs(
        volume=volume,
        repository="r" in of,
        entries_at_top="e" in of,
        entries_in_boot="b" in of,
    )


@pytest.mark.parametrize(
    ("found", "root", "boot"),
    [
        ([signs(BOOT, "e"), signs(ROOT, "r")], ROOT, BOOT),
        ([signs(BOOT, "e"), signs(PLAIN, "r")], PLAIN, BOOT),
        ([signs(BOOT), signs(ROOT, "rb")], ROOT, None),
        ([signs(BOOT, "e"), signs(ROOT, "rb")], ROOT, None),
    ],
)
def test_root_and_boot(found: list[Signs], root: Volume, boot: Volume | None) -> None:
    assert layout.choose(found) == layout.Layout(root=root, boot=boot)


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
            "no ostree in this image (no file system of it holds /ostree/repo and /ostree/deploy)",
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
            [signs(BOOT), signs(ROOT, "r")],
            "no boot entries in this image"
            " (neither a boot file system nor /boot on the root holds loader/entries)",
        ),
        (
            [signs(BOOT, "e"), signs(PLAIN, "e"), signs(ROOT, "r")],
            "several boot file systems in this image: partition 1, partition 4",
        ),
    ],
)
def test_what_is_refused(found: list[Signs], said: str) -> None:
    with pytest.raises(ImageError) as error:
        layout.choose(found)
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
