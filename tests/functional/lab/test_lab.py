"""Bring a whole lab up, break it, have it repaired, take it down: real services, no machine booted.

The ramdisk is a placeholder: nothing here boots it.
"""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.standin.images import tiny

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0 and "CI" not in os.environ, reason="the lab needs root"),
]
NAME = "functest"
NAMESPACE = f"atomic-{NAME}"  # and the name of the wire, as it is short enough


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A user's world with a lab of its own in it."""

    env: dict[str, str]
    directory: Path

    def run(self, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv, env={**self.env, **env}, capture_output=True, text=True, timeout=120, check=False
        )

    def lab(self, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "provision.lab", *argv, **env)

    def python(self, script: str, **env: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-c", script, **env)

    def pid(self, service: str) -> int:
        record = json.loads((self.directory / "run" / f"{service}.json").read_text())
        return int(record["process"]["pid"])


def processes_of(world: World) -> list[str]:
    """Every process whose arguments name the lab's directory, or that is in its network."""
    found = []
    inode = Path("/run/netns", NAMESPACE)
    inside = inode.stat().st_ino if inode.exists() else None
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            words = (entry / "cmdline").read_bytes()
            network = (entry / "ns" / "net").stat().st_ino
        except OSError:
            continue
        if str(world.directory).encode() in words or (inside and network == inside):
            found.append(f"{entry.name} {words.decode().replace(chr(0), ' ')}")
    return found


def mounts() -> set[str]:
    return {line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    top = tmp_path_factory.mktemp("lab")
    ramdisk = top / "ramdisk"
    ramdisk.mkdir()
    for name in ("kernel", "initramfs"):
        (ramdisk / f"ironic-python-agent.{name}").write_text(f"placeholder for the {name}\n")
    kept = {key: value for key, value in os.environ.items() if not key.startswith("OS_")}
    world = World(
        env={
            **kept,
            "ATOMIC_LAB": NAME,
            "ATOMIC_RAMDISK_DIR": str(ramdisk),
            "XDG_STATE_HOME": str(top / "state"),
            "XDG_CACHE_HOME": str(top / "cache"),
        },
        directory=top / "state" / "atomic-baremetal" / "labs" / NAME,
    )
    yield world
    # whatever became of the tests; the last of them has looked at what `down` leaves
    world.lab("down")


@pytest.fixture(scope="module")
def lab(world: World) -> World:
    done = world.lab("up", "--nodes", "2")
    assert done.returncode == 0, done.stderr
    assert "lab 'functest' is up: 2 nodes" in done.stderr
    return world


def assert_nothing_is_left(world: World) -> None:
    assert processes_of(world) == []
    listed = world.run("ip", "netns", "list").stdout + world.run("ip", "link", "show").stdout
    assert NAMESPACE not in listed
    assert not world.directory.exists()
    # other labs come and go meanwhile
    assert not [one for one in mounts() if str(world.directory) in one or NAMESPACE in one]


def status(world: World) -> dict[str, dict[str, object]]:
    done = world.lab("status", "-f", "json")
    data = json.loads(done.stdout)
    assert (done.returncode == 0) is data["up"]
    return {
        "services": {one["name"]: one for one in data["services"]},
        "nodes": {one["name"]: one for one in data["nodes"]},
    }


def test_an_interrupted_first_up_takes_down_what_it_made(world: World) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "provision.lab", "up"],
        env=world.env,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stderr
        lines = []
        for line in child.stderr:
            lines.append(line)
            if line == "starting sshd\n":
                child.send_signal(signal.SIGINT)
        assert child.wait(60) == 130, lines
    kept = world.directory.with_name(f"{NAME}.log")
    assert [line for line in lines if line.strip()][-2:] == [
        f"the lab did not come up; taking it down again (its logs: {kept})\n",
        "python -m provision.lab: interrupted\n",
    ]
    assert (kept / "libvirtd.log").exists()
    assert_nothing_is_left(world)


def test_a_lab_that_is_not_up_says_so(world: World) -> None:
    done = world.lab("status", "-f", "json")
    assert done.returncode == 1
    assert json.loads(done.stdout) == {
        "lab": NAME,
        "up": False,
        "cloud": None,
        "directory": None,
        "services": [],
        "nodes": [],
    }
    done = world.lab("env")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "python -m provision.lab: the lab 'functest' is not up (start it: provision lab up)\n"
    )
    done = world.lab("down")
    assert (done.returncode, done.stderr) == (0, "there is no lab 'functest'\n")


