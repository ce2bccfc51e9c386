"""What is asked of an image, and what is refused by name."""

from typing import Any

import pytest
from ironic.common import exception

from provision.driver import image

GIB = image.GIB
NAME = "Image atomic (0a0a)"


def make(**different: Any) -> image.Image:
    metadata: dict[str, Any] = {
        "id": "0a0a",
        "name": "atomic",
        "disk_format": "qcow2",
        "size": 1000,
        "min_disk": 7,
        "os_hash_algo": "sha512",
        "os_hash_value": "ff",
        "properties": {
            "kernel_id": "k",
            "ramdisk_id": "r",
            "kernel_cmdline": "root=/dev/a",
            "virtual_size": 6 * GIB + 512,
        },
    }
    metadata["properties"].update(different.pop("properties", {}))
    return image.from_metadata({**metadata, **different})


def test_from_metadata() -> None:
    assert make() == image.Image(
        id="0a0a",
        name="atomic",
        disk_format="qcow2",
        size_bytes=1000,
        virtual_size_bytes=6 * GIB + 512,
        min_disk_gib=7,
        kernel_id="k",
        ramdisk_id="r",
        kernel_cmdline="root=/dev/a",
        whole_disk=False,
        hash_algorithm="sha512",
        hash_value="ff",
    )
    bare = image.from_metadata({"id": "1", "disk_format": "raw", "size": 5 * GIB})
    assert bare.virtual_size_bytes == 5 * GIB
    assert (bare.kernel_id, bare.ramdisk_id, bare.kernel_cmdline) == (None, None, None)
    assert str(bare) == "1"


@pytest.mark.parametrize(
    ("wanted", "info", "gib"),
    [
        (make(), {}, 7),
        (make(min_disk=0), {}, 7),
        (make(min_disk=20), {}, 20),
        (make(), {"root_gb": "9"}, 9),
        (make(min_disk=20), {"root_gb": 8}, 8),  # the operator knows better than min_disk
        (make(properties={"virtual_size": None}), {}, 7),
        (make(disk_format="raw", size=3 * GIB, min_disk=0, properties={"virtual_size": 0}), {}, 3),
    ],
)
def test_root_gib(wanted: image.Image, info: dict[str, Any], gib: int) -> None:
    assert image.root_gib(wanted, info) == gib
    image.check_deployable(wanted, info)


IMAGE_NEEDS = f"is smaller than image {NAME.removeprefix('Image ')}, which needs 7 GiB"
ONE_PARTITION = "deploy interface iscsi makes one root partition and a config drive, nothing else"


@pytest.mark.parametrize(
    ("wanted", "info", "message"),
    [
        (make(), {"root_gb": 6}, f"instance_info/root_gb 6 {IMAGE_NEEDS}"),
        (
            make(properties={"virtual_size": None}),
            {"root_gb": 6},
            f"instance_info/root_gb 6 {IMAGE_NEEDS}",
        ),
        (
            make(),
            {"root_gb": 2048},
            "instance_info/root_gb 2048 is more than 2047, the most that the MBR of deploy "
            "interface iscsi can hold",
        ),
        (make(), {"root_gb": "x"}, "instance_info/root_gb is not a whole number of GiB: 'x'"),
        (make(), {"root_gb": -1}, "instance_info/root_gb is not a whole number of GiB: -1"),
        (
            make(min_disk=0, properties={"virtual_size": None}),
            {},
            f"{NAME} has neither min_disk nor virtual_size; say instance_info/root_gb",
        ),
        (make(), {"swap_mb": 100}, f"instance_info has swap_mb: {ONE_PARTITION}"),
        (
            make(),
            {"ephemeral_gb": "4", "preserve_ephemeral": True, "swap_mb": 0},
            f"instance_info has ephemeral_gb, preserve_ephemeral: {ONE_PARTITION}",
        ),
        (
            make(properties={"img_type": "whole-disk"}),
            {},
            f"{NAME} is a whole-disk image: deploy interface iscsi writes partition images. Use "
            "deploy interface direct",
        ),
        (
            make(),
            {"image_type": "whole-disk"},
            f"{NAME} is a whole-disk image: deploy interface iscsi writes partition images. Use "
            "deploy interface direct",
        ),
        (
            make(disk_format="ami"),
            {},
            f"{NAME} has disk format ami: deploy interface iscsi writes raw or qcow2",
        ),
    ],
)
def test_refused(wanted: image.Image, info: dict[str, Any], message: str) -> None:
    with pytest.raises(exception.InvalidParameterValue) as refused:
        image.check_deployable(wanted, info)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("properties", "info", "missing"),
    [
        ({"kernel_id": None}, {}, "kernel_id"),
        ({"ramdisk_id": ""}, {}, "ramdisk_id"),
        (
            {"kernel_id": None, "ramdisk_id": None},
            {"ramdisk": "mine"},
            "kernel_id",
        ),
        ({"kernel_id": None, "ramdisk_id": None}, {}, "kernel_id and no property ramdisk_id"),
    ],
)
def test_no_kernel(properties: dict[str, Any], info: dict[str, Any], missing: str) -> None:
    with pytest.raises(exception.MissingParameterValue) as refused:
        image.check_kernel(make(properties=properties), info)
    assert str(refused.value) == (
        f"{NAME} has no property {missing}: boot interface ipxe-netboot starts the node with them. "
        "A whole-disk image needs deploy interface direct"
    )


def test_a_kernel_of_the_nodes_own() -> None:
    wanted = make(properties={"kernel_id": None, "ramdisk_id": None})
    image.check_kernel(wanted, {"kernel": "a", "ramdisk": "b"})
