"""`provision services` as people call it, against two stand-in hosts and a registry with TLS.

The tests build on each other: one pair of hosts goes through the life of a file of services.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import standin

FILE = """\
name: shop
services:
  db:
    image: registry.lab:5000/tiny-db:1
    volumes: ["data:/data"]
    configs: [{source: my.cnf, target: /my.cnf}]
    secrets: [{source: password, uid: "1000", mode: 0400}]
    healthcheck: {test: [CMD, /bin/health], interval: 1s, timeout: 5s, retries: 2}
  api:
    image: registry.lab:5000/tiny-api:1
    environment: {GREETING: hello}
    depends_on: {db: {condition: service_healthy}}
    healthcheck: {test: [CMD, /bin/health], interval: 1s, timeout: 5s, retries: 2}
  web:
    image: registry.lab:5000/tiny-web:1
    x-provision: {hosts: standin-1}
volumes: {data: {}}
configs: {my.cnf: {content: "[mysqld]"}}
secrets: {password: {file: password}}
"""
ACROSS = """\
name: across
services:
  back:
    image: registry.lab:5000/tiny-back:1
    environment: {GREETING: hello}
    healthcheck: {test: [CMD, /bin/health], interval: 1s, timeout: 5s, retries: 2}
    x-provision: {hosts: standin-2}
  front:
    image: registry.lab:5000/tiny-front:1
    depends_on: {back: {condition: service_healthy, restart: true}}
    x-provision: {hosts: standin-1}
