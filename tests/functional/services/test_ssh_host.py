"""Try a node's every verb on a real one: sshd, systemd, podman, and what goes wrong on the way."""

import hashlib
import json
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import paramiko
import pytest

from provision.keys import new_host_key
from provision.services.host import FileState, HostError, Install, Observed, OnNode
from provision.services.model import Registry
from provision.services.node import ssh_host
from provision.services.node.ssh_host import SshHost
from tests import standin
from tests.standin import Host, Hosts
from tests.standin import Registry as LabRegistry

STATE = "/var/lib/provision-services"
BYTES = bytes(range(256)) + b"$(touch /pwned) `id` \\ ' \" %s ${HOME}\r\n\n\n"
SECRET = "p-password-0123456789abcdef"


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    standin.need()
    with standin.hosts(1) as booted:
        yield booted


@pytest.fixture(scope="module")
def registry(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabRegistry]:
    directory = tmp_path_factory.mktemp("images")
    with standin.registry(hosts) as started:
        for version in ("1", "2", standin.BROKEN, standin.EXITS):
            started.push(standin.tiny(directory, version), f"tiny:{version}")
        yield started


@pytest.fixture
def pinned(hosts: Hosts, registry: LabRegistry) -> dict[str, str]:
    """Names by digest, by version, all pulled."""
    names = [f"{registry.name}/tiny:{one}" for one in ("1", "2", standin.BROKEN, standin.EXITS)]
    with node(hosts[0]) as one:
        one.trust({registry.name: Registry(ca=registry.ca.read_bytes())})
        return {
            image.name.rpartition(":")[2]: image.pinned for image in one.pull(names, timeout_s=60)
        }


@pytest.fixture(autouse=True)
def haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what has come up count as up sooner."""
    monkeypatch.setattr(ssh_host, "SETTLE_S", 0.5)


def node(host: Host, **more: Any) -> SshHost:
    options: dict[str, Any] = {
        "name": host.name,
        "address": host.address,
        "port": host.port,
        "host_key": host.host_key,
        "identity": host.identity,
        "timeout_s": 20.0,
        **more,
    }
    return SshHost(**options)


@pytest.fixture
def one(hosts: Hosts) -> Iterator[SshHost]:
    """The node, without anything of project p."""
    with node(hosts[0]) as opened:
        yield opened
        if there := list(opened.observe("p").services):
            opened.remove("p", there, timeout_s=60)


def unit(image: str, *, run: str = "", note: str = "", checked: bool = False) -> str:
    """Write a unit for service web of project p as a renderer might, without using ours."""
    health = "--health-cmd=/bin/health --health-interval=1s --health-retries=1 " if checked else ""
    wait = (
        "ExecStartPost=/bin/sh -c 'i=0; until podman healthcheck run p-web; do "
        "i=$$((i+1)); [ $$i -lt 5 ] || exit 1; sleep 1; done'\n"
        if checked
        else ""
    )
    return f"""[Unit]
Description=web {note}
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=all
Restart=always
RestartSec=5
Delegate=yes
TimeoutStartSec=60
ExecStart=/usr/bin/podman run --replace --rm -d --name=p-web --cgroups=split --network=host \
--sdnotify=conmon --pull=never --log-driver=journald --label=io.atomic-baremetal.project=p \
--label=io.atomic-baremetal.service=web --label=io.atomic-baremetal.unit=note-{note} \
{health}{run} {image}
{wait}ExecStop=/usr/bin/podman stop --ignore --time=5 p-web

[Install]
WantedBy=multi-user.target