def test_status_names_every_service_and_node(lab: World) -> None:
    found = status(lab)
    names = ["dnsmasq", "http", "registry", "libvirtd", "sshd", "redfish", "glance", "ironic"]
    assert list(found["services"]) == names
    assert all(one["up"] and one["pid"] for one in found["services"].values())
    odd, even = found["nodes"]["node-1"], found["nodes"]["node-2"]
    assert (odd["driver"], odd["boot_mode"]) == ("ssh", "bios")
    assert (even["driver"], even["boot_mode"]) == ("redfish-netboot", "uefi")
    for node in (odd, even):
        assert (node["provision_state"], node["power_state"]) == ("available", "power off")
    assert "node-2  redfish-netboot  uefi" in lab.lab("status").stdout


def test_up_twice_does_nothing(lab: World) -> None:
    before = {name: one["pid"] for name, one in status(lab)["services"].items()}
    started_s = time.monotonic()
    done = lab.lab("up", "--nodes", "1")
    assert time.monotonic() - started_s < 10
    assert done.returncode == 0
    first, second = done.stderr.splitlines()
    assert first == "the lab keeps its 2 nodes: to have fewer, take it down and start it anew"
    assert second.startswith("lab 'functest' was up already, nothing to do: 2 nodes, Ironic at ")
    assert {name: one["pid"] for name, one in status(lab)["services"].items()} == before


ASK = """
import openstack
cloud = openstack.connect(cloud="lab-functest")
print(sorted(node.name for node in cloud.baremetal.nodes()), list(cloud.image.images()))
"""


def test_env_is_a_cloud_that_clients_can_use(lab: World, tmp_path: Path) -> None:
    text = lab.lab("env").stdout
    assert text == (lab.directory / "clouds.yaml").read_text()
    assert (lab.directory / "clouds.yaml").stat().st_mode & 0o777 == 0o600
    clouds = tmp_path / "clouds.yaml"
    clouds.write_text(text)
    done = lab.python(ASK, OS_CLIENT_CONFIG_FILE=str(clouds))
    assert done.stdout == "['node-1', 'node-2'] []\n", done.stderr
    done = lab.run(
        str(Path(sys.executable).with_name("baremetal")),
        *("node", "list", "-f", "value", "-c", "name"),
        OS_CLIENT_CONFIG_FILE=str(clouds),
        OS_CLOUD="lab-functest",
    )
    assert done.stdout == "node-1\nnode-2\n", done.stderr


@pytest.mark.parametrize("service", ["baremetal.nodes", "image.images"])
def test_a_wrong_password_is_refused(lab: World, tmp_path: Path, service: str) -> None:
    text = lab.lab("env").stdout
    password = json.loads((lab.directory / "lab.json").read_text())["password"]
    assert password in text
    clouds = tmp_path / "clouds.yaml"
    clouds.write_text(text.replace(password, "0" * len(password)))
    script = f"import openstack; list(openstack.connect(cloud='lab-functest').{service}())"
    done = lab.python(script, OS_CLIENT_CONFIG_FILE=str(clouds))
    assert done.returncode == 1
    assert "401" in done.stderr