"""


@dataclass
class Stage:
    """The hosts, the registry, the file, and the command line."""

    hosts: standin.Hosts
    registry: standin.Registry
    directory: Path

    def __call__(self, *words: str, status: int = 0, timeout_s: float = 120) -> str:
        """Run `provision services WORDS`; return its stdout. What it said is in `said`."""
        done = subprocess.run(
            [
                *(sys.executable, "-m", "provision", "-v", "services", *words),
                *("--hosts", str(self.directory / "hosts.yaml")),
                *("--identity", str(self.hosts[0].identity)),
                *("--registry-ca", f"registry.lab:5000={self.registry.ca}"),
            ],
            capture_output=True,
            text=True,
            env={**os.environ, "XDG_STATE_HOME": str(self.directory / "state")},
            timeout=timeout_s,
            cwd=self.directory,
        )
        self.said = done.stderr
        assert done.returncode == status, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def json(self, *words: str, status: int = 0) -> Any:
        return json.loads(self(*words, "-f", "json", status=status))

    def write(self, *changes: tuple[str, str]) -> None:
        text = FILE
        for before, after in changes:
            assert before in text
            text = text.replace(before, after)
        (self.directory / "shop.yaml").write_text(text)

    def push(self, name: str, version: str) -> str:
        """Push a version of the tiny image as tag 1 of a name; return its digest."""
        layout = self.directory / f"{name}-{version}"
        layout.mkdir(exist_ok=True)
        if not (layout / f"tiny-{version}").exists():
            standin.tiny(layout, version)
        return self.registry.push(layout / f"tiny-{version}", f"tiny-{name}:1")

    def containers(self) -> dict[str, str]:
        """Ids of all containers, by host and name."""
        return {
            f"{host.name} {name}": id_
            for host in self.hosts
            for id_, name in (
                line.split()
                for line in host.run(
                    "podman ps --no-trunc --format '{{.ID}} {{.Names}}'"
                ).splitlines()
            )
        }


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    standin.need()
    directory = tmp_path_factory.mktemp("services")
    with standin.hosts(2) as hosts, standin.registry(hosts) as registry:
        here = Stage(hosts, registry, directory)
        inventory = {
            one.name: {"address": one.address, "port": one.port, "host_key": one.host_key}
            for one in hosts
        }
        (directory / "hosts.yaml").write_text(yaml.safe_dump({"hosts": inventory}))
        (directory / "password").write_text("kept secret")
        here.write()
        for name in ("db", "api", "web"):
            here.push(name, "1")
        yield here


def brief(results: list[dict[str, Any]]) -> list[tuple[str, str, str, str | None]]:
    return [(one["node"], one["service"], one["action"], one["error"]) for one in results]


def test_a_dry_run_says_what_would_come(stage: Stage) -> None:
    planned = stage.json("apply", "shop.yaml", "--dry-run")
    assert brief(planned) == [
        ("standin-1", "db", "create", None),
        ("standin-1", "api", "create", None),
        ("standin-1", "web", "create", None),
        ("standin-2", "db", "create", None),
        ("standin-2", "api", "create", None),
    ]
    assert stage.containers() == {}


def test_apply_makes_it_so(stage: Stage) -> None:
    results = stage.json("apply", "shop.yaml")
    assert {(one["action"], one["error"]) for one in results} == {("create", None)}
    assert [one["state"] for one in results] == [
        "healthy",
        "healthy",
        "running",
        "healthy",
        "healthy",
    ]
    assert "kept secret" not in stage.said
    status = stage.json("status", "shop.yaml")
    assert [(one["node"], one["service"], one["state"], one["user"]) for one in status] == [
        ("standin-1", "db", "healthy", "1000"),
        ("standin-1", "api", "healthy", "1000"),
        ("standin-1", "web", "running", "1000"),
        ("standin-2", "db", "healthy", "1000"),
        ("standin-2", "api", "healthy", "1000"),
    ]
    assert stage("diff", "shop.yaml") == ""
    whatever = stage.json("status")
    assert sorted(whatever, key=str) == sorted(status, key=str)


def test_again_nothing_is_restarted(stage: Stage) -> None:
    before = stage.containers()
    stage.registry.stop()
    try:
        out = stage("apply", "shop.yaml")
    finally:
        stage.registry.start()
    assert out == "5 services on 2 nodes, nothing to do\n"
    assert "round trips: standin-1 1, standin-2 1;" in stage.said
    assert stage.containers() == before


def test_a_change_restarts_what_it_touches(stage: Stage) -> None:
    before = stage.containers()
    stage.write(("[mysqld]", "[mysqld]\\nx=1"))
    results = stage.json("apply", "shop.yaml")
    assert [one["reasons"] for one in results if one["action"] != "nothing"] == [
        ["config my.cnf"],
        ["config my.cnf"],
    ]
    after = stage.containers()
    assert {name for name in before if before[name] != after[name]} == {
        "standin-1 shop-db",
        "standin-2 shop-db",
    }
    assert stage.hosts[0].run("podman exec shop-db cat /my.cnf") == "[mysqld]\nx=1"


def test_an_upgrade_to_a_good_image_and_back_by_hand(stage: Stage) -> None:
    stage.hosts[0].run("podman exec shop-db sh -c 'echo kept > /data/mine'")
    before = stage.containers()
    digest = stage.push("db", "2")
    stage.write(("[mysqld]", "[mysqld]\\nx=1"))
    results = stage.json("upgrade", "shop.yaml", "db")
    assert brief([one for one in results if one["action"] != "nothing"]) == [
        ("standin-1", "db", "change", None),
        ("standin-2", "db", "change", None),
    ]
    status = {(one["node"], one["service"]): one for one in stage.json("status", "shop.yaml")}
    assert status["standin-2", "db"]["pinned"] == f"registry.lab:5000/tiny-db@{digest}"
    after = stage.containers()
    assert {name for name in before if before[name] != after[name]} == {
        "standin-1 shop-db",
        "standin-2 shop-db",
    }
    stage("rollback", "shop.yaml", "db", "--on", "standin-1")
    status = {(one["node"], one["service"]): one for one in stage.json("status", "shop.yaml")}
    assert status["standin-1", "db"]["pinned"] != f"registry.lab:5000/tiny-db@{digest}"
    assert stage.hosts[0].run("podman exec shop-db cat /data/mine") == "kept\n"


def test_an_upgrade_to_a_broken_image_goes_back(stage: Stage) -> None:
    before = {(one["node"], one["service"]): one for one in stage.json("status", "shop.yaml")}
    ids = stage.containers()
    stage.push("db", standin.BROKEN)
    results = stage.json("upgrade", "shop.yaml", "db", "--wait", "60", status=1)
    first, *_ = results
    assert first["error"].startswith("it did not come up: ")
    assert first["error"].endswith(", which is up")
    assert [one["error"] for one in results if one["service"] == "db"][1] == (
        "not touched: the roll-out was stopped"
    )
    assert "standin-1: db | " in stage.said
    status = {(one["node"], one["service"]): one for one in stage.json("status", "shop.yaml")}
    for key, one in status.items():
        assert one["pinned"] == before[key]["pinned"]
        assert one["state"] in ("healthy", "running")
    after = stage.containers()
    assert {name for name in ids if ids[name] != after[name]} == {"standin-1 shop-db"}


def test_tampering_is_named_and_undone(stage: Stage) -> None:
    host = stage.hosts[1]
    home = "/var/lib/provision-services/shop/db/config"
    host.run(f"sed -i s/x=1/x=2/ {home}/*/my.cnf")
    found = stage.json("diff", "shop.yaml", status=1)
    assert found == [
        {
            "node": "standin-2",
            "service": "db",
            "action": "restore",
            "reasons": ["config my.cnf was edited on the node"],
        },
    ]
    assert stage.said.endswith("provision: 1 difference\n")
    stage("apply", "shop.yaml")
    assert host.run("podman exec shop-db cat /my.cnf") == "[mysqld]\nx=1"
    assert stage("diff", "shop.yaml") == ""


def test_a_stranger_is_shown_and_left_alone(stage: Stage) -> None:
    host = stage.hosts[0]
    image = host.run("podman inspect shop-web --format '{{.ImageName}}'").strip()
    host.run(f"podman run -d --name mine {image}")
    before = stage.containers()
    assert "mine" in stage("diff", "shop.yaml")
    line = next(one for one in stage.json("status", "shop.yaml") if one["service"] == "mine")
    assert (line["node"], line["managed"], line["state"]) == ("standin-1", False, "running")
    assert "not ours (running)" in stage("status", "shop.yaml")
    stage("apply", "shop.yaml")
    assert stage.containers() == before


def test_root_inside_is_refused_by_name(stage: Stage) -> None:
    stage.push("root", standin.ROOT)
    stage.write(("[mysqld]", "[mysqld]\\nx=1"), ("tiny-web", "tiny-root"))
    stage("apply", "shop.yaml", status=1)
    assert stage.said.splitlines()[-1] == (
        "provision: root inside is not the default: registry.lab:5000/tiny-root:1 of web runs as "
        'root: nothing was changed on any node (give the service a `user:`, or user: "0:0" if '
        "root is meant)"
    )
    stage.write(("[mysqld]", "[mysqld]\\nx=1"))


def test_logs_and_restart(stage: Stage) -> None:
    before = stage.containers()
    stage("restart", "shop.yaml", "web", "--on", "standin-1")
    after = stage.containers()
    assert {name for name in before if before[name] != after[name]} == {"standin-1 shop-web"}
    assert "tiny 1 started" in stage("logs", "shop.yaml", "web", "--lines", "100")


def test_a_service_follows_the_one_on_another_node(stage: Stage) -> None:
    for name in ("back", "front"):
        stage.push(name, "1")
    file = stage.directory / "across.yaml"
    file.write_text(ACROSS)
    stage("apply", "across.yaml")
    first, second = stage.hosts
    ask = "systemctl show --value -p {}TimestampMonotonic across-{}"  # one clock: one kernel
    healthy = int(second.run(ask.format("ActiveEnter", "back")))
    assert healthy < int(first.run(ask.format("InactiveExit", "front")))
    before = stage.containers()
    file.write_text(ACROSS.replace("hello", "good morning"))
    results = stage.json("apply", "across.yaml")
    assert [(one["service"], one["action"], one["reasons"]) for one in results] == [
        ("front", "restart", ["back on standin-2 is started anew (restart: true)"]),
        ("back", "change", ["environment GREETING"]),
    ]
    after = stage.containers()
    touched = {"standin-1 across-front", "standin-2 across-back"}
    assert {name for name in after if after[name] != before[name]} == touched
    # what does not come up there is put back, and nothing is done here
    stage.push("back", standin.BROKEN)
    results = stage.json("upgrade", "across.yaml", "--wait", "60", status=1)
    assert results[0]["error"] == "not touched: the roll-out was stopped"
    assert results[1]["error"].endswith(", which is up")
    last = stage.containers()
    assert {name for name in last if last[name] != after[name]} == {"standin-2 across-back"}
    assert {one["state"] for one in stage.json("status", "across.yaml") if one["managed"]} == {
        *("healthy", "running")
    }
    stage("remove", "across.yaml")


def test_remove_takes_all_but_volumes_and_strangers(stage: Stage) -> None:
    out = stage("remove", "shop.yaml")
    assert out.splitlines()[0].split() == ["NODE", "REMOVED"]
    assert [name.split()[1] for name in stage.containers()] == ["mine"]
    assert "volumes stay on the nodes: shop_data" in stage.said
    assert "shop_data" in stage.hosts[0].run("podman volume ls")
    assert {one["state"] for one in stage.json("status", "shop.yaml") if one["managed"]} == {
        "absent"
    }
