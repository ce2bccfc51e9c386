from dataclasses import replace
from pathlib import Path

import pytest

from imgprep import registry
from imgprep.bundle import Base, Bundle, Deployed, File, Manifest, SourceImage
from imgprep.registry import Image, Options, Wanted

GIB = 1 << 30
MADE = Bundle(
    directory=Path("x"),
    manifest=Manifest(
        schema=1,
        name="x",
        source=SourceImage(file="x.qcow2", format="qcow2", virtual_size_bytes=7 * GIB),
        kernel=File(file="x-kernel", size_bytes=1, sha256="k"),
        ramdisk=File(file="x-ramdisk", size_bytes=1, sha256="r"),
        base=Base(
            file="x-base",
            size_bytes=1,
            sha256="b",
            format="qcow2",
            virtual_size_bytes=6 * GIB + 1,
            content="lvm2-pv",
        ),
        kernel_cmdline="root=x",
        deployment=Deployed(
            stateroot="os", checksum="c", serial=0, bootcsum="b", kernel_version="6"
        ),
    ),
)


def test_what_images_a_bundle_wants() -> None:
    kernel, ramdisk, base = registry.wanted_images(MADE, Options(), project="p")
    assert kernel == Wanted(
        name="x-kernel",
        disk_format="aki",
        container_format="aki",
        visibility=None,
        properties={"atomic_baremetal_sha256": "k"},
    )
    assert ramdisk == replace(
        kernel,
        name="x-ramdisk",
        disk_format="ari",
        container_format="ari",
        properties={"atomic_baremetal_sha256": "r"},
    )
    assert registry.with_boot(base, "1", "2") == Wanted(
        name="x",
        disk_format="qcow2",
        container_format="bare",
        visibility=None,
        min_disk=7,
        properties={
            "atomic_baremetal_sha256": "b",
            "kernel_cmdline": "root=x",
            "kernel_id": "1",
            "ramdisk_id": "2",
        },
    )


@pytest.mark.parametrize(
    ("given", "project", "visibility"),
    [(None, None, "public"), (None, "p", None), ("private", None, "private")],
)
def test_visibility(given: str | None, project: str | None, visibility: str | None) -> None:
    images = registry.wanted_images(MADE, Options(visibility=given), project=project)
    assert {image.visibility for image in images} == {visibility}


def test_the_way_of_2014() -> None:
    base = registry.wanted_images(MADE, Options(legacy_ami=True), project=None)[2]
    assert (base.disk_format, base.container_format) == ("ami", "ami")


WANTED = Wanted(
    name="x",
    disk_format="raw",
    container_format="bare",
    visibility="public",
    min_disk=1,
    properties={"atomic_baremetal_sha256": "b", "kernel_id": "1"},
)
SAME = Image(
    id="0",
    name="x",
    status="active",
    disk_format="raw",
    container_format="bare",
    visibility="public",
    min_disk=1,
    properties={"atomic_baremetal_sha256": "b", "kernel_id": "1", "more": "y"},
)


@pytest.mark.parametrize(
    ("image", "met"),
    [
        (SAME, True),
        (replace(SAME, status="saving"), False),
        (replace(SAME, name="x.uploading"), False),
        (replace(SAME, disk_format="qcow2"), False),
        (replace(SAME, container_format="ami"), False),
        (replace(SAME, visibility="private"), False),
        (replace(SAME, min_disk=2), False),
        (replace(SAME, properties={"atomic_baremetal_sha256": "b"}), False),
        (replace(SAME, properties={"atomic_baremetal_sha256": "c", "kernel_id": "1"}), False),
    ],
)
def test_what_is_there_already(image: Image, met: bool) -> None:
    assert WANTED.is_met_by(image) is met
