"""Register bundles in a real Glance."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from atomic_baremetal.errors import Error
from imgprep import bundle, registry
from imgprep.bundle import Base, Bundle, Deployed, Manifest, SourceImage
from tests.functional import glance
from tests.functional.ports import free_port

Run = Callable[..., subprocess.CompletedProcess[str]]
GIB = 1 << 30


def make(
    directory: Path,
    *,
    name: str,
    cmdline: str = "root=x",
    kernel: bytes = b"k" * 9,
    base_bytes: int = 3_000_000,
) -> Bundle:
    """Write a bundle of a few bytes."""
    directory.mkdir(parents=True)
    for part, content in (("kernel", kernel), ("ramdisk", b"r" * 7), ("base", b"b" * 3_000_000)):
        (directory / f"{name}-{part}").write_bytes(content)
    os.truncate(directory / f"{name}-base", base_bytes)
    described = {
        part: bundle.describe(directory / f"{name}-{part}")
        for part in ("kernel", "ramdisk", "base")
    }
    base = described["base"]
    manifest = Manifest(
        schema=1,
        name=name,
        source=SourceImage(file="x.qcow2", format="qcow2", virtual_size_bytes=GIB),
        kernel=described["kernel"],
        ramdisk=described["ramdisk"],
        base=Base(
            file=base.file,
            size_bytes=base.size_bytes,
            sha256=base.sha256,
            format="raw",
            virtual_size_bytes=base.size_bytes,
            content="lvm2-pv",
        ),
        kernel_cmdline=cmdline,
        deployment=Deployed(
            stateroot="os", checksum="0" * 64, serial=0, bootcsum="1" * 64, kernel_version="6.1"
        ),
    )
    bundle.write_manifest(directory, manifest)
    return Bundle(directory=directory, manifest=manifest)


@pytest.fixture
def clouds(glance_service: glance.Glance, tmp_path: Path) -> Path:
    path = tmp_path / "clouds.yaml"
    glance_service.write_clouds(path)
    return path


class Api:
    """Glance's own API, asked without any of our code."""

    def __init__(self, service: glance.Glance) -> None:
        self.url = f"{service.url}/v2/images"
        self.session = requests.Session()
        self.session.auth = (service.user, service.password)

    def __call__(self) -> list[dict[str, Any]]:
        response = self.session.get(self.url)
        response.raise_for_status()
        return sorted(response.json()["images"], key=lambda image: str(image["name"]))

    def create(self, **fields: str) -> str:
        response = self.session.post(self.url, json=fields)
        response.raise_for_status()
        return str(response.json()["id"])


@pytest.fixture
def images(glance_service: glance.Glance) -> Iterator[Api]:
    """List what is in Glance; it is empty before and after a test."""
    api = Api(glance_service)
    yield api
    for image in api():
        api.session.delete(f"{api.url}/{image['id']}").raise_for_status()
    api.session.close()


def test_a_bundle_becomes_three_images(run: Run, clouds: Path, images: Api, tmp_path: Path) -> None:
    made = make(tmp_path / "b", name="small")
    done = json.loads(run("register", "b", "-f", "json", clouds=clouds).stdout)
    base, kernel, ramdisk = images()
    assert done == {
        "name": "small",
        "image": base["id"],
        "kernel": kernel["id"],
        "ramdisk": ramdisk["id"],
        "created": [kernel["id"], ramdisk["id"], base["id"]],
        "removed": [],
    }

    def picked(image: dict[str, Any], *more: str) -> tuple[Any, ...]:
        keys = ("name", "status", "visibility", "container_format", "disk_format", "size")
        return tuple(image[key] for key in (*keys, "atomic_baremetal_sha256", *more))

    files = made.manifest
    assert picked(kernel) == (
        *("small-kernel", "active", "public", "aki", "aki", 9),
        files.kernel.sha256,
    )
    assert picked(ramdisk) == (
        *("small-ramdisk", "active", "public", "ari", "ari", 7),
        files.ramdisk.sha256,
    )
    assert picked(base, "kernel_id", "ramdisk_id", "kernel_cmdline", "min_disk") == (
        *("small", "active", "public", "bare", "raw", 3_000_000, files.base.sha256),
        *(kernel["id"], ramdisk["id"], "root=x", 1),
    )


def test_an_upload_takes_the_same_memory_for_any_size(
    clouds: Path, images: Api, tmp_path: Path
) -> None:
    peaks = []
    for name, size in (("small", 3_000_000), ("large", 150_000_000)):
        make(tmp_path / name, name=name, base_bytes=size)
        process = subprocess.Popen(
            [sys.executable, "-m", "imgprep", "-q", "register", tmp_path / name, "-f", "json"],
            stdout=subprocess.DEVNULL,
            env={**os.environ, "OS_CLIENT_CONFIG_FILE": str(clouds), "OS_CLOUD": "test"},
        )
        _pid, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
        assert status == 0
        peaks.append(usage.ru_maxrss)  # in KiB
    assert [image["size"] for image in images() if "-" not in image["name"]] == [
        *(150_000_000, 3_000_000)
    ]
    assert peaks[1] - peaks[0] < 16 << 10


