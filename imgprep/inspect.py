"""Tell what is in an image: partitions, root, boot, and what ostree has deployed."""

from dataclasses import dataclass
from typing import Any

from atomic_baremetal.errors import Error
from imgprep import appliance as guest
from imgprep import bls, deployment, layout, overlay, progress
from imgprep.appliance import Appliance
from imgprep.deployment import Deployment
from imgprep.layout import Content, Layout, Partition, Signs, Volume
from imgprep.precheck import ImageError, Source

SCHEMA = 1
SECTOR_SIZE_BYTES = 512  # no image says; the appliance is given a disk of such sectors
ENTRIES = "/loader/entries"
ENTRY_LIMIT_BYTES = 64 << 10
ENTRIES_LIMIT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What is in an image.

    :param root_uuid: of the root's file system; so is root_label, which may be empty.
    :param deployments: in boot order, the default first.
    """

    source: Source
    partition_table: str
    partitions: tuple[Partition, ...]
    layout: Layout
    root_uuid: str
    root_label: str
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


def inspect(source: Source) -> Inspection:
    """Look into an image, through an overlay in a temporary directory.

    :raises ImageError: it is not an ostree host's disk.
    """
    with (
        overlay.overlay(source) as path,
        progress.phase("looking into the image"),
        guest.launched(path) as appliance,
    ):
        return look(appliance, source)


def look(appliance: Appliance, source: Source) -> Inspection:
    """Look into the disk of a running appliance."""
    table = appliance.partition_table()
    partitions = appliance.partitions() if table != "none" else []
    volumes = appliance.volumes(partitions)
    found = layout.choose(
        [_signs(appliance, volume) for volume in volumes if volume.filesystem in layout.MOUNTABLE]
    )
    with appliance.mounted(found.root, boot=found.boot):
        deployments = _deployments(appliance)
    return Inspection(
        source=source,
        partition_table=table,
        partitions=tuple(partitions),
        layout=found,
        root_uuid=appliance.uuid(found.root),
        root_label=appliance.label(found.root),
        deployments=tuple(deployments),
    )


def _signs(appliance: Appliance, volume: Volume) -> Signs:
    with appliance.mounted(volume):
        return Signs(
            volume=volume,
            repository=all(map(appliance.is_directory, ("/ostree/repo", "/ostree/deploy"))),
            entries_at_top=appliance.is_directory(ENTRIES),
            entries_in_boot=appliance.is_directory(f"/boot{ENTRIES}"),
        )


def _deployments(appliance: Appliance) -> list[Deployment]:
    directory = f"/boot{ENTRIES}"
    names = [name for name in appliance.list_directory(directory) if name.endswith(".conf")]
    if len(names) > ENTRIES_LIMIT:
        raise ImageError(f"{len(names)} boot entries in this image", hint="that is no real image")
    entries = []
    for name in names:
        content = appliance.read(f"{directory}/{name}", limit_bytes=ENTRY_LIMIT_BYTES)
        entries.append(_entry(name, content))
    booting_ostree = [entry for entry in bls.boot_order(entries) if entry.ostree is not None]
    if not booting_ostree:
        raise ImageError("no boot entry in this image has an ostree= argument")
    return [_deployment(appliance, *numbered) for numbered in enumerate(booting_ostree)]


def _entry(name: str, content: bytes) -> bls.Entry:
    try:
        return bls.parse(name, content.decode())
    except UnicodeDecodeError as error:
        raise ImageError(f"boot entry {name} is not text") from error
    except Error as error:
        raise ImageError(f"boot entry {name}: {error.message}") from error


def _deployment(appliance: Appliance, index: int, entry: bls.Entry) -> Deployment:
    bootcsum = deployment.bootcsum_of(entry)
    path = appliance.resolve(str(entry.ostree))
    tree = deployment.tree_of(entry, path)
    if entry.linux is None:
        raise ImageError(f"boot entry {entry.file_name} names no kernel")
    kernel = _boot_file(appliance, entry, entry.linux)
    return Deployment(
        index=index,
        stateroot=tree.stateroot,
        checksum=tree.checksum,
        serial=tree.serial,
        bootcsum=bootcsum,
        kernel_version=_kernel_version(appliance, path, kernel, bootcsum),
        path=path,
        kernel=kernel,
        ramdisks=tuple(_boot_file(appliance, entry, path) for path in entry.initrds),
        arguments=entry.arguments,
        variables=entry.variables,
    )


def _boot_file(appliance: Appliance, entry: bls.Entry, named: str) -> str:
    for place in deployment.places_in_boot(named):
        if appliance.is_file(place):
            return place
    raise ImageError(f"boot entry {entry.file_name} names {named}, which is not in the image")


def _kernel_version(appliance: Appliance, path: str, kernel: str, bootcsum: str) -> str:
    version = deployment.kernel_version_of(kernel, bootcsum=bootcsum)
    modules = f"{path}/usr/lib/modules"
    if version is None and appliance.is_directory(modules):
        there = appliance.list_directory(modules)
        version = there[0] if len(there) == 1 else None
    return version or "unknown"


def to_json(inspection: Inspection) -> dict[str, Any]:
    """Arrange an inspection as `imgprep inspect -f json` prints it."""
    root, boot = inspection.layout.root, inspection.layout.boot
    return {
        "schema": SCHEMA,
        "format": inspection.source.format.value,
        "virtual_size_bytes": inspection.source.virtual_size_bytes,
        "sector_size_bytes": SECTOR_SIZE_BYTES,
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
    """Say what the base partition holds: `lvm2-pv` or `filesystem`."""
    held = inspection.base.content
    return held.value if held is Content.LVM2_PV else "filesystem"


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
