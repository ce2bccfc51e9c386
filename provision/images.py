"""Look images up in Glance, and say what of an image matters to a deploy."""

import math
from dataclasses import dataclass
from typing import Any

from openstack import exceptions as sdk
from openstack.connection import Connection

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
    with translated("Glance"):
        try:
            found = connection.image.find_image(name)
        except sdk.DuplicateResource as error:
            raise ImageError(
                f"several images are called {name!r}",
                hint="give the id of one: openstack image list",
            ) from error
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