def test_a_second_time_creates_nothing(run: Run, clouds: Path, images: Api, tmp_path: Path) -> None:
    make(tmp_path / "b", name="small")
    first = json.loads(run("register", "b", "-f", "json", clouds=clouds).stdout)
    before = images()
    again = json.loads(run("register", "b/small.json", "-f", "json", clouds=clouds).stdout)
    assert again == {**first, "created": [], "removed": []}
    assert images() == before


def test_a_changed_bundle_replaces_what_changed(
    run: Run, clouds: Path, images: Api, tmp_path: Path
) -> None:
    make(tmp_path / "b", name="small")
    first = json.loads(run("register", "b", "-f", "json", clouds=clouds).stdout)
    make(tmp_path / "c", name="small", kernel=b"another kernel")
    done = json.loads(run("register", "c", "-f", "json", clouds=clouds).stdout)
    base, kernel, ramdisk = images()
    assert done["removed"] == [first["image"], first["kernel"]]
    assert done["created"] == [kernel["id"], base["id"]]
    assert ramdisk["id"] == first["ramdisk"]
    assert (base["name"], base["kernel_id"]) == ("small", kernel["id"])


def test_the_old_way(run: Run, clouds: Path, images: Api, tmp_path: Path) -> None:
    make(tmp_path / "b", name="small")
    run("register", "b", "--legacy-ami", "--visibility", "private", clouds=clouds)
    base = images()[0]
    assert [base[key] for key in ("container_format", "disk_format", "visibility")] == [
        *("ami", "ami", "private")
    ]


def test_unregister_removes_ours_alone(run: Run, clouds: Path, images: Api, tmp_path: Path) -> None:
    make(tmp_path / "b", name="small")
    run("register", "b", clouds=clouds)
    theirs = images.create(name="small")
    done = json.loads(run("unregister", "small", "-f", "json", clouds=clouds).stdout)
    assert (len(done["removed"]), done["left"]) == (3, [theirs])
    assert [image["id"] for image in images()] == [theirs]
    assert run("unregister", "small", clouds=clouds, status=1).stderr == (
        "imgprep: no bundle 'small' is registered (images of that name that imgprep did not make:"
        f" {theirs})\n"
    )


def test_a_failed_upload_leaves_nothing(
    images: Api, tmp_path: Path, clouds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make(tmp_path / "b", name="small")
    made.path(made.manifest.base).write_bytes(b"changed after the check" + b"b" * 2_999_977)
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds))
    with pytest.raises(Error) as error:
        registry.register(registry.Glance.connect("test"), made, registry.Options())
    assert str(error.value) == (
        f"{tmp_path}/b/small-base changed while it was uploaded (verify the bundle)"
    )
    assert images() == []


def test_what_an_upload_left_half_is_replaced(
    run: Run, clouds: Path, images: Api, tmp_path: Path
) -> None:
    made = make(tmp_path / "b", name="small")
    for name in ("small-kernel", "small.uploading"):
        images.create(name=name, atomic_baremetal_sha256=made.manifest.kernel.sha256)
    run("register", "b", clouds=clouds)
    assert [(image["name"], image["status"]) for image in images()] == [
        ("small", "active"),
        ("small-kernel", "active"),
        ("small-ramdisk", "active"),
    ]


def test_a_damaged_bundle_is_not_uploaded(
    run: Run, clouds: Path, images: Api, tmp_path: Path
) -> None:
    make(tmp_path / "b", name="small")
    (tmp_path / "b" / "small-kernel").write_bytes(b"x")
    (tmp_path / "b" / "small-ramdisk").unlink()
    done = run("register", "b", clouds=clouds, status=1)
    assert done.stderr.splitlines()[-1] == (
        "imgprep: the bundle b is damaged: small-kernel has 1 bytes, not 9; small-ramdisk is"
        " missing (make it again)"
    )
    assert images() == []


def test_wrong_credentials(
    run: Run, glance_service: glance.Glance, tmp_path: Path, images: Api
) -> None:
    make(tmp_path / "b", name="small")
    wrong = tmp_path / "wrong.yaml"
    glance_service.write_clouds(wrong, password="wrong")
    said = run("register", "b", clouds=wrong, status=1).stderr.splitlines()[-1]
    assert said.startswith("imgprep: Glance refused the credentials: ")
    assert said.endswith(" (check the user and password of this cloud in clouds.yaml)")
    assert images() == []


def test_glance_is_down(run: Run, glance_service: glance.Glance, tmp_path: Path) -> None:
    make(tmp_path / "b", name="small")
    down = tmp_path / "down.yaml"
    url = f"http://127.0.0.1:{free_port()}"
    glance.Glance(url=url, directory=tmp_path).write_clouds(down)
    done = run("register", "b", clouds=down, status=1)
    said = done.stderr.splitlines()[-1]
    assert said.startswith("imgprep: Glance cannot be reached: ")
    assert said.endswith(" (is it running, and is its endpoint in clouds.yaml right?)")
    assert "Traceback" not in done.stderr
