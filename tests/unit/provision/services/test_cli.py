"""The commands as people call them, with nodes that keep state in the place of ssh."""

import contextlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from atomic_baremetal import cli as manners
from provision.cli import provision
from provision.services import reach
from provision.services.host import Container, HostError
from provision.services.hosts import Cloud, Target
from tests.unit.provision.services.fakes import FILE, Stage
from tests.unit.provision.services.test_hosts import KEY

COMMANDS = ("apply", "diff", "logs", "remove", "restart", "rollback", "status", "upgrade")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def here(tmp_path: Path) -> Stage:
    return Stage(tmp_path, "n1", "n2")


@pytest.fixture
def run(here: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `provision services`; return its status, stdout and stderr."""
    hosts = {name: {"address": "192.0.2.1", "host_key": KEY} for name in here.hosts}
    (here.directory / "hosts.yaml").write_text(yaml.safe_dump({"hosts": hosts}))
    monkeypatch.chdir(here.directory)
    monkeypatch.setattr(
        reach, "_host", lambda target, _: contextlib.nullcontext(here.hosts[target.name])
    )
    whole = reach.opened

    @contextlib.contextmanager
    def opened(*given, **more):  # type: ignore[no-untyped-def]
        with whole(*given, **more) as site:
            yield replace(site, now=here.clock.now, sleep=here.clock.sleep)

    monkeypatch.setattr(reach, "opened", opened)

    def call(*words: str, before: tuple[str, ...] = ()) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["provision", *before, "services", *words])
        with pytest.raises(SystemExit) as left:
            manners.main(provision, prog_name="provision")
        captured = capsys.readouterr()
        assert isinstance(left.value.code, int)
        return left.value.code, captured.out, captured.err

    return lambda verb, *words, **more: call(verb, *words, "--hosts", "hosts.yaml", **more)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_option_says_what_it_is_for(run: Run, command: str) -> None:
    status, out, _ = run(command, "--help")
    assert status == 0
    assert out.startswith(f"Usage: provision services {command} [OPTIONS] ")
    assert "FILE" in out.splitlines()[0]
    for option in ("--on", "--hosts", "--ssh-user", "--identity", "--registry-ca", "--format"):
        assert option in out


def test_apply_in_full(run: Run, here: Stage) -> None:
    status, out, err = run("apply", "services.yaml")
    assert status == 0
    assert out.splitlines()[:2] == [
        "NODE  SERVICE  ACTION  OUTCOME  STATE    REASONS",
        "n1    db       create  done     healthy  it is not there; user 999:999",
    ]
    assert "n1: db: create: it is not there; user 999:999\n" in err
    for before, after in ((("-v",), ()), ((), ("--verbose",))):
        status, out, err = run("apply", "services.yaml", *after, before=before)
        assert (status, out) == (0, "6 services on 2 nodes, nothing to do\n")
        assert "round trips: n1 " in err
    status, out, err = run("apply", "services.yaml", "-f", "json")
    assert (status, err) == (0, "")
    assert json.loads(out)[0] == {
        "node": "n1",
        "service": "db",
        "action": "nothing",
        "reasons": [],
        "state": "healthy",
        "error": None,
    }
    assert "very-secret" not in out + err


def test_a_failure_is_named_and_has_status_1(run: Run, here: Stage) -> None:
    run("apply", "services.yaml")
    here["n1"].broken = ["www2"]
    here.write(FILE, ("user: www", "user: www2"))
    status, out, err = run("apply", "services.yaml")
    assert status == 1
    assert [line.split()[:5] for line in out.splitlines()[1:]] == [
        ["n1", "web", "change", "failed", "running"],
        ["n2", "web", "change", "not", "touched"],
    ]
    assert err.splitlines() == [
        "n1: web: change: user: www -> www2",
        "n1: web | starting",
        "n1: web | no such table",
        "n1: web: it did not come up: web failed: exit status 1; went back to "
        "registry.lab:5000/httpd@sha256:333333333333, which is up",
        "n2: web: not touched: the roll-out was stopped",
        "provision: 2 of 6 services are not as they were to be",
    ]


def test_a_dry_run(run: Run, here: Stage) -> None:
    status, out, err = run("apply", "services.yaml", "--dry-run", "--on", "n2")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "NODE  SERVICE  ACTION  OUTCOME  STATE   REASONS",
        "n2    db       create  to do    absent  it is not there; user 999:999; "
        "its tag is to be looked up",
        "n2    api      create  to do    absent  it is not there; user 42; "
        "its tag is to be looked up",
        "n2    web      create  to do    absent  it is not there; user www; "
        "its tag is to be looked up",
    ]
    assert not here["n2"].units


def test_status(run: Run, here: Stage) -> None:
    run("apply", "services.yaml", "--on", "n1")
    here["n1"].strangers = [
        Container(name="mine", id="1", image="localhost/x", state="running", user="0")
    ]
    status, out, _ = run("status", "services.yaml", "-f", "json")
    assert status == 0
    lines = {(one["node"], one["service"]): one for one in json.loads(out)}
    assert lines["n1", "db"] == {
        "node": "n1",
        "service": "db",
        "unit": "demo-db",
        "state": "healthy",
        "image": "registry.lab:5000/mariadb:1",
        "pinned": f"registry.lab:5000/mariadb@sha256:{'1' * 64}",
        "user": "999",
        "since": "2023-11-14T22:13:20Z",
        "restarts": 0,
        "config": lines["n1", "db"]["config"],
        "managed": True,
    }
    assert len(lines["n1", "db"]["config"]) == 64
    assert lines["n1", "web"]["config"] is None
    assert (lines["n1", "mine"]["managed"], lines["n1", "mine"]["state"]) == (False, "running")
    assert lines["n2", "db"]["state"] == "absent"
    _, out, _ = run("status", "services.yaml", "--on", "n1")
    assert out.splitlines()[1].split() == [
        *("n1", "db", "healthy", "registry.lab:5000/mariadb:1", "111111111111", "999"),
        *("2023-11-14T22:13:20Z", "0", lines["n1", "db"]["config"][:12]),
    ]
    assert "not ours (running)" in out


def test_status_without_a_file(run: Run, here: Stage) -> None:
    run("apply", "services.yaml", "--on", "n1")
    here["n2"].strangers = [Container(name="mine", id="1", image="x", state="running")]
    status, out, _ = run("status", "-f", "json")
    assert status == 0
    assert [(one["node"], one["unit"], one["state"]) for one in json.loads(out)] == [
        ("n1", "demo-db", "healthy"),
        ("n1", "demo-api", "running"),
        ("n1", "demo-web", "running"),
        ("n2", "", "running"),
    ]


def test_a_node_that_does_not_answer_is_named_and_the_others_shown(run: Run, here: Stage) -> None:
    here["n2"].raises["observe"] = [HostError("n2: no route to host")]
    status, out, err = run("status", "services.yaml")
    assert status == 1
    assert out.count("absent") == 3
    assert err == "n2: no route to host\nprovision: 1 of 2 nodes failed\n"


def test_diff_counts(run: Run, here: Stage) -> None:
    run("apply", "services.yaml")
    assert run("diff", "services.yaml") == (0, "", "")
    here["n1"].units["web"].unit = f"{here['n1'].units['web'].current}# edited\n"
    status, out, err = run("diff", "services.yaml")
    assert status == 1
    assert out.splitlines() == [
        "NODE  SERVICE  ACTION   REASONS",
        "n1    web      restore  its unit file was edited on the node",
    ]
    assert err == "provision: 1 difference\n"
    here["n2"].strangers = [Container(name="mine", id="1", image="x", state="exited")]
    here.write(FILE, ("user: www", "user: www2"))
    status, out, err = run("diff", "services.yaml", "-f", "json")
    assert (status, err) == (1, "provision: 2 differences\n")
    assert json.loads(out)[1:] == [
        {"node": "n2", "service": "web", "action": "change", "reasons": ["user: www -> www2"]},
        {
            "node": "n2",
            "service": "mine",
            "action": "not ours",
            "reasons": ["exited, image x"],
        },
    ]


def test_a_stranger_is_no_difference(run: Run, here: Stage) -> None:
    run("apply", "services.yaml")
    here["n2"].strangers = [Container(name="mine", id="1", image="x", state="exited")]
    status, out, err = run("diff", "services.yaml")
    assert (status, err) == (0, "")
    assert out.splitlines()[1] == "n2    mine     not ours  exited, image x"


def test_logs(run: Run, here: Stage) -> None:
    run("apply", "services.yaml")
    assert run("logs", "services.yaml", "db", "--lines", "1") == (
        0,
        "n1 | n1 db 100\nn2 | n2 db 100\n",
        "",
    )
    assert run("logs", "services.yaml", "db", "--lines", "2", "--on", "n2")[1] == (
        "n2 db 99\nn2 db 100\n"
    )
    _, out, _ = run("logs", "services.yaml", "db", "--lines", "1", "-f", "json", "--on", "n1")
    assert json.loads(out) == [{"node": "n1", "service": "db", "lines": ["n1 db 100"]}]


def test_upgrade_and_rollback(run: Run, here: Stage) -> None:
    run("apply", "services.yaml")
    here.registry.push("httpd", "9")
    status, out, err = run("upgrade", "services.yaml", "web")
    assert status == 0
    assert "image's digest: sha256:333333333333 -> sha256:999999999999" in out
    assert here["n2"].running()["web"] == "9"
    status, _, err = run("rollback", "services.yaml", "web")
    assert status == 0
    assert err.endswith(
        "the file may ask for what was left: provision services diff services.yaml\n"
    )
    assert here["n2"].running()["web"] == "3"
    status, _, err = run("rollback", "services.yaml", "db")
    assert (status, err) == (
        1,
        "provision: n1: db has nothing to go back to; n2: db has nothing to go back to (nothing "
        "was changed; see what is there: provision services status)\n",
    )


def test_restart_and_remove(run: Run, here: Stage) -> None:
    run("apply", "services.yaml")
    here.forget()
    assert run("restart", "services.yaml", "web", "--on", "n1")[0] == 0
    assert [one.starts()["web"] for one in here.hosts.values()] == [1, 0]
    status, out, _ = run("remove", "services.yaml", "-f", "json")
    assert status == 0
    assert json.loads(out) == [
        {"node": name, "services": ["web", "api", "db"], "error": None} for name in ("n1", "n2")
    ]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (
            ("logs", "services.yaml", "nope"),
            "services.yaml has no service 'nope' (there is db, api, web)",
        ),
        (("apply", "services.yaml", "--on", "x"), "no host fits --on 'x' (there is: n1, n2)"),
        (("apply", "no.yaml"), "cannot read no.yaml: No such file or directory"),
        (
            ("apply", "services.yaml", "--registry-ca", "x"),
            "--registry-ca 'x' is not HOST:PORT=FILE (like registry.lab:5000=ca.crt)",
        ),
    ],
)
def test_what_cannot_be_is_one_line(run: Run, words: tuple[str, ...], error: str) -> None:
    assert run(*words) == (1, "", f"provision: {error}\n")


@pytest.mark.parametrize(
    "words",
    [("apply",), ("rollback", "services.yaml"), ("apply", "services.yaml", "--serial", "0")],
)
def test_wrong_use_is_status_2(run: Run, words: tuple[str, ...]) -> None:
    assert run(*words)[0] == 2


def test_the_cloud_is_asked_without_a_file_of_hosts(
    run: Run, here: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = Cloud(targets=(Target(name="n1", address="192.0.2.1", host_key=KEY),))
    monkeypatch.setattr("provision.cli.deployed_hosts", lambda os_cloud: found)
    monkeypatch.setattr(sys, "argv", ["provision", "services", "status", "services.yaml"])
    with pytest.raises(SystemExit):
        manners.main(provision, prog_name="provision")
    assert capsys.readouterr().out.count("n1 ") == 3
    nobody = Cloud(targets=(), passed_over={"n9": "no address is known"})
    monkeypatch.setattr("provision.cli.deployed_hosts", lambda os_cloud: nobody)
    with pytest.raises(SystemExit):
        manners.main(provision, prog_name="provision")
    assert capsys.readouterr().err == (
        "provision: there is no host; n9: no address is known (deploy some: provision nodes; or "
        "name a file of them with --hosts)\n"
    )
