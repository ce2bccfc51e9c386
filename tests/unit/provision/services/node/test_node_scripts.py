"""Try the scripts for nodes where killing them is cheap: in a directory, with programs that only
keep state."""

import os
import shutil
import signal
import subprocess
from importlib import resources
from pathlib import Path

import pytest

from provision.services.host import FileState, Install, Observed, Outcome
from provision.services.model import Registry
from provision.services.node import answers, outcome
from provision.services.node.answers import Unreadable
from provision.services.node.delivery import pack, pack_registries
from provision.services.node.ssh_host import SCRIPTS
from tests.unit.provision.services.node.node_scripts import Node

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the scripts are for root")
SECRET = "p-password-0123456789abcdef"
START = ("web", "5", "0")


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def unit(note: str, *, service: str = "web", quadlet: bool = False) -> str:
    section = "[Container]\nImage=x" if quadlet else "[Service]\nExecStart=/bin/x"
    return f"{section}\n[X-Provision]\nProject=p\nService={service}\nNote={note}\n"


def install(node: Node, text: str, *, kill_at: int | None = None, **more: object) -> int:
    what = Install(project="p", units={"web": text}, **more)  # type: ignore[arg-type]
    done = node.run("install", data=pack(what), kill_at=kill_at)
    if kill_at is None:
        assert (done.status, answers.read(done.output)) == (0, {}), done
    return done.status


def start(node: Node) -> Outcome:
    return outcome.parse(node.run("restart", *START).output, "p-web", timeout_s=5)


def restore(node: Node, way: str) -> Outcome:
    return outcome.parse(node.run("restore", "web", way, "5", "0").output, "p-web", timeout_s=5)


def refusal(node: Node, verb: str, *words: str, **more: object) -> str:
    done = node.run(verb, *words, **more)  # type: ignore[arg-type]
    assert done.status == 1
    with pytest.raises(Unreadable) as refused:
        answers.read(done.output)
    return str(refused.value)


def texts(node: Node) -> tuple[str | None, str | None, str | None]:
    there = node.service()
    return there.unit, there.current, there.previous


def test_every_part_is_clean_to_shellcheck() -> None:
    if not shutil.which("shellcheck"):
        (pytest.fail if "CI" in os.environ else pytest.skip)("shellcheck is missing (bindep.txt)")
    parts = sorted(
        str(one)
        for one in resources.files("provision.services.node").iterdir()
        if one.name.endswith(".sh")
    )
    done = subprocess.run(["shellcheck", "-s", "sh", *parts], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    assert {Path(one).stem for one in parts} == {
        part for parts_ in SCRIPTS.values() for part in parts_
    }


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_a_node_with_nothing_is_observed_and_nothing_is_made(node: Node, shell: str) -> None:
    done = node.run("observe", shell=shell)
    assert (done.status, done.errors) == (0, "")
    assert node.observe() == Observed(podman=(4, 3, 1), systemd=252)
    assert not Path(node.places.state).exists()
    assert list((node.top / "run").iterdir()) == []


def test_what_is_installed_is_observed(node: Node) -> None:
    content = bytes(range(256))
    what = Install(
        project="p",
        units={"web": unit("1"), "db": unit("é\u2028", service="db")},
        configs={"web": {"abc": {"a.conf": (content, 0o440)}}},
        secrets={SECRET: content},
    )
    assert node.run("install", data=pack(what)).status == 0
    found = node.observe()
    assert sorted(found.services) == ["db", "web"]
    for name, there in found.services.items():
        assert (there.unit, there.current, there.previous) == (*[what.units[name]] * 2, None)
        assert there.enabled
    (state,) = found.services["web"].configs.values()
    assert state == FileState(
        sha256="40aff2e9d2d8922e47afd4648e6967497158785fbd1da870e7110266bf944880", mode=0o440
    )
    assert (found.secrets, node.secrets()) == ({SECRET}, {SECRET: content})
    assert [one.name for one in (node.top / "run").iterdir()] == []
    assert not any(SECRET.encode() in line.encode() and "create" not in line for line in node.log())


def test_installing_the_same_again_changes_nothing_on_disk(node: Node) -> None:
    configs = {"web": {"abc": {"a": (b"a", 0o444)}}}
    install(node, unit("1"), configs=configs)

    def prints() -> dict[str, tuple[int, int]]:
        tops = (node.top / "state" / "p", node.top / "units")
        files = [path for top in tops for path in top.rglob("*") if path.is_file()]
        return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}

    before = prints()
    install(node, unit("1"), configs=configs)
    assert prints() == before


