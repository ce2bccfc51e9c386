"""Try the stand-in hosts themselves: what the other tests of services rely on."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import standin
from tests.standin import Hosts, Registry

HOST_THAT_WAITS = """
from tests import standin
with standin.hosts(1) as hosts, standin.registry(hosts):
    print(hosts.wire_address, hosts[0].directory, flush=True)
    input()
"""


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    standin.need()
    with standin.hosts(2) as booted:
        yield booted


@pytest.fixture(scope="module")
def registry(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    directory = tmp_path_factory.mktemp("images")
    with standin.registry(hosts) as started:
        started.push(standin.tiny(directory), "tiny:1")
        started.trust(hosts)
        yield started


def test_hosts_have_systemd_and_know_each_other(hosts: Hosts) -> None:
    for host in hosts:
        assert host.run("systemctl", "is-system-running", "--wait").strip() == "running"
        assert host.run("hostname").strip() == host.name
    assert hosts[0].run("getent", "hosts", "standin-2").split()[0] == hosts[1].address
    assert hosts[0].run("sudo", "-n", "id", "-u", user="ops") == "0\n"


def test_a_host_pulls_and_runs_an_image_by_name(hosts: Hosts, registry: Registry) -> None:
    image = f"{registry.name}/tiny:1"
    hosts[0].run("podman", "pull", image)
    for network in ("host", "bridge"):
        said = hosts[0].run("podman", "run", "--rm", f"--network={network}", image, "id", "-u")
        assert said == "tiny 1 started\n1000\n"


def test_a_host_that_does_not_trust_the_registry_gets_nothing(
    hosts: Hosts, registry: Registry
) -> None:
    hosts[1].run("rm -r /etc/containers/certs.d")
    answer = hosts[1].ask("podman", "pull", f"{registry.name}/tiny:1")
    assert answer.status != 0
    assert "x509: certificate signed by unknown authority" in answer.err


def test_an_ended_registry_gives_nothing_and_started_again_has_kept_all(
    hosts: Hosts, registry: Registry
) -> None:
    pull = ("podman", "pull", f"{registry.name}/tiny:1")
    registry.stop()
    assert "connection refused" in hosts[0].ask(*pull).err
    registry.start()
    hosts[0].run(*pull)


def test_a_reboot_and_a_power_cut_keep_what_is_on_disk(hosts: Hosts) -> None:
    host = hosts[0]
    boots = [host.run("cat /proc/sys/kernel/random/boot_id")]
    host.run("echo kept > /root/file; sync")
    for again in (host.reboot, lambda: (host.cut(), host.start())):
        again()
        boots.append(host.run("cat /proc/sys/kernel/random/boot_id"))
        assert host.run("cat", "/root/file") == "kept\n"
    assert len(set(boots)) == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_stays_of_a_test_that_is_ended(number: signal.Signals) -> None:
    standin.need()
    process = subprocess.Popen(
        [sys.executable, "-c", HOST_THAT_WAITS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdin
    assert process.stdout
    with process.stdin, process.stdout:
        address, directory = process.stdout.readline().split()
        subnet = address.rsplit(".", 1)[0]
        assert f"inet {address}/" in _ip("address")
        process.send_signal(number)
        process.wait(30)
    if number == signal.SIGKILL:  # the kernel is at it
        for _ in range(100):
            if f"{subnet}." not in _ip("address") and not _processes(directory):
                break
            subprocess.run(["sleep", "0.1"], check=True)
    assert f"{subnet}." not in _ip("address")
    assert _processes(directory) == []
    assert directory not in Path("/proc/self/mounts").read_text()
    if number == signal.SIGINT:
        assert not Path(directory).exists()


def _ip(what: str) -> str:
    return subprocess.run(["ip", what], capture_output=True, text=True, check=True).stdout


def _processes(directory: str) -> list[str]:
    """Processes that name the host's directory in their arguments or have it as a root."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            mounts = (entry / "mountinfo").read_text()
        except OSError:
            continue
        if entry.name != str(os.getpid()) and (directory in words or directory in mounts):
            found.append(f"{entry.name} {words}")
    return found