[X-Provision]
Project=p
Service=web
Pinned={image}
"""


def web(text: str, **more: Any) -> Install:
    return Install(project="p", units={"web": text}, **more)


def seen(one: SshHost) -> OnNode:
    return one.observe("p").services["web"]


def test_a_node_that_never_ran_a_container_is_observed(one: SshHost, hosts: Hosts) -> None:
    hosts[0].run("podman system reset --force; rm -rf /var/lib/containers/* /run/containers")
    began = time.monotonic()
    found = one.observe("p")
    print(f"first observe: {time.monotonic() - began:.2f} s")
    assert (found.podman, found.systemd) == ((4, 3, 1), 252)
    assert found == Observed(podman=(4, 3, 1), systemd=252)
    assert one.round_trips == 1


def test_the_pinned_host_key_and_no_other_is_taken(hosts: Hosts) -> None:
    host = hosts[0]
    wrong = node(host, host_key=new_host_key().public)
    with wrong, pytest.raises(HostError) as refused:
        wrong.observe("p")
    assert str(refused.value) == (
        f"standin-1: {host.address} port 22 shows another host key than the pinned one "
        "(somebody may be in between, or it was installed anew)"
    )
    ecdsa = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBA=="
    with node(host, host_key=ecdsa) as other, pytest.raises(HostError) as refused:
        other.observe("p")
    assert str(refused.value) == (
        f"standin-1: {host.address} port 22 has no ecdsa-sha2-nistp256 host key, but one is pinned "
        "(somebody may be in between, or it was installed anew)"
    )


def test_who_cannot_log_in_is_told_what_was_tried(hosts: Hosts, tmp_path: Path) -> None:
    key = tmp_path / "key"
    paramiko.RSAKey.generate(2048).write_private_key_file(str(key))
    with node(hosts[0], identity=key) as stranger, pytest.raises(HostError) as refused:
        stranger.observe("p")
    assert str(refused.value) == (
        f"standin-1: nobody could log in as root at {hosts[0].address} port 22: it refused every "
        f"key (tried: {key}) (name a key file, or load its key into the agent)"
    )


def test_a_node_that_is_off_is_named(hosts: Hosts) -> None:
    with node(hosts[0], port=23) as closed, pytest.raises(HostError) as refused:
        closed.observe("p")
    assert str(refused.value) == (
        f"standin-1: no connection to {hosts[0].address} port 23: connection refused "
        "(is it up, and its sshd?)"
    )


def test_an_image_is_pulled_by_tag_and_pinned(
    one: SshHost, registry: LabRegistry, pinned: dict[str, str]
) -> None:
    name = f"{registry.name}/tiny:1"
    first, again = one.pull([name, pinned["1"]], timeout_s=60)
    assert (first.name, first.pinned, first.user) == (name, pinned["1"], "1000")
    assert (again.name, again.pinned) == (pinned["1"], pinned["1"])
    assert pinned["1"] in one.observe("p").images
    with pytest.raises(HostError) as refused:
        one.pull([f"{registry.name}/none:1"], timeout_s=60)
    said = str(refused.value)
    assert said.startswith(f"standin-1: image {registry.name}/none:1 was not pulled: Error: ")
    assert "unknown" in said
    registry.stop()
    try:  # by digest it is there
        assert one.pull([pinned["1"]], timeout_s=60) == [again]
    finally:
        registry.start()


def test_an_image_for_several_architectures_is_pinned_by_its_list(
    one: SshHost, registry: LabRegistry, pinned: dict[str, str], tmp_path: Path
) -> None:
    kind = "application/vnd.oci.image"
    manifests = []
    for architecture, version in (("amd64", "1"), ("arm64", "2")):
        digest = pinned[version].rpartition("@")[2]
        url = f"https://{registry.address}:5000/v2/tiny/manifests"
        manifests.append(
            {
                "mediaType": f"{kind}.manifest.v1+json",
                "digest": digest,
                "size": len(ask(registry, "GET", f"{url}/{digest}")),
                "platform": {"architecture": architecture, "os": "linux"},
            }
        )
    index = {"schemaVersion": 2, "mediaType": f"{kind}.index.v1+json", "manifests": manifests}
    body = json.dumps(index).encode()
    ask(registry, "PUT", f"{url}/list", body)
    name, digest = f"{registry.name}/tiny", f"sha256:{hashlib.sha256(body).hexdigest()}"
    (found,) = one.pull([f"{name}:list"], timeout_s=60)
    assert found.pinned == f"{name}@{digest}"
    assert {found.pinned, pinned["1"]} <= one.observe("p").images
    # what other nodes are asked for; and a tag of the one image still means that image
    again, single = one.pull([found.pinned, f"{name}:1"], timeout_s=60)
    assert again.pinned == found.pinned
    assert single.pinned in (pinned["1"], found.pinned)


def ask(registry: LabRegistry, method: str, url: str, body: bytes | None = None) -> bytes:
    """Talk to a registry without a client that chooses an architecture."""
    kind = "application/vnd.oci.image.{}.v1+json"
    headers = {"Accept": kind.format("manifest"), "Content-Type": kind.format("index")}
    context = ssl.create_default_context(cafile=str(registry.ca))
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    request = urllib.request.Request(url, data=body, headers=headers, method=method)  # noqa: S310
    with opener.open(request, timeout=20) as answer:
        return bytes(answer.read())


def test_a_registry_is_trusted_or_not_checked(
    one: SshHost, hosts: Hosts, registry: LabRegistry
) -> None:
    certificates = f"/etc/containers/certs.d/{registry.name}"
    drop_in = "/etc/containers/registries.conf.d/50-provision-services-registry.lab_5000.conf"
    hosts[0].run(f"rm -rf {certificates}")
    name = f"{registry.name}/tiny:1"
    with pytest.raises(HostError, match="x509: certificate signed by unknown authority"):
        one.pull([name], timeout_s=60)
    one.trust({registry.name: Registry(verify=False)})
    assert one.pull([name], timeout_s=60)[0].user == "1000"
    one.trust({registry.name: Registry(ca=registry.ca.read_bytes())})
    assert hosts[0].ask("ls", drop_in).status != 0
    assert one.pull([name], timeout_s=60)[0].user == "1000"


@pytest.mark.parametrize("user", ["root", "ops"])
def test_bytes_arrive_as_they_are(
    user: str, hosts: Hosts, one: SshHost, pinned: dict[str, str]
) -> None:
    mount = f"--volume={STATE}/p/web/config/abc/my.cnf:/data/my.cnf:ro --user=1000"
    text = unit(pinned["1"], run=f"{mount} --secret={SECRET},target=/run/secret,uid=1000")
    what = web(
        text, configs={"web": {"abc": {"my.cnf": (BYTES, 0o444)}}}, secrets={SECRET: BYTES[::-1]}
    )
    with node(hosts[0], user=user) as anybody:
        anybody.install(what)
        assert anybody.restart("p", "web", timeout_s=60).ok
        found = anybody.observe("p")
        assert anybody.round_trips == 3
    there = found.services["web"]
    assert (there.unit, there.current, there.previous) == (text, text, None)
    assert (there.active, there.sub, there.restarts, there.enabled) == (
        "active",
        "running",
        0,
        True,
    )
    assert abs(there.since - time.time()) < 60
    state = FileState(sha256=hashlib.sha256(BYTES).hexdigest(), mode=0o444)
    assert there.configs == {"abc/my.cnf": state}
    assert found.secrets == {SECRET}
    assert there.container is not None
    assert there.container.image == pinned["1"]
    assert (there.container.unit_digest, there.container.user) == ("note-", "1000")
    assert abs(there.container.started_at - there.since) < 5
    for path, wanted in (("/data/my.cnf", BYTES), ("/run/secret", BYTES[::-1])):
        # the options before it make sure that it is not a shell that reads the bytes
        dumped = hosts[0].run(f"podman exec p-web od -v -An -tx1 {path}")
        assert bytes.fromhex(dumped) == wanted
    assert hosts[0].ask("ls", "/pwned").status != 0
    assert hosts[0].run("ls -A /run/provision-services") == ""
    listing = hosts[0].run(f"stat -c %a {STATE}/p/web/config/abc {STATE}/p/web/config/abc/my.cnf")
    assert listing.split() == ["555", "444"]


def test_an_observation_takes_one_round_trip_and_little_time(
    one: SshHost, hosts: Hosts, pinned: dict[str, str]
) -> None:
    one.install(web(unit(pinned["1"])))
    one.restart("p", "web", timeout_s=60)
    one.round_trips = 0
    took = []
    hosts[0].ask("systemd-run", "--quiet", "--wait", "--unit=broken", "false")
    assert hosts[0].ask("systemctl", "is-system-running").out == "degraded\n"
    for _ in range(5):
        began = time.monotonic()
        one.observe("p")
        took.append(time.monotonic() - began)
    print(f"observe: {', '.join(f'{seconds:.2f}' for seconds in took)} s")
    assert one.round_trips == 5
    hosts[0].run("systemctl", "reset-failed")


def test_a_new_unit_keeps_the_one_that_worked(one: SshHost, pinned: dict[str, str]) -> None:
    first, second, third = (unit(pinned["1"], note=str(number)) for number in (1, 2, 3))
    one.install(web(first))
    one.restart("p", "web", timeout_s=60)
    one.install(web(second))
    assert (seen(one).current, seen(one).previous) == (second, first)
    one.install(web(third))  # the second was never up
    assert (seen(one).current, seen(one).previous) == (third, first)
    one.install(web(third))
    assert (seen(one).current, seen(one).previous) == (third, first)
    assert seen(one).container is not None
    assert seen(one).container.unit_digest == "note-1"  # type: ignore[union-attr]


def test_tampering_is_seen_and_repaired(one: SshHost, hosts: Hosts, pinned: dict[str, str]) -> None:
    text = unit(pinned["1"], run=f"--volume={STATE}/p/web/config/abc:/data:ro")
    configs = {"web": {"abc": {"a": (b"a", 0o444), "b": (b"b", 0o444)}}}
    one.install(web(text, configs=configs))
    one.restart("p", "web", timeout_s=60)
    before = seen(one)
    at = f"{STATE}/p/web/config"
    hosts[0].run(
        "sh",
        stdin=f"""
        cd {at} && printf x >>abc/a && chmod 666 abc/b && ln -s / "abc/a link" && mkfifo abc/pipe
        touch "abc/line
