"""Find the root and the boot file system among those of a disk.

Glossary: a *partition* is a byte range of the disk; a *volume* is something that can hold a file
system: a partition, or an LVM logical volume inside of one. The *base* is the partition that the
root volume lies on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from imgprep.precheck import ImageError


class Content(StrEnum):
    """What a partition holds, as `imgprep inspect` prints it."""

    EXT4 = "ext4"
    XFS = "xfs"
    VFAT = "vfat"
    BTRFS = "btrfs"
    LVM2_PV = "lvm2-pv"
    LUKS = "luks"
    UNKNOWN = "unknown"


# blkid's names that are not ours already
BLKID_NAMES = {"LVM2_member": Content.LVM2_PV, "crypto_LUKS": Content.LUKS}
MOUNTABLE = (Content.EXT4, Content.XFS, Content.BTRFS)


def content_of(blkid_type: str) -> Content:
    """Translate blkid's TYPE; anything that is not handled here is unknown."""
    if blkid_type in BLKID_NAMES:
        return BLKID_NAMES[blkid_type]
    return Content(blkid_type) if blkid_type in list(Content) else Content.UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """A partition, in bytes from the start of the disk."""

    number: int
    start_bytes: int
    size_bytes: int
    content: Content


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A file system of the disk.

    :param device: its name inside the appliance.
    :param partition: the number of the partition it lies on.
    :param group: the LVM volume group, None for a plain partition; so is logical_volume.
    :param spans: the volume group lies on more than this one partition.
    """

    device: str
    partition: int
    filesystem: Content
    group: str | None = None
    logical_volume: str | None = None
    spans: bool = False

    @property
    def mapper_device(self) -> str | None:
        """Return the name that a logical volume has on any machine, None for a plain partition."""
        if self.group is None or self.logical_volume is None:
            return None
        return mapper_device(self.group, self.logical_volume)

    def __str__(self) -> str:
        return self.mapper_device or f"partition {self.partition}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """What a look into a volume found of ostree.

    :param repository: it holds /ostree/repo and /ostree/deploy.
    :param entries_at_top: it holds /loader/entries: a boot file system.
    :param entries_in_boot: it holds /boot/loader/entries: a root with /boot as a directory.
    """

    volume: Volume
    repository: bool
    entries_at_top: bool
    entries_in_boot: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where the parts of the operating system are.

    :param boot: None when /boot is a directory on the root.
    """

    root: Volume
    boot: Volume | None


def choose(signs: Sequence[Signs]) -> Layout:
    """Decide which volume is the root and which holds /boot.

    :raises ImageError: no root, several, no boot entries, several places of them, or a root over
        several partitions.
    """
    roots = [sign for sign in signs if sign.repository]
    if not roots:
        raise ImageError(
            "no ostree in this image",
            hint="no file system of it holds /ostree/repo and /ostree/deploy",
        )
    if len(roots) > 1:
        names = ", ".join(str(sign.volume) for sign in roots)
        raise ImageError(f"several roots in this image: {names}", hint="one ostree root is handled")
    root = roots[0]
    if root.volume.spans:
        raise ImageError(
            f"the volume group {root.volume.group} lies on several partitions",
            hint="the base is one partition",
        )
    if root.entries_in_boot:
        return Layout(root=root.volume, boot=None)
    boots = [sign.volume for sign in signs if sign.entries_at_top]
    if not boots:
        raise ImageError(
            "no boot entries in this image",
            hint="neither a boot file system nor /boot on the root holds loader/entries",
        )
    if len(boots) > 1:
        names = ", ".join(str(boot) for boot in boots)
        raise ImageError(f"several boot file systems in this image: {names}")
    return Layout(root=root.volume, boot=boots[0])


def mapper_device(group: str, volume: str) -> str:
    """Name a logical volume as device-mapper does: dashes in either name are doubled.

    Source: lvm2, lib/misc/lvm-string.c, build_dm_name; seen: vg `a-b`, lv `c` is
    /dev/mapper/a--b-c.
    """
    return f"/dev/mapper/{group.replace('-', '--')}-{volume.replace('-', '--')}"
