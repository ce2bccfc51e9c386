"""Look images up in Glance, and say what of an image matters to a deploy."""

import math
from dataclasses import dataclass
from typing import Any

from openstack import exceptions as sdk
from openstack.connection import Connection
from oslo_utils.uuidutils import is_uuid_like

from atomic_baremetal.cloud import translated
from atomic_baremetal.errors import Error

GIB = 1024**3


class ImageError(Error):
    """An image that nodes cannot be provisioned with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """Hold what Glance knows of an image.

    :ivar kernel_cmdline: the kernel arguments that the image carries; empty when it carries none.
    :ivar root_size_gib: the smallest root partition that takes it, rounded up; None when Glance
        does not know.
    """

    id: str
    name: str
    status: str
    kernel_id: str | None
    ramdisk_id: str | None
    kernel_cmdline: str
    root_size_gib: int | None


def find(connection: Connection, name: str) -> Image:
    """Find an image by name or id and make sure that nodes can be provisioned with it.

    :raises ImageError: not there, not unique, not ready, or without its kernel or ramdisk.
    :raises CloudError: Glance cannot be reached or refuses.
    """
    found = _by_id(connection, name) or _by_name(connection, name)
    if found is None:
        raise ImageError(
            f"there is no image {name!r} in Glance",
            hint="register it: imgprep register DIR; what is there: openstack image list",
        )
    return usable(_image(found))


def usable(image: Image) -> Image:
    """Return the image if nodes can be provisioned with it.

    :raises ImageError: it is not ready, or it lacks its kernel or ramdisk.
    """
    if image.status != "active":
        raise ImageError(
            f"image {image.name!r} is not ready: its status is {image.status!r}",
            hint="register it again: imgprep register DIR",
        )
    for field, value in (("kernel_id", image.kernel_id), ("ramdisk_id", image.ramdisk_id)):
        if not value:
            raise ImageError(
                f"image {image.name!r} has no {field}: it cannot be network-booted",
                hint="make one that can: imgprep atomic-to-pxe FILE --register",
            )
    return image


def names(connection: Connection) -> dict[str, str]:
    """Map the ids of all images to their names."""
    with translated("Glance"):
        return {image.id: image.name for image in connection.image.images()}


def _by_id(connection: Connection, name: str) -> Any:
    if not is_uuid_like(name):
        return None
    with translated("Glance"):
        try:
            return connection.image.get_image(name)
        except sdk.NotFoundException:
            return None


def _by_name(connection: Connection, name: str) -> Any:
    with translated("Glance"):
        found = list(connection.image.images(name=name))
    if len(found) > 1:
        raise ImageError(
            f"{len(found)} images are called {name!r}",
            hint="give the id of one: openstack image list",
        )
    return found[0] if found else None


def _image(found: Any) -> Image:
    properties = found.properties or {}
    sizes = [found.min_disk or 0, math.ceil((found.virtual_size or 0) / GIB)]
    return Image(
        id=found.id,
        name=found.name,
        status=found.status,
        kernel_id=found.kernel_id,
        ramdisk_id=found.ramdisk_id,
        kernel_cmdline=properties.get("kernel_cmdline") or "",
        root_size_gib=max(sizes) or None,
    )
