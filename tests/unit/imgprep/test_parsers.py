"""No bytes of an image break a parser: by properties, by size, and what a search once found.

The targets and what each has to hold are in tests/fuzz/targets.py; in
tests/functional/imgprep/test_fuzz.py
they are searched, guided by coverage.
"""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS

FOUND = Path(__file__).parents[2] / "fixtures" / "found"
LIMIT_S = 5
EXAMPLES = 60


@pytest.fixture(autouse=True)
def limited() -> Iterator[None]:
    """Let each test use five seconds of processor at most, whatever else the machine does."""

    def over(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"over {LIMIT_S} s")

    before = signal.signal(signal.SIGVTALRM, over)
    yield
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    signal.signal(signal.SIGVTALRM, before)


def within_limit(run: Callable[[bytes], None], data: bytes) -> None:
    signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT_S)
    run(data)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)


@st.composite
def near(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """Draw a seed with a few places of it cut out, doubled or written over."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 40)))
        between = draw(st.one_of(st.binary(max_size=12), st.just(data[start:end] * 2)))
        data = data[:start] + between + data[end:]
    return data


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes_are_read_or_refused(name: str) -> None:
    target = TARGETS[name]

    @settings(
        max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    @given(st.one_of(near(target.seeds), st.binary(max_size=600)))
    def hold(data: bytes) -> None:
        within_limit(target.run, data)

    hold()


@pytest.mark.parametrize(
    ("name", "number"),
    [(name, number) for name, target in TARGETS.items() for number in range(len(target.largest))],
)
def test_the_largest_take_less_than_five_seconds(name: str, number: int) -> None:
    within_limit(TARGETS[name].run, TARGETS[name].largest[number])


@pytest.mark.parametrize("name", TARGETS)
def test_what_a_search_starts_from_is_read(name: str) -> None:
    for seed in TARGETS[name].seeds:
        within_limit(TARGETS[name].run, seed)


@pytest.mark.parametrize("path", sorted(FOUND.glob("*/*")), ids=lambda path: path.name)
def test_what_once_broke_a_parser_does_not(path: Path) -> None:
    within_limit(TARGETS[path.parent.name].run, path.read_bytes())
