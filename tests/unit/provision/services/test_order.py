"""What comes first, on a node and across nodes."""

import itertools
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provision.services.model import Dependency, Project, Service
from provision.services.order import Step, circle, dependencies, natural, steps
from provision.services.placement import PlacementError


def project(depends: Mapping[str, list[str]]) -> Project:
    """Make services that depend on others: `db`, `db@HOST` or `db!`, which restarts with it."""
    return Project(
        name="shop",
        services={
            name: Service(
                name=name,
                image="r.example/x",
                depends_on=tuple(
                    Dependency(
                        service=one.rstrip("!").partition("@")[0],
                        host=one.rstrip("!").partition("@")[2] or None,
                        restart=one.endswith("!"),
                    )
                    for one in others
                ),
            )
            for name, others in depends.items()
        },
    )


def said(found: list[Step]) -> str:
    return " ".join(f"{one.service}@{one.host}" for one in found)


@pytest.mark.parametrize(
    ("depends", "placed", "expected"),
    [
        ({"a": []}, {"a": ()}, ""),
        ({"a": [], "b": []}, {"b": ("n1",), "a": ("n1",)}, "a@n1 b@n1"),
        ({"a": ["b"], "b": []}, {"a": ("n1",), "b": ("n1",)}, "b@n1 a@n1"),
        (
            {"a": ["b"], "b": []},
            {"a": ("n10", "n2"), "b": ("n10", "n2")},
            "b@n2 a@n2 b@n10 a@n10",
        ),
        # only on other nodes: all of them first
        (
            {"web": ["db"], "db": []},
            {"web": ("n1", "n4"), "db": ("n2", "n3")},
            "db@n2 db@n3 web@n1 web@n4",
        ),
        # on this node too: this one is meant
        (
            {"web": ["db"], "db": []},
            {"web": ("n1", "n2"), "db": ("n2", "n3")},
            "db@n2 web@n2 db@n3 web@n1",
        ),
        # a host's own is named
        (
            {"web": ["db@n3"], "db": []},
            {"web": ("n1", "n3"), "db": ("n1", "n3")},
            "db@n1 db@n3 web@n1 web@n3",
        ),
        # what it depends on is nowhere yet
        ({"web": ["db"], "db": []}, {"web": ("n1",), "db": ()}, "web@n1"),
        ({"web": ["db"], "db": []}, {"web": ("n1",)}, "web@n1"),
    ],
)
def test_steps(
    depends: dict[str, list[str]], placed: dict[str, tuple[str, ...]], expected: str
) -> None:
    assert said(steps(project(depends), placed)) == expected


def test_steps_that_wait_for_each_other() -> None:
    """What load() refuses, made by hand."""
    with pytest.raises(PlacementError) as caught:
        steps(
            project({"a": ["b@n1"], "b": ["a@n2"], "c": ["a"]}),
            {"a": ("n1", "n2"), "b": ("n1", "n2"), "c": ("n1",)},
        )
    assert str(caught.value) == (
        "the services wait for each other in a circle: b on n1 -> a on n2 -> b on n1"
    )


NAMES = st.sampled_from("abcdefgh")
GRAPHS = st.dictionaries(NAMES, st.lists(NAMES, max_size=4), max_size=8)


@settings(deadline=None)  # a busy machine is no failure
@given(GRAPHS)
def test_a_circle_is_found_where_there_is_one(graph: dict[str, list[str]]) -> None:
    found = circle(graph)
    if found:
        assert found[0] == found[-1]
        assert len(set(found)) == len(found) - 1
        assert all(after in graph[one] for one, after in itertools.pairwise(found))
    else:
        left = dict(graph)
        while free := [one for one in left if not set(left[one]) & set(left)]:
            for one in free:
                del left[one]
        assert not left


def test_a_long_chain_needs_no_deep_stack() -> None:
    chain = {number: [number + 1] for number in range(50_000)}
    assert circle(chain) == ()
    assert circle(chain | {50_000: [49_999]}) == (49_999, 50_000, 49_999)


@st.composite
def sites(draw: st.DrawFn) -> tuple[Project, dict[str, tuple[str, ...]]]:
    names = [f"s{number}" for number in range(draw(st.integers(1, 6)))]
    hosts = ["n1", "n2", "n10", "m1"]
    later = {name: names[:number] for number, name in enumerate(names)}
    depends = {
        name: [
            one + draw(st.sampled_from(["", "", "@n1", "@n*"]))
            for one in (
                draw(st.lists(st.sampled_from(later[name]), unique=True)) if later[name] else []
            )
        ]
        for name in draw(st.permutations(names))
    }
    placed = {name: tuple(draw(st.lists(st.sampled_from(hosts), unique=True))) for name in names}
    return project(depends), placed


@settings(deadline=None)  # a busy machine is no failure
@given(sites())
def test_all_find_there_what_they_depend_on(
    site: tuple[Project, dict[str, tuple[str, ...]]],
) -> None:
    services, placed = site
    found = steps(services, placed)
    assert len(found) == len(set(found)) == sum(map(len, placed.values()))
    for number, step in enumerate(found):
        assert set(dependencies(services, placed, step)) <= set(found[:number])
    backwards = {name: hosts[::-1] for name, hosts in placed.items()}
    assert steps(services, backwards) == found


def test_numbers_in_names_are_counted() -> None:
    names = ["n10", "n2", "n1a", "a", "n", "n01", "1", "n1"]
    assert sorted(names, key=natural) == ["1", "a", "n", "n01", "n1", "n1a", "n2", "n10"]
    assert natural("n" + "9" * 9999) > natural("n1")
