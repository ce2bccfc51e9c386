"""Share what takes long: the small image, its conversion, a Glance."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from imgprep import base, convert
from imgprep.accelerator import accelerator
from imgprep.bundle import Bundle
from imgprep.partition_table import Extent
from imgprep.precheck import ImageFormat
from tests.fixtures import make_atomic_image
from tests.functional import glance

NEEDED = ("qemu-img", "qemu-system-x86_64", "prlimit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """A bundle, and beside it what the method of 2014 extracts from the same overlay."""

    bundle: Bundle
    by_2014: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Early:
    """A command that was started ahead of the test that is about it, in a directory of its own."""

    directory: Path
    future: "Future[subprocess.CompletedProcess[str]]"

    def done(self, *, status: int = 0) -> subprocess.CompletedProcess[str]:
        done = self.future.result()
        assert done.returncode == status, done.stderr
        return done


def sha256_of(path: Path) -> str:
    return subprocess.run(["sha256sum", path], capture_output=True, text=True).stdout.split()[0]


@pytest.fixture(scope="session", autouse=True)
def tools() -> None:
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if importlib.util.find_spec("guestfs") is None:
        missing.append("guestfs")
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"missing: {missing}")
    if missing:
        pytest.skip(f"missing: {missing}")


@pytest.fixture(scope="session")
def image(tools: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small image, in a directory whose name holds what qemu would read as syntax."""
    path = tmp_path_factory.mktemp("image") / "a, b:c" / "small.atomic.qcow2"
    path.parent.mkdir()
    make_atomic_image.make(path)
    return path


@pytest.fixture(scope="session")
def image_sha256(image: Path) -> str:
    return sha256_of(image)


@pytest.fixture(scope="session")
def converted(
    image: Path, early: dict[str, Early], tmp_path_factory: pytest.TempPathFactory
) -> Converted:
    """Convert the default deployment; on the way, apply the method of 2014 to the same overlay."""
    place = tmp_path_factory.mktemp("bundle")
    by_2014 = place / "by-2014"
    original = base.update

    def spy(target: Path, overlay: Path, extent: Extent, *, format_: ImageFormat) -> None:
        extract_by_2014(overlay, by_2014)
        original(target, overlay, extent, format_=format_)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "update", spy)
        made = convert.convert(convert.Request(image=image, directory=place / "small"))
    return Converted(bundle=made, by_2014=by_2014)


def extract_by_2014(image: Path, target: Path) -> None:
    """Convert the whole disk to raw and cut the second partition out with dd."""
    whole = target.with_suffix(".whole")
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, whole], check=True)
    start = (1 + make_atomic_image.BOOT_MIB) * make_atomic_image.SECTORS_A_MIB
    argv = ["dd", f"if={whole}", f"of={target}", "bs=512", f"skip={start}", "status=none"]
    subprocess.run(argv, check=True)
    whole.unlink()


@pytest.fixture(scope="session")
def glance_service(
    tools: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[glance.Glance]:
    directory = tmp_path_factory.mktemp("glance") / "service"
    directory.mkdir()
    with glance.running(directory) as service:
        yield service


def imgprep(
    *arguments: str | Path, directory: Path, clouds: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run imgprep as a user does, in a directory of its own, with no cloud but the one given."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
    env["XDG_STATE_HOME"] = str(directory / "state")
    if clouds is not None:
        env |= {"OS_CLIENT_CONFIG_FILE": str(clouds), "OS_CLOUD": "test"}
    return subprocess.run(
        [sys.executable, "-m", "imgprep", *arguments],
        capture_output=True,
        text=True,
        cwd=directory,
        env=env,
    )


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run imgprep in the test's directory and check its exit status."""

    def run(
        *arguments: str | Path, clouds: Path | None = None, status: int = 0
    ) -> subprocess.CompletedProcess[str]:
        done = imgprep(*arguments, directory=tmp_path, clouds=clouds)
        assert done.returncode == status, done.stderr
        return done

    return run


@pytest.fixture(scope="session")
def early(
    image: Path, image_sha256: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Early]]:
    """Start what spends its time in an appliance of its own, two at a time."""
    checksum = f"sha256:{image_sha256}"
    older = ("--deployment", "1", "--base-format", "raw", "--checksum", checksum, "-f", "json")
    empty = tmp_path_factory.mktemp("empty") / "disk.raw"
    write_empty_disk(empty)
    commands: dict[str, tuple[str | Path, ...]] = {
        "inspect": ("inspect", image, "-f", "json"),
        "older": ("atomic-to-pxe", image, "-o", "older", *older),
        "no-ostree": ("atomic-to-pxe", empty, "-o", "out"),
    }
    accelerator()  # one verdict for all
    with ThreadPoolExecutor(2) as pool:
        started = {}
        for name, arguments in commands.items():
            directory = tmp_path_factory.mktemp(name)
            future = pool.submit(imgprep, *arguments, directory=directory)
            started[name] = Early(directory=directory, future=future)
        yield started


def write_empty_disk(path: Path) -> None:
    """Write a disk with one Linux partition of 1 MiB that starts at 1 MiB, and nothing in it."""
    with path.open("wb") as file:
        file.truncate(4 << 20)
        file.seek(446)
        file.write(bytes((0, 0, 2, 0, 0x83, 0, 2, 0)) + (2048).to_bytes(4, "little") * 2)
        file.seek(510)
        file.write(b"\x55\xaa")
