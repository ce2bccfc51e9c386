import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from atomic_baremetal import durable
from atomic_baremetal.errors import Error
from imgprep import bundle, workplace

HOLDER = """
import sys, time
from pathlib import Path
from imgprep import workplace
with workplace.{call} as place:
    (place / "half").write_text("x")
    print(place, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def hold(
    holder: list[subprocess.Popen[str]], call: str, **env: str
) -> tuple[subprocess.Popen[str], Path]:
    """Run a process that has a place; return it and the place."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER.format(call=call)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **env},
    )
    holder.append(process)
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_one_run_at_a_time(holder: list[subprocess.Popen[str]], tmp_path: Path) -> None:
    process, _place = hold(holder, f"beside(Path({str(tmp_path / 'out')!r}))")
    with pytest.raises(workplace.BusyError) as error, bundle.written(tmp_path / "out"):
        pass
    assert str(error.value) == (
        f"another imgprep is making {tmp_path}/out at this moment"
        " (wait for it, or name another place with -o)"
    )
    with workplace.beside(tmp_path / "other"):
        pass
    kill(process)
    assert [path.name for path in tmp_path.iterdir()] == [".out.imgprep"]
    with workplace.beside(tmp_path / "out") as mine:
        assert list(mine.iterdir()) == []
        assert list(mine.parent.iterdir()) == [mine]
    assert list(tmp_path.iterdir()) == []


def test_a_dead_runs_temporary_files_go_and_a_live_ones_stay(
    holder: list[subprocess.Popen[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "imgprep-file").write_text("not a directory")
    (tmp_path / "imgprep-link").symlink_to(tmp_path)
    dead, dead_place = hold(holder, "temporary()", TMPDIR=str(tmp_path))
    _live, live_place = hold(holder, "temporary()", TMPDIR=str(tmp_path))
    kill(dead)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with workplace.temporary() as mine:
        assert mine.is_dir()
        assert not dead_place.exists()
        assert (live_place / "half").exists()
    there = {path.name for path in tmp_path.iterdir()}
    assert there == {"imgprep-file", "imgprep-link", live_place.name}


def test_a_bundle_that_a_dead_run_put_aside_comes_back(tmp_path: Path) -> None:
    """Where names cannot be exchanged in one step, a run can die between the two it takes."""
    aside = tmp_path / ".out.imgprep" / "run-1" / "old"
    aside.mkdir(parents=True)
    (aside / "file").write_text("kept")
    with pytest.raises(KeyboardInterrupt), workplace.beside(tmp_path / "out"):
        assert (tmp_path / "out" / "file").read_text() == "kept"
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_something_else_in_the_way(tmp_path: Path) -> None:
    (tmp_path / ".out.imgprep").write_text("")
    with pytest.raises(Error) as error, workplace.beside(tmp_path / "out"):
        pass
    assert str(error.value) == f"{tmp_path}/.out.imgprep is in the way: File exists (remove it)"


def test_a_dead_appliances_sockets_go_and_a_live_ones_stay(tmp_path: Path) -> None:
    dead, live, empty = (
        Path(tempfile.mkdtemp(prefix="libguestfs", dir="/tmp")[:-2]) for _ in range(3)
    )
    # mkdtemp's names are longer by two than libguestfs'
    for directory in (dead, live, empty):
        Path(next(Path("/tmp").glob(f"{directory.name}??"))).rename(directory)
    listening = [socket.socket(socket.AF_UNIX) for _ in range(2)]
    for one, directory in zip(listening, (dead, live), strict=True):
        one.bind(str(directory / "guestfsd.sock"))
        one.listen()
    listening[0].close()
    try:
        (tmp_path / ".out.imgprep" / "run-1").mkdir(parents=True)
        os.utime(tmp_path / ".out.imgprep", (1, 1))
        with workplace.beside(tmp_path / "out"):
            assert [directory.exists() for directory in (dead, live, empty)] == [False, True, True]
    finally:
        listening[1].close()
        for directory in (dead, live, empty):
            for path in directory.glob("*"):
                path.unlink()
            if directory.exists():
                directory.rmdir()


@pytest.mark.parametrize("exchanges", [True, False])
def test_two_directories_change_places(
    exchanges: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    if not exchanges:
        monkeypatch.setattr(durable, "RENAME_EXCHANGE", 1 << 20)  # a flag that no kernel knows
    assert durable.exchange(tmp_path / "one", tmp_path / "other") is exchanges
    expected = "other" if exchanges else "one"
    assert (tmp_path / "one" / "file").read_text() == expected


def test_names_that_cannot_change_places(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as error:
        durable.exchange(tmp_path / "one", tmp_path / "other")
    assert str(error.value) == (
        f"[Errno 2] No such file or directory: '{tmp_path}/one' -> '{tmp_path}/other'"
    )
