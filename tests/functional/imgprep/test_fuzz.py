"""Search each parser for what breaks it, briefly; `make fuzz` does so at length."""

import importlib.util
import os
from pathlib import Path

import pytest

from tests.fuzz import run
from tests.fuzz.targets import TARGETS

INPUTS = {"precheck": 1500}
OTHERS = 4000


@pytest.fixture(scope="module", autouse=True)
def atheris() -> None:
    if importlib.util.find_spec("atheris") is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)("missing: atheris")


def test_a_search_finds_a_fault(tmp_path: Path) -> None:
    """The control: a parser that fails on one word of four letters."""
    found = run.search("control", 1_000_000, tmp_path)
    assert found.found == "crash"
    assert "KeyError: 'fuzz" in found.last
    assert len(list((tmp_path / "control").glob("found-crash-*"))) == 1


@pytest.mark.parametrize("name", TARGETS)
def test_a_short_search_finds_nothing(name: str, tmp_path: Path) -> None:
    inputs = INPUTS.get(name, OTHERS)
    done = run.search(name, inputs, tmp_path)
    assert (done.found, done.last) == ("", "")
    assert done.inputs >= inputs
    assert done.branches > 0
