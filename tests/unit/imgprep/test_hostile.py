"""No image whose header is hostile gets as far as a program that opens it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from imgprep import precheck
from imgprep.precheck import Source
from tests.fixtures import hostile
from tests.fixtures.hostile import Hostile
from tests.unit.imgprep import spied

ROOT = Path(__file__).parents[3]
FAKES = ("qemu-img", "prlimit", "setpriv", "qemu-system-x86_64")


class Spied:
    """What became of all hostile images, and of a good one."""

    def __init__(self, reports: list[dict[str, Any]], ran: str) -> None:
        self.ran = ran
        self._reports = reports

    def of(self, image: str) -> list[Mapping[str, Any]]:
        return [one for one in self._reports if one["arguments"][-1] == image]


def run_spied(directory: Path, images: dict[str, Any]) -> Spied:
    """Run imgprep on images, with nothing on PATH but fakes that note their arguments."""
    (directory / "bin").mkdir()
    for name in FAKES:
        fake = directory / "bin" / name
        fake.write_text(f'#!/bin/sh\necho "{name} $*" >> {directory}/ran\nexit 1\n')
        fake.chmod(0o755)
    (directory / "images").mkdir()
    for name, image in images.items():
        image.write(directory / "images" / name)
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.imgprep.spied"],
        cwd=directory / "images",
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("OS_")},
            "PATH": str(directory / "bin"),
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    ran = directory / "ran"
    left = sorted(path.name for path in (directory / "images").iterdir())
    assert left == sorted(images)
    return Spied(json.loads(done.stdout), ran.read_text() if ran.exists() else "")


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Spied:
    images = {one.name: one.image for one in hostile.ALL}
    return run_spied(tmp_path_factory.mktemp("hostile"), images)


def test_there_are_enough_and_no_two_of_one_name() -> None:
    assert len({one.name for one in hostile.ALL}) == len(hostile.ALL) >= 60


@pytest.mark.parametrize("one", hostile.ALL, ids=lambda one: one.name)
def test_it_is_refused_before_anything_opens_it(one: Hostile, refused: Spied) -> None:
    reports = refused.of(one.name)
    assert len(reports) == len(spied.COMMANDS)
    for report in reports:
        assert report["said"] == f"imgprep: {one.said.replace('IMAGE', one.name)}\n"
        assert report["status"] == 1
        assert report["started"] == ""
        assert report["rss_bytes"] < spied.MEMORY_BYTES


def test_no_program_ran_for_any_of_them(refused: Spied) -> None:
    assert refused.ran == ""


def test_the_spy_sees_what_is_run_for_a_good_image(tmp_path: Path) -> None:
    good = run_spied(tmp_path, {"good.qcow2": hostile.GOOD["qcow2"][0]})
    for report in good.of("good.qcow2"):
        assert report["status"] == 1
        assert report["started"].startswith("subprocess.Popen ")
        assert "'qemu-img', 'create'" in report["started"]
    assert good.ran.count("qemu-img create ") == len(spied.COMMANDS)


@pytest.mark.parametrize("name", hostile.GOOD)
def test_what_differs_in_nothing_is_accepted(name: str, tmp_path: Path) -> None:
    image, format_, size_bytes = hostile.GOOD[name]
    path = tmp_path / "image"
    image.write(path)
    assert precheck.check(path) == Source(
        path=path, format=precheck.ImageFormat(format_), virtual_size_bytes=size_bytes
    )


def test_the_name_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "image.raw"
    hostile.GOOD["qcow2"][0].write(path)
    assert precheck.check(path).format == "qcow2"
