"""Nothing in an image's file systems leads out of it, hangs us or reaches a terminal.

All images share a few appliances: what `imgprep atomic-to-pxe` does with each is done in one that
runs already.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from atomic_baremetal.errors import Error
from imgprep import convert, overlay, precheck, session
from imgprep.appliance import Appliance
from imgprep.drive import Drive
from tests.fixtures import hostile_files
from tests.fixtures.hostile_files import HostileFiles

AT_ONCE = 19
SESSIONS = [
    hostile_files.ALL[start : start + AT_ONCE]
    for start in range(0, len(hostile_files.ALL), AT_ONCE)
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a conversion did: an error's text, or the files of a bundle by name."""

    said: str | None = None
    files: Mapping[str, bytes] | None = None


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for tool in ("mke2fs", "debugfs"):
        if shutil.which(tool) is None:
            (pytest.fail if "CI" in os.environ else pytest.skip)(f"missing: {tool}")
    place = tmp_path_factory.mktemp("hostile")
    with ThreadPoolExecutor(4) as pool:  # mke2fs waits for the disk
        list(pool.map(lambda one: hostile_files.write(one, place / one.name), hostile_files.ALL))
    return place


@pytest.fixture(scope="module")
def outcomes(images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Convert all of them, and note what became of each."""
    place = tmp_path_factory.mktemp("converted")
    found: dict[str, Outcome] = {}
    for members in SESSIONS:
        drives = [drive(images / one.name, place) for one in members]
        with session.shared(drives) as disks:
            for one, disk in zip(members, disks, strict=True):
                found[one.name] = outcome(images / one.name, disk, place / "out")
    assert sorted(path.name for path in place.iterdir()) == sorted(found)
    return found


def drive(image: Path, place: Path) -> Drive:
    directory = place / image.name
    directory.mkdir()
    return Drive.of(overlay.make(precheck.check(image), directory=directory))


def outcome(image: Path, disk: Appliance, directory: Path) -> Outcome:
    @contextmanager
    def running(drives: Sequence[Drive]) -> Iterator[list[Appliance]]:
        assert len(drives) == 1
        yield [disk]

    request = convert.Request(image=image, name="x", directory=directory)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "shared", running)
        try:
            convert.convert(request)
        except Error as error:
            return Outcome(said=str(error))
    files = {path.name: path.read_bytes() for path in directory.iterdir() if path.suffix != ".json"}
    shutil.rmtree(directory)
    return Outcome(files=files)


@pytest.mark.parametrize("one", hostile_files.ALL, ids=lambda one: one.name)
def test_it_is_refused_or_handled(one: HostileFiles, outcomes: dict[str, Outcome]) -> None:
    found = outcomes[one.name]
    if one.said is not None:
        assert found.said == one.said.replace("DISK", disk_of(one))
        return
    assert found.said is None
    assert found.files is not None
    assert sorted(found.files) == ["x-base", "x-kernel", "x-ramdisk"]
    assert found.files["x-kernel"] == one.kernel
    assert found.files["x-ramdisk"] == one.ramdisk


def disk_of(one: HostileFiles) -> str:
    """Return what its disk is called in its appliance."""
    return next(session.DISKS[members.index(one)] for members in SESSIONS if one in members)


def test_what_the_images_hold_reaches_no_terminal(images: Path, tmp_path: Path) -> None:
    """The whole command, on the image whose error holds a name with escapes and line ends."""
    done = subprocess.run(
        [sys.executable, "-m", "imgprep", "inspect", images / "entry-name-with-escapes"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    escaped = hostile_files.HOSTILE_NAME.encode("unicode_escape").decode()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == (
        f"imgprep: boot entry {escaped}: no ostree= argument of a deployment: 'x'"
    )
    assert "\x1b" not in done.stderr
