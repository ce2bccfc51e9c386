"""What is decided for a service, from what the file wants and what the node has."""

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from provision.services import plan, state
from provision.services.host import Container, FileState, Observed, OnNode
from provision.services.unit import render
from provision.services.unit.render import Rendered
from tests.unit.provision.services.fakes import FILE, digest, project


@pytest.fixture
def wanted(tmp_path: Path) -> Callable[..., Rendered]:
    def make(*changes: tuple[str, str], letter: str = "1") -> Rendered:
        text = FILE
        for before, after in changes:
            text = text.replace(before, after)
        return render.render(
            project(tmp_path, text),
            "db",
            pinned=f"registry.lab:5000/mariadb@{digest(letter)}",
            beside=["db", "api", "web"],
            podman=(4, 3, 1),
        )

    return make


def on_node(one: Rendered, **changes: Any) -> OnNode:
    """A node that has exactly what was rendered, up and healthy."""
    ((config, files),) = one.configs.items()
    ((name, (content, mode)),) = files.items()
    return replace(
        OnNode(
            service="db",
            unit=one.text,
            current=one.text,
            active="active",
            sub="running",
            container=Container(
                name="demo-db",
                id="1",
                image="x",
                state="running",
                health="healthy",
                unit_digest=one.digest,
            ),
            configs={f"{config}/{name}": FileState(sha256=sha256(content).hexdigest(), mode=mode)},
        ),
        **changes,
    )


def decide(there: OnNode | None, one: Rendered) -> tuple[str, tuple[str, ...]]:
    found = plan.compare("n1", "db", there, one, secrets=set(one.secrets))
    return str(found.action), found.reasons


def test_as_it_is_to_be(wanted: Callable[..., Rendered]) -> None:
    assert decide(on_node(wanted()), wanted()) == ("nothing", ())


@pytest.mark.parametrize("there", [None, OnNode(service="db")])
def test_not_there(wanted: Callable[..., Rendered], there: OnNode | None) -> None:
    assert decide(there, wanted()) == ("create", ("it is not there",))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("[mysqld]", "[mysqld] y"), "config my.cnf"),
        (("999:999", "998"), "user: 999:999 -> 998"),
        (("CMD, ping", "CMD, pong"), "healthcheck.test"),
        (("mariadb:1", "mariadb:2"), "image: registry.lab:5000/mariadb:1 -> "),
    ],
)
def test_what_differs_is_named(
    wanted: Callable[..., Rendered], change: tuple[str, str], reason: str
) -> None:
    action, reasons = decide(on_node(wanted()), wanted(change))
    assert action == "change"
    assert reasons[0].startswith(reason)


def test_a_change_on_top_of_an_edited_unit_names_both(wanted: Callable[..., Rendered]) -> None:
    there = on_node(wanted(), unit=f"{wanted().text}# edited\n")
    assert decide(there, wanted(("999:999", "998"))) == (
        "change",
        ("user: 999:999 -> 998", "its unit file was edited on the node"),
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"unit": "[Unit]\n"}, "its unit file was edited on the node"),
        ({"unit": None}, "its unit file is gone from the node"),
        ({"current": None}, "the record of its unit is gone from the node"),
        ({"current": "x"}, "the record of its unit was edited on the node"),
        ({"enabled": False}, "it would not start at the next boot"),
        ({"configs": {}}, "config my.cnf is gone from the node"),
    ],
)
def test_what_was_done_on_the_node_is_undone(
    wanted: Callable[..., Rendered], changes: dict[str, Any], reason: str
) -> None:
    assert decide(on_node(wanted(), **changes), wanted()) == ("restore", (reason,))


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ({"sha256": "0" * 64}, "config my.cnf was edited on the node"),
        ({"mode": 0o666}, "config my.cnf: mode 0666 on the node, not 0444"),
        (
            {"kind": "symbolic link"},
            "config my.cnf was replaced on the node: it is a symbolic link",
        ),
    ],
)
def test_a_config_that_is_another(
    wanted: Callable[..., Rendered], file: dict[str, Any], reason: str
) -> None:
    there = on_node(wanted())
    configs = {path: replace(one, **file) for path, one in there.configs.items()}
    assert decide(replace(there, configs=configs), wanted()) == ("restore", (reason,))