def test_the_http_server_gives_boot_files_and_nothing_else(lab: World) -> None:
    (lab.directory / "http" / "outside").symlink_to(lab.directory / "lab.json")
    (lab.directory / "http" / "inside").symlink_to("boot.ipxe")
    address = status(lab)["services"]["http"]["address"]
    codes = {
        path: lab.run(
            *("curl", "--silent", "--path-as-is", "--noproxy", "*"),
            *("--output", "/dev/null", "--write-out", "%{http_code}", f"{address}/{path}"),
        ).stdout
        for path in ("boot.ipxe", "inside", "", "outside", "../lab.json", "%2e%2e/lab.json", "%00")
    }
    assert codes == {
        "boot.ipxe": "200",
        "inside": "200",
        "": "404",
        "outside": "404",
        "../lab.json": "404",
        "%2e%2e/lab.json": "404",
        "%00": "404",
    }


def test_the_hypervisor_lets_only_the_conductor_in(lab: World) -> None:
    """From the host's end of the wire, even with the conductor's key."""
    address, port = str(status(lab)["services"]["sshd"]["address"]).split(":")
    ssh = (
        *("ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"),
        *("-o", f"UserKnownHostsFile={lab.directory / 'ssh' / 'known_hosts'}"),
        *("-i", str(lab.directory / "ssh" / "conductor_key"), "-p", port, f"root@{address}"),
    )
    refused = lab.run(*ssh, "true")
    assert refused.returncode == 255
    assert "Permission denied" in refused.stderr
    inside = ("ip", "netns", "exec", NAMESPACE)
    listed = lab.run(*inside, *ssh, "virsh", "list", "--all", "--name")
    assert listed.stdout.split() == ["node-1", "node-2"], listed.stderr


@pytest.mark.parametrize("service", ["ironic", "libvirtd", "dnsmasq", "registry"])
def test_up_repairs_what_was_killed(lab: World, service: str) -> None:
    before = {name: one["pid"] for name, one in status(lab)["services"].items()}
    os.kill(lab.pid(service), signal.SIGKILL)
    broken = status(lab)["services"]
    assert broken[service]["problem"] == "does not run"
    done = lab.lab("up")
    assert done.returncode == 0, done.stderr
    assert f"{service} had ended\nstarting {service}\n" in done.stderr
    after = {name: one["pid"] for name, one in status(lab)["services"].items()}
    assert {name for name in after if after[name] != before[name]} == {service}


def test_restart_starts_one_service_anew(lab: World) -> None:
    before = lab.pid("glance")
    assert lab.lab("restart", "glance").returncode == 0
    assert lab.pid("glance") != before
    done = lab.lab("restart", "keystone")
    assert (done.returncode, done.stderr) == (
        1,
        "python -m provision.lab: no service 'keystone' in the lab (there are: dnsmasq, http, "
        "registry, libvirtd, sshd, redfish, glance, ironic)\n",
    )


def dns_answer(name: str, server: str) -> tuple[int, list[str]]:
    """Ask for a name's IPv4 addresses; return the response code and them (RFC 1035, section 4)."""
    question = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(10)
        header = struct.pack(">6H", 4711, 0x0100, 1, 0, 0, 0)
        asking.sendto(header + question + struct.pack(">2H", 1, 1), (server, 53))
        answer = asking.recv(512)
    _, flags, _, count, _, _ = struct.unpack_from(">6H", answer)
    # each record ends with its four bytes of address: a pointer to the name, four fields before it
    rest = answer[12 + len(question) + 4 :]
    found = [socket.inet_ntoa(rest[16 * n + 12 : 16 * n + 16]) for n in range(count)]
    return flags & 0xF, found


def test_names_are_the_labs_own_and_no_others(lab: World) -> None:
    server = str(status(lab)["services"]["dnsmasq"]["address"]).split(":")[0]
    assert dns_answer("registry.lab", server) == (0, [server])
    no_such_name = 3
    for name in ("elsewhere.lab", "example.com"):
        assert dns_answer(name, server) == (no_such_name, [])


