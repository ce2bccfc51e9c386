"""Find the root and the boot file system among those of a disk.

Glossary: a *partition* is a byte range of the disk; a *volume* is something that can be mounted:
the file system in a partition, in what LUKS encrypts there, in an LVM logical volume of it; or one
subvolume of a btrfs in one of these. The *base* is the partition that the root volume lies on.
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
WHOLE_DISK = "deploy it as a whole disk, with Ironic's deploy interface `direct`"


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
    :param subvolume: its path in a btrfs, None for what mounting the device gives.
    """

    device: str
    partition: int
    filesystem: Content
    group: str | None = None
    logical_volume: str | None = None
    spans: bool = False
    subvolume: str | None = None

    @property
    def mountable(self) -> str:
        """Return what libguestfs mounts: the device, or a subvolume of it."""
        if self.subvolume is None:
            return self.device
        return f"btrfsvol:{self.device}/{self.subvolume}"

    @property
    def mapper_device(self) -> str | None:
        """Return the name that a logical volume has on any machine, None for a plain partition."""
        if self.group is None or self.logical_volume is None:
            return None
        return mapper_device(self.group, self.logical_volume)

    def __str__(self) -> str:
        device = self.mapper_device or f"partition {self.partition}"
        return device if self.subvolume is None else f"{device} subvolume {self.subvolume}"


class Menu(StrEnum):
    """What a boot loader reads, the likeliest first."""

    ENTRIES = "loader/entries"  # Boot Loader Specification
    LOADER_GRUB = "loader/grub.cfg"  # where ostree puts it; the others are links to it
    GRUB2 = "grub2/grub.cfg"
    GRUB = "grub/grub.cfg"
    LOADER_SYSLINUX = "loader/syslinux.cfg"
    SYSLINUX = "syslinux/syslinux.cfg"
    EXTLINUX = "extlinux/extlinux.conf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """What a look into a volume found of ostree.

    :param repository: it holds /ostree/repo and /ostree/deploy.
    :param menus_at_top: what a boot file system holds.
    :param menus_in_boot: the same of a root with /boot as a directory.
    :param composefs: it holds a composefs repository and /state/deploy: bootc without ostree.
    """

    volume: Volume
    repository: bool
    menus_at_top: tuple[Menu, ...] = ()
    menus_in_boot: tuple[Menu, ...] = ()
    composefs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where the parts of the operating system are.

    :param boot: None when /boot is a directory on the root.
    :param menus: what there is in /boot to read boot entries from.
    """

    root: Volume
    boot: Volume | None
    menus: tuple[Menu, ...]


def candidates(signs: Sequence[Signs]) -> list[Layout]:
    """Decide which volume is the root and which holds /boot.

    :returns: one layout; several when subvolumes of one btrfs hold an ostree each (a snapshot
        does): the kernel arguments say which one it is.
    :raises ImageError: no root, several, no boot entries, several places of them, or a root over
        several partitions.
    """
    roots = [sign for sign in signs if sign.repository]
    if not roots:
        raise _no_root(signs)
    if len({sign.volume.device for sign in roots}) > 1:
        raise several_roots([sign.volume for sign in roots])
    spanning = roots[0].volume
    if spanning.spans:
        raise ImageError(
            f"the volume group {spanning.group} lies on several partitions",
            hint="the base is one partition",
        )
    boot = None if all(sign.menus_in_boot for sign in roots) else _boot(signs)
    return [
        Layout(root=sign.volume, boot=None, menus=sign.menus_in_boot)
        if sign.menus_in_boot or boot is None
        else Layout(root=sign.volume, boot=boot.volume, menus=boot.menus_at_top)
        for sign in roots
    ]


def _boot(signs: Sequence[Signs]) -> Signs | None:
    """Find the boot file system; one with entries goes before one with a boot loader's file."""
    boots = [sign for sign in signs if Menu.ENTRIES in sign.menus_at_top]
    boots = boots or [sign for sign in signs if sign.menus_at_top]
    if len(boots) > 1:
        names = ", ".join(str(sign.volume) for sign in boots)
        raise ImageError(f"several boot file systems in this image: {names}")
    return boots[0] if boots else None


def _no_root(signs: Sequence[Signs]) -> ImageError:
    if any(sign.composefs for sign in signs):
        return ImageError(
            "this image is deployed with composefs alone (bootc), without ostree",
            hint="its root is put together from an object store by its own initramfs; "
            + WHOLE_DISK,
        )
    return ImageError(
        "no ostree in this image",
        hint="no file system of it holds /ostree/repo and /ostree/deploy; " + WHOLE_DISK,
    )


def several_roots(volumes: Sequence[Volume]) -> ImageError:
    """Word the refusal of an image with more than one root."""
    names = ", ".join(str(volume) for volume in volumes)
    return ImageError(f"several roots in this image: {names}", hint="one ostree root is handled")


def mapper_device(group: str, volume: str) -> str:
    """Name a logical volume as device-mapper does: dashes in either name are doubled.

    Source: lvm2, lib/misc/lvm-string.c, build_dm_name; seen: vg `a-b`, lv `c` is
    /dev/mapper/a--b-c.
    """
    return f"/dev/mapper/{group.replace('-', '--')}-{volume.replace('-', '--')}"