end" stray && chmod 777 abc && mkdir abc/sub
        echo '# edited' >>/etc/systemd/system/p-web.service
        systemctl disable --quiet p-web
        """.encode(),
    )
    changed = seen(one)
    assert changed.unit == f"{text}# edited\n"
    assert changed.current == text
    assert not changed.enabled
    assert {name: (state.kind, oct(state.mode)) for name, state in changed.configs.items()} == {
        "abc": ("directory", "0o777"),
        "abc/a": ("file", "0o444"),
        "abc/a link": ("symbolic link", "0o777"),
        "abc/b": ("file", "0o666"),
        "abc/line\nend": ("file", "0o644"),
        "abc/pipe": ("fifo", "0o644"),
        "abc/sub": ("directory", "0o755"),
        "stray": ("file", "0o644"),
    }
    assert changed.configs["abc/a"].sha256 == hashlib.sha256(b"ax").hexdigest()
    one.install(web(text, configs=configs))
    one.tidy("p")
    repaired = seen(one)
    assert repaired == before


def test_an_image_that_ends_at_once_is_no_start(one: SshHost, pinned: dict[str, str]) -> None:
    one.install(web(unit(pinned[standin.EXITS])))
    outcome = one.restart("p", "web", timeout_s=60)
    assert not outcome.ok
    assert outcome.said == "p-web came up and went down at once: exit status 3"
    assert "cannot go on: no such thing" in outcome.log


def test_a_failing_health_check_is_told_and_the_previous_unit_comes_back(
    one: SshHost, pinned: dict[str, str]
) -> None:
    good, bad = (unit(pinned[name], checked=True) for name in ("1", standin.BROKEN))
    one.install(web(good))
    assert one.restart("p", "web", timeout_s=60).ok
    one.install(web(bad))
    outcome = one.restart("p", "web", timeout_s=60)
    assert not outcome.ok
    assert outcome.said.startswith("p-web failed: its health check failed ")
    assert outcome.said.endswith(": broken on purpose; a command of its unit failed")
    assert "tiny broken started" in outcome.log
    assert one.restore("p", "web", swap=False, timeout_s=60).ok
    there = seen(one)
    assert (there.unit, there.current, there.previous) == (good, good, None)
    assert there.container is not None
    assert there.container.health == "healthy"
    # once more, as after a lost connection: nothing is removed
    assert one.restore("p", "web", swap=False, timeout_s=60).ok
    assert seen(one).current == good


def test_without_a_previous_unit_a_restore_removes(
    one: SshHost, hosts: Hosts, pinned: dict[str, str]
) -> None:
    one.install(web(unit(pinned[standin.EXITS]), secrets={SECRET: b"x"}))
    assert not one.restart("p", "web", timeout_s=60).ok
    outcome = one.restore("p", "web", swap=False, timeout_s=60)
    assert (outcome.ok, outcome.said) == (True, "removed")
    found = one.observe("p")
    assert (found.services, found.secrets, found.strangers) == ({}, frozenset(), ())
    assert hosts[0].ask("systemctl", "cat", "p-web").status != 0
    with pytest.raises(HostError) as refused:
        one.restore("p", "web", swap=True, timeout_s=60)
    assert str(refused.value) == "standin-1: p-web is not installed"


def test_a_rollback_by_hand_swaps_and_swaps_back(one: SshHost, pinned: dict[str, str]) -> None:
    first, second = (unit(pinned[name]) for name in ("1", "2"))
    one.install(web(first))
    one.restart("p", "web", timeout_s=60)
    with pytest.raises(HostError) as refused:
        one.restore("p", "web", swap=True, timeout_s=60)
    assert str(refused.value) == "standin-1: p-web has no previous unit to go back to"
    one.install(web(second))
    one.restart("p", "web", timeout_s=60)
    for current, previous, image in ((first, second, "1"), (second, first, "2")):
        assert one.restore("p", "web", swap=True, timeout_s=60).ok
        there = seen(one)
        assert (there.unit, there.current, there.previous) == (current, current, previous)
        assert there.container is not None
        assert there.container.image == pinned[image]


def test_what_does_not_come_up_in_time_is_late(one: SshHost, pinned: dict[str, str]) -> None:
    text = unit(pinned["1"]).replace("--sdnotify=conmon", "--sdnotify=container")
    one.install(web(text))
    began = time.monotonic()
    outcome = one.restart("p", "web", timeout_s=5)
    assert time.monotonic() - began < 30
    assert not outcome.ok
    assert outcome.said == "p-web is activating (start) after 5 seconds"


def test_stop_and_logs(one: SshHost, hosts: Hosts, pinned: dict[str, str]) -> None:
    one.install(web(unit(pinned["1"], run="--env=A=b")))
    one.restart("p", "web", timeout_s=60)
    deadline = time.monotonic() + 30
    while "started" not in hosts[0].run("podman logs p-web"):
        assert time.monotonic() < deadline
    hosts[0].run(
        "podman exec p-web sh -c 'i=0; while [ $i -lt 400 ]; do echo $i; "
        "i=$((i+1)); done >/proc/1/fd/1'"
    )
    hosts[0].run("podman exec p-web sh -c 'printf \"\\033[1mred\\007\\n\" >/proc/1/fd/1'")
    assert one.stop("p", "web", timeout_s=60).ok
    assert (seen(one).active, seen(one).enabled) == ("inactive", True)
    lines = one.logs("p", "web", lines=50, timeout_s=30)
    assert lines.index("399") < lines.index("[1mred") < lines.index("stopped")
    assert one.logs("p", "web", lines=1, timeout_s=30) == lines[-1:]
    assert not [line for line in lines if "container create" in line]


def test_only_what_is_ours_is_removed(one: SshHost, hosts: Hosts, pinned: dict[str, str]) -> None:
    hosts[0].run(f"podman run -d --name=by-hand --network=host {pinned['1']}")
    hosts[0].run("podman secret create by-hand -", stdin=b"x")
    hosts[0].run("podman volume create p_data")
    try:
        one.install(
            web(unit(pinned["1"], run="--volume=p_data:/data"), secrets={SECRET: b"secret"})
        )
        one.restart("p", "web", timeout_s=60)
        found = one.observe("p")
        assert [(each.name, each.state) for each in found.strangers] == [("by-hand", "running")]
        one.remove("p", ["web"], timeout_s=60)
        left = one.observe("p")
        assert left.services == {}
        assert left.strangers == found.strangers
        assert left.secrets == {"by-hand"}
        assert "p_data" in hosts[0].run("podman volume ls -q")
        assert hosts[0].ask("ls", f"{STATE}/p").status != 0
    finally:
        hosts[0].run("podman rm -f by-hand; podman secret rm by-hand; podman volume rm p_data")


def test_units_of_others_are_never_overwritten(one: SshHost, pinned: dict[str, str]) -> None:
    with pytest.raises(HostError) as refused:
        one.install(Install(project="systemd", units={"journald": unit(pinned["1"])}, configs={}))
    assert str(refused.value) == (
        "standin-1: /lib/systemd/system/systemd-journald.service is a unit of the system: "
        "rename the service"
    )
    with node_unit(one, "/etc/systemd/system/p-web.service"), pytest.raises(HostError) as refused:
        one.install(web(unit(pinned["1"])))
    assert str(refused.value) == (
        "standin-1: /etc/systemd/system/p-web.service is there and is not ours: move it away, or "
        "rename the service"
    )


@contextmanager
def node_unit(one: SshHost, path: str) -> Iterator[None]:
    """Have somebody else's unit on the node."""
    put = f"printf '[Service]\\nExecStart=/bin/true\\n' >{path}"
    connection = one._connection
    connection.run(put, b"", what="test", timeout_s=20)
    try:
        yield
    finally:
        connection.run(f"rm {path}; systemctl daemon-reload", b"", what="test", timeout_s=20)


