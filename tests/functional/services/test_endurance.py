"""A few rounds of `benchmarks/endurance`, which the figures in docs/services.rst are from.

The tests build on each other: one host goes through upgrades and reboots, and then the checks
themselves are tried, as a run without failures says little if they could not fail.
"""

import importlib.util
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests import standin

PROGRAM = Path(__file__).parents[3] / "benchmarks" / "endurance"


@pytest.fixture(scope="module")
def endurance() -> ModuleType:
    loader = SourceFileLoader("endurance", str(PROGRAM))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def stage(endurance: ModuleType) -> Iterator[Any]:
    standin.need()
    with endurance.stage() as here:
        yield here


def test_upgrades_to_and_fro_leave_the_volume_alone(endurance: ModuleType, stage: Any) -> None:
    before = stage.look()
    series = endurance.upgrades(stage, 4)
    assert series.failures == []
    assert len(series.seconds) == 4
    after = stage.look()
    assert after["db"].container != before["db"].container
    assert after["api"] == before["api"]


def test_a_host_reboots_into_its_services_without_a_registry(
    endurance: ModuleType, stage: Any
) -> None:
    series = endurance.reboots(stage, 2, limit_s=120)
    assert series.failures == []
    assert len(series.seconds) == 2


def test_any_change_of_the_volume_would_be_seen(stage: Any) -> None:
    where = stage.host.run("podman volume inspect endurance_data --format '{{.Mountpoint}}'")
    # not a second may differ: what has to be seen is the change itself
    times = "find . -exec touch --no-dereference --date=@1000000000 {} +"
    seen = [stage.volume]
    for change in (
        "true",
        "printf x | dd of=table-001 bs=1 seek=9 conv=notrunc status=none",
        "mv empty Empty",
        "chmod 0601 table-000",
    ):
        stage.host.run(f"cd {where.strip()} && {change} && {times}")
        seen.append(stage.read_volume())
    assert {len(one) for one in seen} == {64}
    assert len(set(seen)) == 5
    assert stage.read_volume() == seen[-1]


def test_a_wrong_digest_and_a_lost_service_would_be_seen(stage: Any) -> None:
    wanted = stage.versions["db"]
    other = "2" if wanted == "1" else "1"
    stage.volume = stage.read_volume()
    stage.host.run("systemctl stop endurance-api")
    stage.versions["db"] = other
    problems = stage.problems(stage.look())
    assert problems[:3] == [
        "api has no container",
        f"db: digest '{stage.digests[wanted]}', not '{stage.digests[other]}'",
        f"db: version '{wanted}', not '{other}'",
    ]
    assert problems[3].startswith("status: ")
    assert len(problems) == 4
