"""Open file systems of an image inside libguestfs' appliance, a small virtual machine of its own.

No kernel of this host ever mounts what an image holds. `imgprep.session` launches the appliance.
"""

import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from imgprep.drive import Drive
from imgprep.layout import Content, Partition, Volume, content_of
from imgprep.luks import Key
from imgprep.machine import Machine
from imgprep.precheck import ImageError

SUBVOLUMES_LIMIT = 100
NO_END, NO_NAME = "Too many levels of symbolic links", "File name too long"
PREAD_BYTES = 2 << 20
UNKNOWN = ((), None)  # something is mounted, and nobody is to rely on it


class MountError(ImageError):
    """A file system that the appliance's kernel does not mount."""


class Appliance:
    """One disk of a launched appliance. Get one from :func:`imgprep.session.launched`."""

    def __init__(
        self, machine: Machine, handle: Any, drive: Drive, disk: str, *, alone: bool
    ) -> None:
        self._machine = machine
        self._handle = handle
        self._disk = disk
        self._alone = alone
        self._unlocked: dict[int, str] = {}
        self._physical: list[str] = []
        self._tags: dict[str, dict[str, str]] = {}
        self._table = drive.table
        self.sector_size_bytes = drive.sector_size_bytes

    def _do(self, call: str, *arguments: Any, **options: Any) -> Any:
        return self._machine.call(getattr(self._handle, call), *arguments, **options)

    def partition_table(self) -> str:
        """Return `mbr`, `gpt` or `none`; parted's own word for any other kind."""
        if self._table is not None:  # parted takes half a second a call
            return self._table.kind
        try:
            found = self._do("part_get_parttype", self._disk)
        except ImageError as error:
            if "unrecognised disk label" in error.message:
                return "none"
            raise
        return {"msdos": "mbr"}.get(found, str(found))

    def partitions(self) -> list[Partition]:
        """List the partitions by their place on the disk, each with what blkid finds in it."""
        if self._table is not None:
            found = [(one.number, one.start_bytes, one.size_bytes) for one in self._table.extents]
        else:
            listed = self._do("part_list", self._disk)
            found = [(one["part_num"], one["part_start"], one["part_size"]) for one in listed]
        return [
            Partition(
                number=number,
                start_bytes=start_bytes,
                size_bytes=size_bytes,
                content=self._content(f"{self._disk}{number}"),
            )
            for number, start_bytes, size_bytes in found
        ]

    def _content(self, device: str) -> Content:
        return content_of(self._tag(device, "TYPE"))

    def _tag(self, device: str, tag: str) -> str:
        """Return what blkid says of a device; empty when it says nothing. It is asked once."""
        if device not in self._tags:
            self._tags[device] = self._do("blkid", device)
        value = str(self._tags[device].get(tag, ""))
        if "\\" in value:  # as a shell would want it: what is meant is told by another call
            value = str(self._do("vfs_label", device))
        return value

    def unlock(self, partitions: Sequence[Partition], keys: Sequence[Key]) -> None:
        """Open the encrypted partitions that keys are given for.

        :raises ImageError: none of the keys given for a partition opens it.
        """
        for part in partitions:
            if part.content is not Content.LUKS or part.number in self._unlocked:
                continue
            device = f"{self._disk}{part.number}"
            uuid = str(self._do("luks_uuid", device)) if keys else ""
            fitting = [key for key in keys if key.fits(partition=part.number, uuid=uuid)]
            if fitting:
                self._unlocked[part.number] = self._opened(device, part.number, fitting)

    def _opened(self, device: str, number: int, keys: Sequence[Key]) -> str:
        name = f"luks-{device.removeprefix('/dev/')}"
        for key in keys:
            try:
                self._do("cryptsetup_open", device, key.passphrase, name)
            except ImageError as error:
                if "No key available" not in error.message:
                    raise
            else:
                return f"/dev/mapper/{name}"
        raise ImageError(
            f"partition {number} is encrypted (LUKS), and the key given does not open it"
        )

    def is_unlocked(self, partition: Partition) -> bool:
        """Tell whether a key has opened an encrypted partition."""
        return partition.number in self._unlocked

    def volumes(self, partitions: Sequence[Partition]) -> Iterator[Volume]:
        """Find what can be mounted: partitions, also unlocked ones, logical volumes, subvolumes."""
        self._select(partitions)
        for part in partitions:
            device, content = f"{self._disk}{part.number}", part.content
            if part.number in self._unlocked:
                device = self._unlocked[part.number]
                content = self._content(device)
            if content is Content.LVM2_PV:
                for volume in self._logical_volumes(part.number, device):
                    yield from self._with_subvolumes(volume)
            else:
                volume = Volume(device=device, partition=part.number, filesystem=content)
                yield from self._with_subvolumes(volume)

    def _select(self, partitions: Sequence[Partition]) -> None:
        """Make LVM see this disk alone: two images may well hold volume groups of one name."""
        self._physical = [
            self._unlocked.get(part.number, f"{self._disk}{part.number}")
            for part in partitions
            if part.content in (Content.LVM2_PV, Content.LUKS)
        ]
        if self._alone and self._unlocked:
            self._release()
            self._do("lvm_scan", True)
        elif self._physical and not self._alone:
            self._release()
            self._do("lvm_set_filter", self._physical)
            self._machine.selected = self._disk

    def _logical_volumes(self, number: int, device: str) -> Iterator[Volume]:
        if len(self._physical) == 1:  # what there is lies on it: nothing need be asked
            for path in self._do("lvs"):
                yield self._logical_volume(number, path)
            return
        uuid = self._do("pvuuid", device)
        members: dict[str, list[str]] = {}
        for path in self._do("lvs"):
            group = _group(path)
            if group not in members:
                members[group] = self._do("vgpvuuids", group)
            if uuid in members[group]:
                spans = len(members[group]) > 1
                yield replace(self._logical_volume(number, path), spans=spans)

    def _logical_volume(self, number: int, path: str) -> Volume:
        return Volume(
            device=path,
            partition=number,
            filesystem=self._content(path),
            group=_group(path),
            logical_volume=path.rpartition("/")[2],
        )

    def _with_subvolumes(self, volume: Volume) -> Iterator[Volume]:
        """List a btrfs' subvolumes; the one that is mounted by default stands for the device."""
        if volume.filesystem is not Content.BTRFS:
            yield volume
            return
        default = int(self._do("btrfs_subvolume_get_default", volume.device))
        found = self._do("btrfs_subvolume_list", volume.device)
        if len(found) > SUBVOLUMES_LIMIT:
            raise ImageError(f"{volume} holds {len(found)} subvolumes", hint="that is no root")
        if default not in [one["btrfssubvolume_id"] for one in found]:
            yield volume
        for one in found:
            yield replace(volume, subvolume=str(one["btrfssubvolume_path"]))

    def uuid(self, volume: Volume) -> str:
        """Return the UUID of a file system, empty when it has none."""
        return self._tag(volume.device, "UUID")

    def label(self, volume: Volume) -> str:
        """Return the label of a file system, empty when it has none."""
        return self._tag(volume.device, "LABEL")

    @contextmanager
    def mounted(
        self, volume: Volume, *, boot: Volume | None = None, writable: bool = False
    ) -> Iterator[None]:
        """Have a volume mounted as /, and another one on its /boot.

        They stay mounted until something else is asked for: a mount takes long in an emulated
        machine.

        :param writable: the root; /boot never is.
        :raises MountError: the root cannot be mounted.
        """
        if not self._alone and volume.group and self._machine.selected != self._disk:
            self._release()
            self._do("lvm_set_filter", self._physical)
            self._machine.selected = self._disk
        self._mount(volume, boot)
        if writable:
            self._do("remount", "/", rw=True)
            self._machine.mounted = UNKNOWN  # whoever comes next is to find it read-only
        yield

    def _mount(self, volume: Volume, boot: Volume | None) -> None:
        wanted, there = (self._disk, volume), self._machine.mounted
        if there is not None and there[0] == wanted and there[1] in (None, boot):
            if there[1] == boot:
                return
        else:
            self._release()
            self._machine.mounted = UNKNOWN
            try:
                self._do("mount_ro", volume.mountable, "/")
            except ImageError as error:
                raise MountError(error.message, hint=error.hint) from error
        if boot is not None:
            self._do("mount_ro", boot.mountable, "/boot")
        self._machine.mounted = (wanted, boot)

    def _release(self) -> None:
        """Unmount all."""
        if self._machine.mounted is not None:
            self._do("umount_all")
        self._machine.mounted = None

    def is_directory(self, path: str) -> bool:
        """Tell whether there is a directory, symbolic links followed."""
        return self._is("is_dir", path)

    def is_file(self, path: str) -> bool:
        """Tell whether there is a regular file, symbolic links followed."""
        return self._is("is_file", path)

    def _is(self, call: str, path: str) -> bool:
        try:
            return bool(self._do(call, path, followsymlinks=True))
        except ImageError as error:
            if NO_END in error.message or NO_NAME in error.message:
                return False  # a link that leads nowhere, and a name that nothing can have
            raise

    def head(self, partition: Partition) -> bytes:
        """Return the first 512 bytes of a partition."""
        return bytes(self._do("pread_device", f"{self._disk}{partition.number}", 512, 0))

    def list_directory(self, path: str) -> list[str]:
        """List the names in a directory, sorted."""
        return [str(name) for name in self._do("ls", path)]

    def glob(self, pattern: str) -> list[str]:
        """List the paths that fit a shell pattern, sorted."""
        return sorted(str(path) for path in self._do("glob_expand", pattern))

    def resolve(self, path: str) -> str:
        """Follow all symbolic links of a path.

        :raises ImageError: it leads nowhere.
        """
        return str(self._do("realpath", path))

    def read(self, path: str, *, limit_bytes: int) -> bytes:
        """Read a regular file whole, symbolic links followed.

        :raises ImageError: it is none (a FIFO would never end), or larger than the limit.
        """
        if not self.is_file(path):
            raise ImageError(f"{path} in the image is not a regular file")
        size = int(self._do("filesize", path))
        if size > limit_bytes:
            raise ImageError(f"{path} in the image is too large: {size} bytes")
        # one answer holds 4 MiB at most; read_file takes a tenth of a second for any size
        content = bytes(self._do("pread", path, size, 0)) if 0 < size < PREAD_BYTES else b""
        return content if len(content) == size else bytes(self._do("read_file", path))

    def size_bytes(self, path: str) -> int:
        """Return the size of a file."""
        return int(self._do("filesize", path))

    def copy_out(self, path: str, to: Path) -> None:
        """Copy a file of the image to a file of this host."""
        self._do("download", path, str(to))

    def replace(self, path: str, content: bytes) -> None:
        """Give a file another content; its mode, owner and extended attributes stay.

        It is written in place, unless another name leads to the same inode: in ostree that would be
        an object of the repository, which must never change.
        """
        status = self._do("lstatns", path)
        if not stat.S_ISREG(status["st_mode"]):
            raise ImageError(f"{path} in the image is not a regular file")
        if status["st_nlink"] == 1:
            self._do("write", path, content)
            return
        beside = f"{path}.imgprep"
        self._do("cp_a", path, beside)
        self._do("write", beside, content)
        self._do("mv", beside, path)


def _group(path: str) -> str:
    """Return the volume group in a logical volume's name, /dev/GROUP/VOLUME."""
    return path.removeprefix("/dev/").partition("/")[0]