def test_only_a_unit_that_was_up_becomes_the_previous_one(node: Node) -> None:
    one, two, three = unit("1"), unit("2"), unit("3")
    install(node, one)
    assert start(node).ok
    install(node, two)
    assert texts(node) == (two, two, one)
    install(node, three)
    assert texts(node) == (three, three, one)
    assert start(node).ok
    install(node, one)
    assert texts(node) == (one, one, three)


def test_quadlet_and_plain_units_replace_each_other(node: Node) -> None:
    plain, quadlet = unit("1"), unit("2", quadlet=True)
    install(node, plain)
    start(node)
    install(node, quadlet)
    assert not (node.top / "units" / "p-web.service").exists()
    assert (node.top / "quadlet" / "p-web.container").read_text() == quadlet
    assert texts(node) == (quadlet, quadlet, plain)
    assert not (node.fake / "on" / "p-web").exists()
    assert restore(node, "back").ok
    assert not (node.top / "quadlet" / "p-web.container").exists()
    assert texts(node) == (plain, plain, None)
    assert (node.fake / "on" / "p-web").exists()


def test_a_restore_without_a_previous_unit_removes_and_a_repeated_one_does_not(
    node: Node,
) -> None:
    install(node, unit("1 broken"))
    assert not start(node).ok
    assert restore(node, "back") == Outcome(ok=True, said="removed")
    assert node.observe().services == {}
    install(node, unit("1"))
    start(node)
    install(node, unit("2 broken"))
    start(node)
    for _ in range(2):
        assert restore(node, "back") == Outcome(ok=True, said="up")
        assert texts(node) == (unit("1"), unit("1"), None)
    # it is over: from a change on, a restore is a new one
    install(node, unit("3"))
    assert texts(node) == (unit("3"), unit("3"), unit("1"))


def test_a_stream_that_ends_early_installs_nothing(node: Node) -> None:
    whole = pack(Install(project="p", units={"web": unit("1")}, secrets={SECRET: b"x"}))
    for size in (0, 512, 2048, 3584):
        said = refusal(node, "install", data=whole[:size])
        assert said.startswith("the data did not arrive: ")
        assert node.observe() == Observed(podman=(4, 3, 1), systemd=252)
    assert list((node.top / "run").iterdir()) == []


def test_a_full_disk_is_told_and_the_next_run_goes_on(node: Node) -> None:
    cp = node.fake / "bin" / "cp"
    cp.write_text("#!/bin/sh\necho 'cp: error writing: No space left on device' >&2\nexit 1\n")
    cp.chmod(0o755)
    data = pack(Install(project="p", units={"web": unit("1")}))
    assert refusal(node, "install", data=data) == (
        f"cannot write in {node.places.state}/p: cp: error writing: No space left on device"
    )
    cp.write_text(
        '#!/bin/sh\ncase $* in */units/*) echo full >&2; exit 1 ;; esac; exec /bin/cp "$@"\n'
    )
    assert refusal(node, "install", data=data) == (
        f"cannot write {node.places.units}/p-web.service: full"
    )
    cp.unlink()
    install(node, unit("1"))
    assert texts(node) == (unit("1"), unit("1"), None)


def test_units_of_others_stay(node: Node) -> None:
    theirs = node.top / "units" / "p-web.service"
    theirs.write_text("[Service]\nExecStart=/bin/theirs\n")
    data = pack(Install(project="p", units={"web": unit("1")}))
    assert refusal(node, "install", data=data) == (
        f"{theirs} is there and is not ours: move it away, or rename the service"
    )
    assert theirs.read_text() == "[Service]\nExecStart=/bin/theirs\n"
    assert node.observe().services == {}
    theirs.unlink()
    (node.fake / "vendor" / "p-web").touch()
    assert refusal(node, "install", data=data) == (
        "/lib/systemd/system/p-web.service is a unit of the system: rename the service"
    )


def test_a_project_whose_name_begins_like_another_is_another(node: Node) -> None:
    text = unit("1", service="c").replace("Project=p", "Project=p-b")
    what = Install(project="p-b", units={"c": text})
    assert node.run("install", project="p-b", data=pack(what)).status == 0
    assert list(node.observe("p-b").services) == ["c"]
    assert node.observe("p").services == {}
    said = refusal(node, "install", data=pack(Install(project="p", units={"b-c": unit("1")})))
    assert "p-b-c.service is there and is not ours" in said