def test_images_that_came_by_us_go_when_no_unit_names_them(
    one: SshHost, hosts: Hosts, registry: LabRegistry, tmp_path: Path, pinned: dict[str, str]
) -> None:
    registry.push(standin.tiny(tmp_path, "mine"), "tiny:mine")
    registry.push(standin.tiny(tmp_path, "theirs"), "tiny:theirs")
    theirs, mine = f"{registry.name}/tiny:theirs", f"{registry.name}/tiny:mine"
    hosts[0].run("podman", "pull", theirs)
    kept, gone = one.pull([theirs, mine], timeout_s=60)
    one.install(web(unit(pinned["1"], note="1")))
    one.restart("p", "web", timeout_s=60)
    one.install(web(unit(gone.pinned, note="2")))
    one.tidy("p")
    assert {kept.pinned, gone.pinned, pinned["1"]} <= one.observe("p").images
    one.restart("p", "web", timeout_s=60)
    one.install(web(unit(pinned["1"], note="3")))
    one.restart("p", "web", timeout_s=60)
    one.install(web(unit(pinned["1"], note="4")))
    one.tidy("p")
    images = one.observe("p").images
    assert {kept.pinned, pinned["1"]} <= images
    assert gone.pinned not in images


def test_two_runs_at_once_take_turns_or_are_told(
    one: SshHost, hosts: Hosts, pinned: dict[str, str]
) -> None:
    one.install(web(unit(pinned["1"]).replace("--sdnotify=conmon", "--sdnotify=container")))
    runner = threading.Thread(target=one.restart, args=("p", "web"), kwargs={"timeout_s": 8})
    runner.start()
    time.sleep(2)
    with node(hosts[0], lock_timeout_s=1) as other:
        with pytest.raises(HostError) as refused:
            other.install(web(unit(pinned["1"])))
        assert other.observe("p").services["web"].active == "activating"
    runner.join()
    said = str(refused.value)
    assert said.startswith("standin-1: another run changes this node: root@")
    assert " since 20" in said
    with node(hosts[0], lock_timeout_s=1) as other:
        other.install(web(unit(pinned["1"])))


