"""What is remembered of a lab."""

from pathlib import Path

import pytest

from provision.lab import record
from provision.lab.model import LabError


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("ATOMIC_LAB", "unit")
    return tmp_path


def test_a_lab_is_remembered_as_it_was() -> None:
    assert record.load("unit") is None
    lab = record.save(record.new(record.name(), subnet=101, nodes=2))
    assert record.load("unit") == lab
    assert lab.record.stat().st_mode & 0o777 == 0o600
    assert lab.directory.stat().st_mode & 0o777 == 0o700
    larger = record.save(lab, nodes=5)
    assert (larger.nodes, larger.password) == (5, lab.password)
    assert record.load_all() == [larger]


def test_each_lab_has_passwords_of_its_own() -> None:
    one, other = (record.new("unit", subnet=99, nodes=1) for _ in range(2))
    assert len({one.password, one.redfish_password, other.password, other.redfish_password}) == 4


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"id": "x"}'])
def test_a_damaged_record_is_an_error(text: str) -> None:
    lab = record.save(record.new("unit", subnet=99, nodes=1))
    lab.record.write_text(text)
    with pytest.raises(LabError, match=r"lab.json is damaged: .*by hand"):
        record.load("unit")


def test_one_command_at_a_time() -> None:
    with record.locked("unit"), pytest.raises(LabError) as caught, record.locked("unit"):
        pytest.fail("two commands at once")
    assert str(caught.value) == (
        "another command is working on the lab 'unit' (wait until it is done)"
    )