def test_a_failed_start_is_told_and_one_that_hangs_is_late(node: Node) -> None:
    install(node, unit("1 broken"))
    assert start(node) == Outcome(ok=False, said="p-web failed: Job for p-web failed.", log=())
    (node.fake / "hang").touch()
    done = node.run("restart", "web", "1", "0")
    assert outcome.parse(done.output, "p-web", timeout_s=1).said == (
        "p-web is inactive (dead) after 1 seconds"
    )


def test_secrets_go_when_no_unit_of_any_project_names_them(node: Node) -> None:
    kept, used = "p-other-fedcba9876543210", "p-used-0000000000000000"
    install(node, unit(used), secrets={SECRET: b"x", used: b"y", kept: b"z"})
    for name in ("by-hand", "p-by-hand", "q-x-0123456789abcdef"):
        (node.fake / "secrets" / name).touch()
    text = unit(kept, service="c").replace("Project=p", "Project=q")
    assert (
        node.run("install", project="q", data=pack(Install(project="q", units={"c": text}))).status
        == 0
    )
    assert node.run("tidy").status == 0
    assert set(node.secrets()) == {kept, used, "by-hand", "p-by-hand", "q-x-0123456789abcdef"}


def test_configs_go_when_neither_current_nor_previous_unit_names_them(node: Node) -> None:
    for note in ("aaa", "bbb", "ccc"):
        install(node, unit(note), configs={"web": {note: {"a": (b"1", 0o444)}}})
        start(node)
    assert set(node.service().configs) == {"aaa/a", "bbb/a", "ccc/a"}
    assert node.run("tidy").status == 0
    assert set(node.service().configs) == {"bbb/a", "ccc/a"}


def test_a_registry_is_set_up_and_nothing_else_is_touched(node: Node) -> None:
    name, ca = "registry.lab:5000", b"-----BEGIN CERTIFICATE-----\n"
    containers = node.top / "containers"
    theirs = containers / "certs.d" / name / "client.cert"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("theirs")

    def trust(registry: Registry) -> None:
        done = node.run("trust", project=".", data=pack_registries({name: registry}))
        assert done.status == 0, done

    trust(Registry(ca=ca, verify=False))
    drop_in = containers / "registries.conf.d" / "50-provision-services-registry.lab_5000.conf"
    assert drop_in.read_text() == '[[registry]]\nlocation = "registry.lab:5000"\ninsecure = true\n'
    assert (theirs.parent / "ca.crt").read_bytes() == ca
    trust(Registry())
    assert not drop_in.exists()
    assert (theirs.parent / "ca.crt").read_bytes() == ca
    assert theirs.read_text() == "theirs"


def test_a_node_that_another_run_changes_is_left_alone(node: Node) -> None:
    install(node, unit("1"))
    lock = node.top / "state" / ".lock"
    held = subprocess.Popen(
        ["flock", lock, "sh", "-c", "echo ready; read -r _"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert held.stdout is not None
    held.stdout.readline()
    lock.write_text("somebody@elsewhere since 2026-11-20T12:00:00Z\n")
    data = pack(Install(project="p", units={"web": unit("2")}))
    said = refusal(node, "install", data=data, lock_s=1)
    assert said == ("another run changes this node: somebody@elsewhere since 2026-11-20T12:00:00Z")
    assert node.service().current == unit("1")
    held.communicate(b"\n", timeout=10)
    assert node.run("install", data=data, lock_s=1).status == 0
    assert lock.read_text().partition(" since ")[0].count("@") == 1


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGPIPE])
def test_a_signal_before_anything_changed_ends_it_and_leaves_nothing(
    node: Node, number: signal.Signals
) -> None:
    tar = node.fake / "bin" / "tar"  # while the data arrives
    tar.write_text(f'#!/bin/sh\nkill -{int(number)} "$(cat "$FAKE/script")"\nexec /bin/tar "$@"\n')
    tar.chmod(0o755)
    data = pack(Install(project="p", units={"web": unit("1")}))
    assert node.run("install", data=data).status == 1
    tar.unlink()
    assert list((node.top / "run").iterdir()) == []
    assert node.observe().services == {}


def test_a_signal_does_not_stop_what_has_begun_to_change(node: Node) -> None:
    systemctl = node.fake / "bin" / "systemctl"
    text = systemctl.read_text()
    hang_up = 'for one in HUP TERM PIPE INT; do kill -$one "$(cat "$FAKE/script")"; done\n'
    systemctl.write_text(text.replace("daemon-reload)\n", f"daemon-reload)\n{hang_up}"))
    install(node, unit("1"))
    assert texts(node) == (unit("1"), unit("1"), None)