def cut(one: SshHost, after_s: float) -> threading.Timer:
    """Cut the connection of a node in so many seconds, without a word to the other side."""

    def go() -> None:
        transport = one._connection._transport
        if transport is not None:
            transport.sock.close()

    timer = threading.Timer(after_s, go)
    timer.start()
    return timer


def settled(one: SshHost, text: str) -> OnNode:
    """Wait until what a lost run still does is done: the lock is free."""
    one.install(web(text))
    return seen(one)


@pytest.mark.parametrize("after_s", [0.1, 0.3, 0.6])
def test_a_connection_cut_in_the_middle_of_an_install_leaves_the_old_or_the_new(
    after_s: float, one: SshHost, hosts: Hosts, pinned: dict[str, str]
) -> None:
    first, second = unit(pinned["1"], note="1"), unit(pinned["2"], note="2")
    one.install(web(first, configs={"web": {"abc": {"a": (b"1", 0o444)}}}))
    one.restart("p", "web", timeout_s=60)
    what = web(second, configs={"web": {"def": {"a": (b"2" * 2**20, 0o444)}}})
    timer = cut(one, after_s)
    try:
        one.install(what)
    except HostError as error:
        assert "the connection was lost during install" in str(error)
    timer.cancel()
    with node(hosts[0]) as again:
        there = again.observe("p").services["web"]
        assert there.current in (first, second)
        if there.current == second:
            assert there.unit == second
            assert there.configs["def/a"].sha256 == hashlib.sha256(b"2" * 2**20).hexdigest()
        again.install(what)
        assert again.restart("p", "web", timeout_s=60).ok
        there = again.observe("p").services["web"]
        assert (there.unit, there.current, there.previous) == (second, second, first)
        assert hosts[0].run("ls -A /run/provision-services") == ""


