"""How an appliance is saved, by a qemu that is played here, and where it is kept."""

import json
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imgprep import saved_appliance
from imgprep.precheck import ImageError
from imgprep.start_qemu import MEMORY, MONITOR


def test_what_was_saved_becomes_the_target_whole(tmp_path: Path) -> None:
    target = tmp_path / "kept" / "512"
    for content in ("old", "new"):
        with saved_appliance.new(target) as directory:
            assert len(str(directory / MONITOR)) < 40
            (directory / MEMORY).write_text(content)
            (directory / MONITOR).touch()
            saved_appliance.empty_disk(directory)
            # there is one target at a time: what others see is whole
            assert not target.exists() or (target / MEMORY).read_text() == "old"
    assert [path.name for path in target.parent.iterdir()] == ["512"]
    assert [path.name for path in target.iterdir()] == [MEMORY]
    assert (target / MEMORY).read_text() == "new"


def test_what_failed_is_gone(tmp_path: Path) -> None:
    target = tmp_path / "512"
    with pytest.raises(KeyboardInterrupt), saved_appliance.new(target) as directory:
        (directory / MEMORY).touch()
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_one_run_at_a_time_saves_and_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    target = tmp_path / "512"
    (tmp_path / "new-killed").mkdir()
    with saved_appliance.new(target) as first:
        with pytest.raises(ImageError, match="another run"), saved_appliance.new(target):
            pass
        assert first.is_dir()
        assert len(list(tmp_path.iterdir())) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["512"]


Play = Callable[[dict[str, Any]], list[dict[str, Any]]]


def played(directory: Path, play: Play) -> threading.Thread:
    """Be a qemu with a monitor; what it is given by `getfd` it writes to."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(directory / MONITOR))
    listening.listen()

    def serve() -> None:
        with listening, listening.accept()[0] as channel:
            channel.sendall(b'{"QMP": {"version": {}, "capabilities": []}}\n')
            while True:
                asked, files, *_ = socket.recv_fds(channel, 10_000, 1)
                if not asked:
                    return
                for file in files:
                    with os.fdopen(file, "wb") as memory:
                        memory.write(b"memory")
                for answer in play(json.loads(asked)):
                    channel.sendall(json.dumps(answer).encode() + b"\n")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return thread


def test_the_memory_goes_to_a_file(tmp_path: Path) -> None:
    states = iter(["setup", "active", "completed"])
    asked = []

    def play(command: dict[str, Any]) -> list[dict[str, Any]]:
        asked.append(command["execute"])
        if command["execute"] == "query-migrate":
            return [{"event": "STOP"}, {"return": {"status": next(states)}}]
        return [{"return": {}}]

    thread = played(tmp_path, play)
    saved_appliance.save(tmp_path)
    thread.join(10)
    assert (tmp_path / MEMORY).read_bytes() == b"memory"
    assert asked == [
        *("qmp_capabilities", "getfd", "migrate-set-parameters", "migrate"),
        *(["query-migrate"] * 3),
        "quit",
    ]


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (
            {"migrate": [{"error": {"class": "GenericError", "desc": "no"}}]},
            "the appliance cannot be saved: {'class': 'GenericError', 'desc': 'no'}",
        ),
        (
            {"query-migrate": [{"return": {"status": "failed"}}]},
            "the appliance cannot be saved: {'status': 'failed'}",
        ),
    ],
)
def test_a_qemu_that_cannot_is_told_of(
    tmp_path: Path, answers: dict[str, list[dict[str, Any]]], said: str
) -> None:
    played(tmp_path, lambda command: answers.get(command["execute"], [{"return": {}}]))
    with pytest.raises(ImageError) as failed:
        saved_appliance.save(tmp_path)
    assert str(failed.value) == said
