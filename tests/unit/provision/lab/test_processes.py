"""Only what the lab started is ever ended."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from provision.lab import processes
from provision.lab.model import Lab

SLEEP = ("sleep", "60")


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(SLEEP)
    yield child
    child.kill()
    child.wait()


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(
        name="unit",
        id="7d36f4ae-4a0c-4e43-9ed5-7f6a8f3d0a10",
        subnet=99,
        nodes=1,
        password="",
        redfish_password="",
        directory=tmp_path,
    )


@pytest.mark.parametrize("name", ["cat", "a b", "tricky) R 1", "((", ") S 99 ("])
def test_a_program_may_be_called_anything(name: str) -> None:
    fields = " ".join(str(number) for number in range(5, 53))
    stat = processes.parse_stat(f"4711 ({name}) S 17 {fields}\n")
    assert (stat.state, stat.parent, stat.started_ticks) == ("S", 17, 22)


def test_the_fields_are_those_of_the_kernel() -> None:
    own = processes.identify(os.getpid())
    assert own is not None
    ticks_s = os.sysconf("SC_CLK_TCK")
    uptime_s = float(Path("/proc/uptime").read_text().split()[0])
    assert 0 <= uptime_s - own.started_ticks / ticks_s < 3600
    assert processes.is_alive(own)


def test_a_process_is_itself(sleeper: subprocess.Popen[bytes]) -> None:
    process = processes.identify(sleeper.pid)
    assert process is not None
    assert processes.is_alive(process)
    processes.end([process])
    assert not processes.is_alive(process)
    assert processes.identify(sleeper.pid) is None


@pytest.mark.parametrize("change", [{"started_ticks": 1}, {"boot_id": "another"}])
def test_another_process_of_the_same_number_is_left_alone(
    sleeper: subprocess.Popen[bytes], change: dict[str, str | int]
) -> None:
    process = processes.identify(sleeper.pid)
    assert process is not None
    before = replace(process, **change)
    assert not processes.is_alive(before)
    processes.end([before])
    assert sleeper.poll() is None


def test_who_does_not_listen_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "TERM_S", 0.2)
    deaf = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()
        process = processes.identify(child.pid)
        assert process is not None
        processes.end([process])
        assert not processes.is_alive(process)


def test_children_of_children_are_found() -> None:
    script = "import subprocess; subprocess.run(['sh', '-c', 'sleep 60; true'])"
    with subprocess.Popen([sys.executable, "-c", script]) as child:
        try:
            deadline = time.monotonic() + 10
            while len(found := processes.descendants(child.pid)) < 2:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            names = {Path(f"/proc/{one.pid}/comm").read_text().strip() for one in found}
            assert names == {"sh", "sleep"}
        finally:
            processes.end(processes.descendants(child.pid))
            child.send_signal(signal.SIGKILL)


def test_left_overs_are_found_by_the_mark_of_this_lab_and_service(lab: Lab) -> None:
    marks = [f"{lab.id}/glance", f"{lab.id}/ironic", "another-lab/glance"]
    children = [subprocess.Popen(SLEEP, env={**os.environ, processes.MARK: mark}) for mark in marks]
    try:
        found = processes.strays(lab, "glance")
        assert [process.pid for process in found] == [children[0].pid]
        processes.stop(lab, "glance")
        assert not processes.is_alive(found[0])
        assert [child.poll() for child in children[1:]] == [None, None]
    finally:
        for child in children:
            child.kill()
            child.wait()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"process": {"pid": 1}, "fingerprint": ""}'])
def test_a_damaged_record_means_it_does_not_run(lab: Lab, text: str) -> None:
    lab.running.mkdir()
    (lab.running / "glance.json").write_text(text)
    assert processes.running(lab, "glance") is None


def test_last_words(lab: Lab) -> None:
    assert processes.last_words(lab, "glance") == "it said nothing"
    lab.logs.mkdir()
    (lab.logs / "glance.log").write_text("one\n\ntwo\n three \nfour\n")
    assert processes.last_words(lab, "glance") == "two; three; four"
