"""Tell what is in an image: partitions, root, boot, and what ostree has deployed."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from imgprep import boot_entries, boot_files, deployment, layout, overlay, progress, session
from imgprep.appliance import Appliance, MountError
from imgprep.bls import Entry
from imgprep.deployment import Deployment
from imgprep.headers import probe
from imgprep.layout import Content, Layout, Partition, Signs, Volume
from imgprep.luks import Key
from imgprep.precheck import ImageError, Source

LOG = logging.getLogger(__name__)
SCHEMA = 1
UNIFIED = "/EFI/Linux/*.efi"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What is in an image.

    :param sector_size_bytes: of the disk that the partition table was made for.
    :param root_uuid: of the root's file system; so is root_label, which may be empty.
    :param in_base: what an fstab may call the file systems of the base that are root or /boot.
    :param deployments: in boot order, the default first.
    """

    source: Source
    sector_size_bytes: int
    partition_table: str
    partitions: tuple[Partition, ...]
    layout: Layout
    root_uuid: str
    root_label: str
    in_base: tuple[str, ...]
    deployments: tuple[Deployment, ...]

    @property
    def base(self) -> Partition:
        """Return the partition that the root lies on."""
        number = self.layout.root.partition
        return next(part for part in self.partitions if part.number == number)

    @property
    def root_device(self) -> str:
        """Return the name that the root's device has on any machine."""
        return self.layout.root.mapper_device or f"/dev/disk/by-uuid/{self.root_uuid}"


def inspect(source: Source, *, keys: Sequence[Key] = ()) -> Inspection:
    """Look into an image, through an overlay in a temporary directory.

    :raises ImageError: it is not an ostree host's disk.
    """
    with (
        overlay.temporary(source) as path,
        progress.phase("looking into the image"),
        session.launched(path) as appliance,
    ):
        return look(appliance, source, keys=keys)


def look(appliance: Appliance, source: Source, *, keys: Sequence[Key] = ()) -> Inspection:
    """Look into the disk of a running appliance."""
    table = appliance.partition_table()
    partitions = appliance.partitions() if table != "none" else []
    appliance.unlock(partitions, keys)
    found, deployments = _system(appliance, partitions)
    root, boot = found.root, found.boot
    _refuse_disguised(appliance, next(p for p in partitions if p.number == root.partition))
    return Inspection(
        source=source,
        sector_size_bytes=appliance.sector_size_bytes,
        partition_table=table,
        partitions=tuple(partitions),
        layout=found,
        root_uuid=appliance.uuid(root),
        root_label=appliance.label(root),
        in_base=tuple(
            name
            for volume in (root, boot)
            if volume is not None and volume.partition == root.partition
            for name in _names(appliance, volume)
        ),
        deployments=tuple(deployments),
    )


def _refuse_disguised(appliance: Appliance, base: Partition) -> None:
    """Refuse a base that begins like an image of its own: a program that is left to guess would
    open what its header names.
    """
    luks = [Content.LUKS.value] if base.content is Content.LUKS else []
    if (found := probe.formats(appliance.head(base))) != luks:
        raise ImageError(
            f"partition {base.number} begins with the header of another image ({', '.join(found)})",
            hint="who opens the base without being told its format would believe it",
        )


def _names(appliance: Appliance, volume: Volume) -> list[str]:
    """List what an fstab may call a volume on any machine."""
    names = [volume.device, volume.mapper_device] if volume.mapper_device else []
    for kind, value in (("uuid", appliance.uuid(volume)), ("label", appliance.label(volume))):
        if value:
            names += [f"{kind.upper()}={value}", f"/dev/disk/by-{kind}/{value}"]
    return names


def _system(
    appliance: Appliance, partitions: Sequence[Partition]
) -> tuple[Layout, list[Deployment]]:
    """Find root and /boot, and read what is deployed there."""
    signs, failed = _all_signs(appliance, partitions)
    try:
        layouts = layout.candidates(signs)
    except ImageError as error:
        _refuse_encrypted(appliance, partitions)
        if failed and not any(sign.repository for sign in signs):
            raise failed[0] from error
        raise
    looks = [_looked(appliance, one, partitions) for one in layouts]
    if len(looks) == 1:
        return looks[0]
    for found, deployments in looks:
        if deployment.subvolume_of(deployments[0].arguments) == found.root.subvolume:
            return found, deployments
    raise layout.several_roots([found.root for found, _ in looks])


def _refuse_encrypted(appliance: Appliance, partitions: Sequence[Partition]) -> None:
    for part in partitions:
        if part.content is Content.LUKS and not appliance.is_unlocked(part):
            raise ImageError(
                f"partition {part.number} is encrypted (LUKS)",
                hint=f"give its key: --key /dev/sda{part.number}:file:FILE",
            )


