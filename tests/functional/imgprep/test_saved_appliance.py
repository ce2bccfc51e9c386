"""Go on with an appliance that was saved; it must be as good as one that boots, or give way to it.

The tests build on each other: they share a cache.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from imgprep import overlay, precheck, saved_appliance, session
from imgprep.start_qemu import IDENTITY, MEMORY

RESUMED = "the appliance has not booted: a saved one goes on"
SAVING = "saving the appliance as it is when it has booted"
AGAIN = "once more, from its boot: "


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    cache = tmp_path_factory.mktemp("cache")
    # an appliance that was built already is used
    built = os.environ.get("LIBGUESTFS_CACHEDIR", "/var/tmp")
    own = {"XDG_CACHE_HOME": str(cache), "LIBGUESTFS_CACHEDIR": built}
    # one on KVM would boot
    return {**os.environ, **own, "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"}


@pytest.fixture(scope="module", autouse=True)
def here(environment: Mapping[str, str]) -> Iterator[None]:
    """Let this process have the same environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield


def kept() -> Path:
    return saved_appliance.place(sector_size_bytes=512)


def convert(image: Path, directory: Path, **environment: str) -> tuple[Any, str]:
    """Convert the deployment whose fstab stays as it is; return the manifest and what was said."""
    argv = ["atomic-to-pxe", image, "-o", directory / "out", "--name", "x", "--deployment", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "imgprep", "-v", *argv, "-f", "json"],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_a_resumed_one_makes_the_same_as_one_that_boots(image: Path, tmp_path: Path) -> None:
    hypervisor = "/usr/bin/qemu-system-x86_64"  # of the user's choice: it is not ours to change
    booted, said = convert(image, tmp_path, LIBGUESTFS_HV=hypervisor)
    assert (SAVING in said, RESUMED in said) == (False, False)
    first, said = convert(image, tmp_path)
    assert (SAVING in said, RESUMED in said) == (True, True)
    second, said = convert(image, tmp_path)
    assert (SAVING in said, RESUMED in said) == (False, True)
    assert first == booted
    assert second == booted
    assert sorted(path.name for path in kept().parent.iterdir()) == ["512"]


def test_it_has_this_disk_and_this_time(image: Path) -> None:
    with (
        overlay.temporary(precheck.check(image)) as path,
        session.launched(path) as appliance,
    ):
        [seconds] = str(appliance._do("debug", "sh", ["date +%s"])).split()
        assert abs(int(seconds) - time.time()) < 60
        assert len(appliance.partitions()) == 2
        size = int(appliance._do("blockdev_getsize64", "/dev/sda"))
        assert size == precheck.check(image).virtual_size_bytes


def test_nothing_of_a_run_is_kept(image: Path) -> None:
    """What one does to its appliance's root, memory and disk, the next one does not see."""
    before = {path.name: path.stat().st_mtime_ns for path in kept().iterdir()}
    for _ in range(2):
        with overlay.temporary(precheck.check(image)) as path, session.launched(path) as appliance:
            found = appliance._do("debug", "sh", ["ls /left /tmp/left /run/left 2>/dev/null || :"])
            assert str(found).strip() == ""
            appliance._do("debug", "sh", ["touch /left /tmp/left /run/left; sync"])
    assert {path.name: path.stat().st_mtime_ns for path in kept().iterdir()} == before


def damaged_identity() -> None:
    (kept() / IDENTITY).write_text("[]")


def damaged_memory() -> None:
    with (kept() / MEMORY).open("r+b") as file:
        file.truncate(1 << 20)


@pytest.mark.parametrize("damage", [damaged_identity, damaged_memory])
def test_one_that_cannot_go_on_gives_way(image: Path, tmp_path: Path, damage: Any) -> None:
    shutil.copytree(kept(), tmp_path / "good")
    damage()
    _, said = convert(image, tmp_path)
    assert (AGAIN in said, RESUMED in said) == (True, False)
    assert not kept().exists()
    (tmp_path / "good").rename(kept())


def test_a_run_that_is_ended_while_it_saves_leaves_nothing(image: Path, tmp_path: Path) -> None:
    shutil.rmtree(kept())
    argv = [sys.executable, "-m", "imgprep", "-v", "inspect", image]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        for line in running.stderr:
            if SAVING in line:
                break
        time.sleep(2)
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=30)
    assert running.returncode == 130
    assert list(kept().parent.iterdir()) == []