def test_a_restart_goes_on_when_the_connection_is_cut(
    one: SshHost, hosts: Hosts, pinned: dict[str, str]
) -> None:
    text = unit(pinned["1"], checked=True)
    one.install(web(text))
    timer = cut(one, 0.3)
    with pytest.raises(HostError, match="the connection was lost during restart"):
        one.restart("p", "web", timeout_s=60)
    timer.join()
    with node(hosts[0]) as again:
        again.install(web(text))  # waits for the lock
        there = again.observe("p").services["web"]
        assert (there.active, there.current) == ("active", text)
        assert there.container is not None
        again.install(web(unit(pinned["2"])))  # the restart was seen to its end: it worked
        assert again.observe("p").services["web"].previous == text


def test_a_connection_cut_in_the_middle_of_removal_and_restore(
    one: SshHost, hosts: Hosts, pinned: dict[str, str]
) -> None:
    first, second = unit(pinned["1"], note="1"), unit(pinned["2"], note="2")
    one.install(web(first))
    one.restart("p", "web", timeout_s=60)
    one.install(web(second))
    timer = cut(one, 0.3)
    with pytest.raises(HostError, match="the connection was lost during restore"):
        one.restore("p", "web", swap=False, timeout_s=60)
    timer.join()
    assert one.restore("p", "web", swap=False, timeout_s=60).ok  # the object connects again
    there = seen(one)
    assert (there.unit, there.current, there.previous) == (first, first, None)
    timer = cut(one, 0.3)
    with pytest.raises(HostError, match="the connection was lost during remove"):
        one.remove("p", ["web"], timeout_s=60)
    timer.join()
    one.remove("p", ["web"], timeout_s=60)
    assert one.observe("p").services == {}


