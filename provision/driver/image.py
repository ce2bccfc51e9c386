"""What Glance says of a node's image, and what the netboot deployment asks of it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ironic.common import exception, image_service
from ironic.common.glance_service import service_utils

GIB = 1 << 30
FORMATS = ("raw", "qcow2")
# Beyond this an MBR cannot say where a partition ends, with sectors of 512 bytes.
MAX_ROOT_GIB = 2047


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A partition image in Glance, with the kernel and ramdisk that belong to it.

    kernel_id, ramdisk_id, kernel_cmdline: None where the image has no such property.
    virtual_size_bytes: None where Glance does not know it.
    """

    id: str
    name: str
    disk_format: str
    size_bytes: int
    virtual_size_bytes: int | None
    min_disk_gib: int
    kernel_id: str | None
    ramdisk_id: str | None
    kernel_cmdline: str | None
    whole_disk: bool
    hash_algorithm: str | None
    hash_value: str | None

    def __str__(self) -> str:
        return f"{self.name} ({self.id})" if self.name else self.id


def of_node(task: Any) -> Image:
    """Ask Glance for the image that a node is to get.

    :raises MissingParameterValue: the node names no image.
    :raises InvalidParameterValue: not a Glance image, not there, or Glance cannot be asked.
    """
    source = task.node.instance_info.get("image_source")
    if not source:
        raise exception.MissingParameterValue(
            f"Node {task.node.uuid} lacks in its instance_info: image_source"
        )
    if not service_utils.is_glance_image(source):
        raise exception.InvalidParameterValue(
            f"image_source {source} is not a Glance image; boot interface ipxe-netboot and deploy "
            "interface iscsi take the kernel, ramdisk and arguments from Glance"
        )
    try:
        service = image_service.get_image_service(source, context=task.context)
        return from_metadata(service.show(source))
    except exception.InvalidParameterValue:
        raise
    except exception.IronicException as error:
        raise exception.InvalidParameterValue(
            f"image_source {source} cannot be looked up in Glance: {error}"
        ) from error


def from_metadata(metadata: Mapping[str, Any]) -> Image:
    """Read Ironic's form of a Glance image."""
    properties = metadata.get("properties") or {}
    size_bytes = int(metadata.get("size") or 0)
    disk_format = str(metadata.get("disk_format") or "")
    virtual = properties.get("virtual_size")
    if not virtual and disk_format == "raw":
        virtual = size_bytes
    return Image(
        id=str(metadata["id"]),
        name=str(metadata.get("name") or ""),
        disk_format=disk_format,
        size_bytes=size_bytes,
        virtual_size_bytes=int(virtual) if virtual else None,
        min_disk_gib=int(metadata.get("min_disk") or 0),
        kernel_id=properties.get("kernel_id") or None,
        ramdisk_id=properties.get("ramdisk_id") or None,
        kernel_cmdline=properties.get("kernel_cmdline") or None,
        whole_disk=properties.get("img_type", "partition") != "partition",
        hash_algorithm=metadata.get("os_hash_algo"),
        hash_value=metadata.get("os_hash_value"),
    )


def check_kernel(image: Image, instance_info: Mapping[str, Any]) -> None:
    """Refuse an image without kernel or ramdisk, unless the node names its own.

    :raises MissingParameterValue: names the image and the property.
    """
    having = {
        "kernel_id": instance_info.get("kernel") or image.kernel_id,
        "ramdisk_id": instance_info.get("ramdisk") or image.ramdisk_id,
    }
    missing = [name for name, value in having.items() if not value]
    if missing:
        raise exception.MissingParameterValue(
            f"Image {image} has no property {' and no property '.join(missing)}: boot interface "
            "ipxe-netboot starts the node with them. A whole-disk image needs deploy interface "
            "direct"
        )


def check_deployable(image: Image, instance_info: Mapping[str, Any]) -> None:
    """Refuse what the iscsi deploy interface cannot do, by name, before anything is powered on.

    :raises InvalidParameterValue: names what, and the way out where there is one.
    """
    if image.whole_disk or instance_info.get("image_type") == "whole-disk":
        raise exception.InvalidParameterValue(
            f"Image {image} is a whole-disk image: deploy interface iscsi writes partition images. "
            "Use deploy interface direct"
        )
    if image.disk_format not in FORMATS:
        raise exception.InvalidParameterValue(
            f"Image {image} has disk format {image.disk_format}: deploy interface iscsi writes "
            f"{' or '.join(FORMATS)}"
        )
    refused = [
        key
        for key in ("swap_mb", "ephemeral_gb", "ephemeral_mb", "preserve_ephemeral", "boot_iso")
        if instance_info.get(key) not in (None, 0, "0", "", False, "false", "False")
    ]
    if refused:
        raise exception.InvalidParameterValue(
            f"instance_info has {', '.join(refused)}: deploy interface iscsi makes one root "
            "partition and a config drive, nothing else"
        )
    root_gib(image, instance_info)


def root_gib(image: Image, instance_info: Mapping[str, Any]) -> int:
    """Decide the size of the root partition.

    :returns: instance_info/root_gb, else the larger of the image's min_disk and virtual size.
    :raises InvalidParameterValue: not a number, too large for an MBR, too small for the image.
    :raises MissingParameterValue: nobody says.
    """
    needed = max(image.min_disk_gib, -(-(image.virtual_size_bytes or 0) // GIB))
    value = instance_info.get("root_gb")
    if value is None:
        if not needed:
            raise exception.MissingParameterValue(
                f"Image {image} has neither min_disk nor virtual_size; say instance_info/root_gb"
            )
        value = needed
    try:
        size = int(value)
    except (TypeError, ValueError):
        size = 0
    if size < 1:
        raise exception.InvalidParameterValue(
            f"instance_info/root_gb is not a whole number of GiB: {value!r}"
        )
    if size * GIB < (image.virtual_size_bytes or image.min_disk_gib * GIB):
        raise exception.InvalidParameterValue(
            f"instance_info/root_gb {size} is smaller than image {image}, which needs {needed} GiB"
        )
    if size > MAX_ROOT_GIB:
        raise exception.InvalidParameterValue(
            f"instance_info/root_gb {size} is more than {MAX_ROOT_GIB}, the most that the MBR of "
            "deploy interface iscsi can hold"
        )
    return size