def _all_signs(
    appliance: Appliance, partitions: Sequence[Partition]
) -> tuple[list[Signs], list[ImageError]]:
    """Look into all that can be mounted; a file system that cannot be is none of ours, maybe."""
    signs: list[Signs] = []
    failed: list[ImageError] = []
    for volume in appliance.volumes(partitions):
        if volume.filesystem in layout.MOUNTABLE:
            try:
                signs.append(_signs(appliance, volume))
            except MountError as error:
                LOG.info("%s cannot be mounted: %s", volume, error.message)
                failed.append(error)
    return signs, failed


def _signs(appliance: Appliance, volume: Volume) -> Signs:
    with appliance.mounted(volume):
        repository = all(map(appliance.is_directory, ("/ostree/repo", "/ostree/deploy")))
        return Signs(
            volume=volume,
            repository=repository,
            menus_at_top=boot_entries.find(appliance, ""),
            menus_in_boot=boot_entries.find(appliance, "/boot") if repository else (),
            composefs=not repository
            and all(map(appliance.is_directory, ("/composefs", "/state/deploy"))),
        )


def _looked(
    appliance: Appliance, found: Layout, partitions: Sequence[Partition]
) -> tuple[Layout, list[Deployment]]:
    if not found.menus:
        _refuse_unified(appliance, partitions)
        raise ImageError(
            "no boot entries in this image",
            hint="neither a boot file system nor /boot on the root holds loader/entries, a grub.cfg"
            " or a syslinux.cfg",
        )
    with appliance.mounted(found.root, boot=found.boot):
        entries = boot_entries.read(appliance, found.menus)
        return found, [_deployment(appliance, *numbered) for numbered in enumerate(entries)]


def _refuse_unified(appliance: Appliance, partitions: Sequence[Partition]) -> None:
    for volume in appliance.volumes(partitions):
        if volume.filesystem is Content.VFAT:
            with appliance.mounted(volume):
                names = appliance.glob(UNIFIED)
            if names:
                raise boot_entries.sealed(names[0])


def _deployment(appliance: Appliance, index: int, entry: Entry) -> Deployment:
    if entry.linux is None and entry.unified is not None:
        raise boot_entries.sealed(entry.unified)
    bootcsum = deployment.bootcsum_of(entry)
    path = _tree(appliance, entry)
    tree = deployment.tree_of(entry, path)
    files = boot_files.find(appliance, entry, path)
    return Deployment(
        index=index,
        stateroot=tree.stateroot,
        checksum=tree.checksum,
        serial=tree.serial,
        bootcsum=bootcsum,
        kernel_version=files.kernel_version or "unknown",
        path=path,
        kernel=files.kernel,
        ramdisks=files.ramdisks,
        arguments=entry.arguments,
        variables=entry.variables,
        notes=files.notes,
    )


def _tree(appliance: Appliance, entry: Entry) -> str:
    """Follow an entry's ostree= link, of which each part has to be as ostree makes it."""
    version, link = deployment.version_link_of(entry), str(entry.ostree)
    if not appliance.is_directory(link):
        raise ImageError(
            f"boot entry {entry.file_name}: {link} is not in the image or leads to no directory"
        )
    deployment.check_version_link(entry, appliance.resolve(version))
    return appliance.resolve(link)


def to_json(inspection: Inspection) -> dict[str, Any]:
    """Arrange an inspection as `imgprep inspect -f json` prints it."""
    root, boot = inspection.layout.root, inspection.layout.boot
    return {
        "schema": SCHEMA,
        "format": inspection.source.format.value,
        "virtual_size_bytes": inspection.source.virtual_size_bytes,
        "sector_size_bytes": inspection.sector_size_bytes,
        "partition_table": inspection.partition_table,
        "partitions": [
            {
                "number": part.number,
                "start_bytes": part.start_bytes,
                "size_bytes": part.size_bytes,
                "content": part.content.value,
            }
            for part in inspection.partitions
        ],
        "boot": {
            "partition": boot.partition if boot else None,
            "filesystem": (boot or root).filesystem.value,
        },
        "root": {
            "partition": root.partition,
            "content": base_content(inspection),
            "filesystem": root.filesystem.value,
            "device": inspection.root_device,
        },
        "deployments": [_deployment_json(one) for one in inspection.deployments],
    }


def base_content(inspection: Inspection) -> str:
    """Say what the base partition holds: `lvm2-pv`, `luks` or `filesystem`."""
    held = inspection.base.content
    return held.value if held in (Content.LVM2_PV, Content.LUKS) else "filesystem"


def _deployment_json(one: Deployment) -> dict[str, Any]:
    return {
        "index": one.index,
        "default": one.index == 0,
        "stateroot": one.stateroot,
        "checksum": one.checksum,
        "serial": one.serial,
        "bootcsum": one.bootcsum,
        "kernel_version": one.kernel_version,
        "kernel": one.kernel,
        "ramdisks": list(one.ramdisks),
        "kernel_cmdline": one.kernel_cmdline,
    }