def test_what_was_put_beside_the_configs(wanted: Callable[..., Rendered]) -> None:
    there = on_node(wanted())
    (own,) = wanted().configs
    odd = FileState(sha256="", mode=0o755, kind="directory")
    configs = {**there.configs, own: odd, f"{own}/more": odd, "another/my.cnf": odd}
    assert decide(replace(there, configs=configs), wanted()) == (
        "restore",
        (
            "config directory: directory of mode 0755 on the node, not directory of mode 0555",
            "config directory: 'more' was added on the node",
        ),
    )


def test_a_secret_that_is_gone(tmp_path: Path) -> None:
    text = (
        FILE.replace("    user: www\n", "    user: www\n    secrets: [key]\n")
        + "secrets: {key: {environment: KEY}}\n"
    )
    file = tmp_path / "services.yaml"
    file.write_text(text)
    from provision.services.file import compose

    loaded = compose.load(file, environ={"KEY": "hush"})
    one = render.render(
        loaded,
        "web",
        pinned=f"registry.lab:5000/httpd@{digest('3')}",
        beside=["web"],
        podman=(4, 3, 1),
    )
    there = OnNode(service="web", unit=one.text, current=one.text, active="active")
    found = plan.compare("n1", "web", there, one, secrets=set())
    (name,) = one.secrets
    assert found.reasons == (f"secret {name} is gone from the node",)
    assert "hush" not in repr(found)


@pytest.mark.parametrize(
    ("changes", "decided"),
    [
        ({"active": "failed", "sub": "failed"}, ("start", ("it is failed",))),
        ({"active": "activating", "sub": "auto-restart"}, ("start", ("it is failed",))),
        ({"active": "inactive", "sub": "dead"}, ("start", ("it is stopped",))),
        ({"active": "activating", "sub": "start"}, ("nothing", ())),
    ],
)
def test_what_does_not_run_is_started(
    wanted: Callable[..., Rendered], changes: dict[str, Any], decided: tuple[str, tuple[str, ...]]
) -> None:
    assert decide(on_node(wanted(), **changes), wanted()) == decided


def test_a_container_of_an_older_unit_is_restarted(wanted: Callable[..., Rendered]) -> None:
    there = on_node(wanted())
    assert there.container is not None
    older = replace(there, container=replace(there.container, unit_digest="0" * 64))
    assert decide(older, wanted()) == ("restart", ("its container runs an older unit",))


@pytest.mark.parametrize("health", ["starting", "unhealthy"])
def test_health_is_no_reason_to_restart(wanted: Callable[..., Rendered], health: str) -> None:
    """Whether it is restarted then is for podman to say: the unit tells it."""
    there = on_node(wanted())
    assert there.container is not None
    sick = replace(there, container=replace(there.container, health=health))
    assert decide(sick, wanted()) == ("nothing", ())
    assert str(state.of(sick)) == health


def test_a_unit_that_others_wrote_is_not_taken_over(
    wanted: Callable[..., Rendered], tmp_path: Path
) -> None:
    seen = Observed(
        podman=(4, 3, 1),
        systemd=252,
        services={"db": OnNode(service="db", unit="[Service]\nExecStart=/bin/true\n")},
    )
    with pytest.raises(plan.NotOurs) as raised:
        plan.of_host(project(tmp_path), "n1", seen, {"db": wanted()})
    assert str(raised.value) == (
        "n1: there is a unit demo-db that is not ours (remove or rename it there)"
    )


@pytest.mark.parametrize(
    ("there", "word"),
    [
        (None, "absent"),
        (OnNode(service="x"), "absent"),
        (OnNode(service="x", unit="u", active="failed"), "failed"),
        (OnNode(service="x", unit="u", active="deactivating"), "stopped"),
        (OnNode(service="x", unit="u", active="activating", sub="start-post"), "starting"),
        (OnNode(service="x", unit="u", active="active"), "starting"),
    ],
)
def test_states(there: OnNode | None, word: str) -> None:
    assert str(state.of(there)) == word


@pytest.mark.parametrize(
    ("health", "word"),
    [(None, "running"), ("healthy", "healthy"), ("starting", "starting"), ("new word", "starting")],
)
def test_states_of_what_runs(health: str | None, word: str) -> None:
    container = Container(name="x", id="1", image="x", state="running", health=health)
    there = OnNode(service="x", unit="u", active="active", container=container)
    assert str(state.of(there)) == word
    assert state.of(there).up == (word in ("running", "healthy"))