def test_the_registry_keeps_what_is_pushed_and_nobody_needs_to_trust_it_blindly(
    lab: World, tmp_path: Path
) -> None:
    address = str(status(lab)["services"]["registry"]["address"])
    assert address.endswith(":5000 (registry.lab)")
    where = address.split(maxsplit=1)[0].removeprefix("https://")
    layout = tiny(tmp_path)
    pushing = """
import sys
from provision.lab import push, record
lab = record.load(record.name())
for _ in range(2):
    pushed = push.push(lab, f"oci:{sys.argv[1]}", "tiny:1")
    print(pushed.image, pushed.digest)
"""
    done = lab.run(sys.executable, "-c", pushing, str(layout))
    index = json.loads((layout / "index.json").read_text())
    digest = index["manifests"][0]["digest"]
    assert (done.stdout, done.stderr) == (f"registry.lab:5000/tiny:1 {digest}\n" * 2, "")
    assert lab.lab("restart", "registry").returncode == 0
    look = ["skopeo", "inspect", "--format", "{{.Digest}}", f"docker://{where}/tiny:1"]
    trusting = ["--cert-dir", str(lab.directory / "registry")]
    assert lab.run(*look, *trusting).stdout == f"{digest}\n"
    assert "x509: certificate signed by unknown authority" in lab.run(*look).stderr


def test_more_nodes_can_be_added(lab: World) -> None:
    done = lab.lab("up", "--nodes", "3")
    assert done.returncode == 0, done.stderr
    found = status(lab)["nodes"]
    assert list(found) == ["node-1", "node-2", "node-3"]
    assert found["node-3"]["provision_state"] == "available"


def test_up_repairs_after_a_reboot(lab: World) -> None:
    """A reboot takes processes and network; what is on disk stays."""
    for entry in (lab.directory / "run").glob("*.json"):
        os.kill(lab.pid(entry.stem), signal.SIGKILL)
    deadline = time.monotonic() + 10
    while processes_of(lab) and time.monotonic() < deadline:
        time.sleep(0.1)
    subprocess.run(["ip", "link", "delete", NAMESPACE], check=True)
    subprocess.run(["ip", "netns", "delete", NAMESPACE], check=True)
    assert all(
        one["problem"] in ("does not run", "the lab's network is not there")
        for one in status(lab)["services"].values()
    )
    done = lab.lab("up")
    assert done.returncode == 0, done.stderr
    assert status(lab)["nodes"]["node-3"]["provision_state"] == "available"


def test_down_ends_only_what_the_lab_started_and_says_what_it_left(lab: World) -> None:
    stranger = subprocess.Popen(["ip", "netns", "exec", NAMESPACE, "sleep", "600"])
    try:
        time.sleep(0.3)  # until it is in there
        done = lab.lab("down")
        assert done.returncode == 1
        assert f"processes in its network that it did not start: {stranger.pid}" in done.stderr
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_labs_of_two_users_that_start_at_once_get_two_networks(
    world: World, tmp_path: Path
) -> None:
    """Their state directories differ, so neither knows of the other but by the host's routes."""
    script = (
        "import os, pathlib\n"
        "from provision.lab import up\n"
        "up._bring_up = lambda lab, ramdisk: print(lab.subnet)\n"
        "up.up(1, ramdisk=pathlib.Path(os.environ['ATOMIC_RAMDISK_DIR']))\n"
    )
    envs = [
        {**world.env, "ATOMIC_LAB": name, "XDG_STATE_HOME": str(tmp_path / name)}
        for name in ("functest-a", "functest-b")
    ]
    words = [sys.executable, "-c", script]
    chosen = []
    with ExitStack() as stack:
        for env in envs:
            stack.callback(world.lab, "down", **env)
        children = [
            stack.enter_context(subprocess.Popen(words, env=env, stdout=subprocess.PIPE, text=True))
            for env in envs
        ]
        for child in children:
            stack.callback(child.kill)
        chosen = [int(child.communicate(timeout=60)[0]) for child in children]
    assert len(set(chosen)) == 2


def test_down_leaves_nothing(lab: World) -> None:
    done = lab.lab("down")
    assert done.returncode == 0, done.stderr
    assert_nothing_is_left(lab)
    done = lab.lab("down")
    assert (done.returncode, done.stderr) == (0, "there is no lab 'functest'\n")