@pytest.mark.parametrize("verb", ["observe", "trust", "pull", "stop", "tidy", "logs"])
def test_a_connection_cut_in_the_middle_of_anything_else_does_no_harm(
    verb: str, one: SshHost, registry: LabRegistry, pinned: dict[str, str]
) -> None:
    text = unit(pinned["1"])
    one.install(web(text))
    one.restart("p", "web", timeout_s=60)
    call: Callable[[], Any] = {
        "observe": lambda: one.observe("p"),
        "trust": lambda: one.trust({registry.name: Registry(ca=registry.ca.read_bytes())}),
        "pull": lambda: one.pull([f"{registry.name}/tiny:1"], timeout_s=60),
        "stop": lambda: one.stop("p", "web", timeout_s=60),
        "tidy": lambda: one.tidy("p"),
        "logs": lambda: one.logs("p", "web", lines=5, timeout_s=60),
    }[verb]
    timer = cut(one, 0.1)
    try:
        call()
    except HostError as error:
        assert f"the connection was lost during {verb}" in str(error)
    timer.join()
    call()
    there = seen(one)
    assert (there.unit, there.current, there.enabled) == (text, text, True)
    assert there.active == ("inactive" if verb == "stop" else "active")


@pytest.mark.parametrize("after_s", [0.2, 0.5])
def test_a_power_cut_in_the_middle_of_an_install_is_repaired_by_the_next(
    after_s: float, hosts: Hosts, pinned: dict[str, str]
) -> None:
    first, second = unit(pinned["1"], note="1"), unit(pinned["2"], note="2")
    configs = {"web": {"def": {"a": (b"2" * 2**20, 0o444)}}}
    host = hosts[0]
    with node(host) as one:
        one.install(web(first))
        one.restart("p", "web", timeout_s=60)
        timer = threading.Timer(after_s, host.cut)
        timer.start()
        try:
            one.install(replace(web(second), configs=configs))
        except HostError as error:
            print(error)
        timer.join()
    host.start()
    with node(host) as one:
        there = one.observe("p").services["web"]
        assert there.current in (first, second)
        assert there.unit in (first, second)
        if there.current == second:
            assert there.unit == second
            assert list(there.configs) == ["def/a"]
        one.install(replace(web(second), configs=configs))
        assert one.restart("p", "web", timeout_s=60).ok
        there = one.observe("p").services["web"]
        assert (there.unit, there.current, there.previous) == (second, second, first)
        one.remove("p", ["web"], timeout_s=60)
