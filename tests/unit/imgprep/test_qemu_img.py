import json
from pathlib import Path

import pytest

from atomic_baremetal.errors import CommandError
from imgprep import qemu_img
from imgprep.precheck import ImageFormat


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A qemu-img that notes its arguments, one a line, and then does what `then` says."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    (binaries / "qemu-img").write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/argv\n. {tmp_path}/then\n'
    )
    (binaries / "qemu-img").chmod(0o755)
    (tmp_path / "then").write_text("exit 0\n")
    monkeypatch.setenv("PATH", f"{binaries}:/usr/bin:/bin")
    return tmp_path


def test_a_range_is_named_so_that_no_path_is_syntax(fake: Path) -> None:
    path = Path('/a, b:c="d"%20/\\x')
    named = qemu_img.extent(path, format_=ImageFormat.QCOW2, offset_bytes=512, size_bytes=1024)
    assert named.startswith("json:")
    assert json.loads(named.removeprefix("json:")) == {
        "driver": "raw",
        "offset": 512,
        "size": 1024,
        "file": {"driver": "qcow2", "file": {"driver": "file", "filename": str(path)}},
    }
    qemu_img.convert(named, fake / "target", format_=ImageFormat.RAW)
    assert (fake / "argv").read_text().splitlines() == [
        *("convert", "-O", "raw", named, f"{fake}/target")
    ]


def test_the_format_of_the_backing_file_is_always_given(fake: Path) -> None:
    qemu_img.create_overlay(fake / "over", of=Path("/image"), of_format=ImageFormat.RAW)
    assert (fake / "argv").read_text().splitlines() == [
        *("create", "-q", "-f", "qcow2", "-b", "/image", "-F", "raw", f"{fake}/over")
    ]


def test_a_full_disk_is_told_apart(fake: Path) -> None:
    (fake / "then").write_text(
        "echo 'qemu-img: error while writing at byte 0: No space left on device' >&2; exit 1\n"
    )
    with pytest.raises(qemu_img.NoSpaceError) as error:
        qemu_img.convert("x", fake / "target", format_=ImageFormat.RAW)
    assert str(error.value) == "the disk is full (free some space and try again)"


@pytest.mark.parametrize(
    ("then", "said"),
    [
        ("echo broken >&2; exit 3", "qemu-img failed with status 3: broken"),
        ("kill -KILL $$", "qemu-img was killed by SIGKILL"),
    ],
)
def test_failures_name_qemu_img(fake: Path, then: str, said: str) -> None:
    (fake / "then").write_text(then + "\n")
    with pytest.raises(CommandError) as error:
        qemu_img.measure("x")
    assert str(error.value) == said


def test_it_runs_with_limits(fake: Path) -> None:
    limits = "ulimit -Sv; ulimit -Hv; ulimit -St; ulimit -Ht; ulimit -c"
    (fake / "then").write_text(f"({limits}) > {fake}/limits\n")
    qemu_img.convert("x", fake / "target", format_=ImageFormat.RAW)
    memory, time = str(qemu_img.MEMORY_BYTES >> 10), str(qemu_img.COPY_S)
    assert (fake / "limits").read_text().split() == [memory, memory, time, time, "0"]


def test_what_does_not_end_is_ended(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (fake / "then").write_text("while :; do :; done\n")
    monkeypatch.setattr(qemu_img, "QUICK_S", 1)
    with pytest.raises(CommandError) as error:
        qemu_img.measure("x")
    assert str(error.value) in (  # by its time on the clock, or by that of the processor
        "qemu-img did not end within 1 seconds and was killed",
        "qemu-img was killed by SIGKILL",
    )


def test_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(CommandError) as error:
        qemu_img.measure("x")
    assert str(error.value) == "qemu-img: no such program (install qemu-utils)"
