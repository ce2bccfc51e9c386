"""Try what a plain unit promises on a real systemd and podman: when it is up, what it outlives."""

import io
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.services.model import (
    Condition,
    Dependency,
    Healthcheck,
    Mount,
    MountKind,
    NetworkMode,
    Project,
    Service,
)
from provision.services.unit import render
from tests import standin
from tests.standin import Host

NAME = "units"
# a hypervisor's guest: a process in a cgroup of its own, which outlives the container
GUEST = """\
group=/sys/fs/cgroup/machine.slice/guest
mkdir -p $group
( sleep 77777 & echo $! > $group/cgroup.procs ) </dev/null >/dev/null 2>&1
trap 'exit 0' TERM
while :; do sleep 100 & wait $!; done
"""
WELL = Healthcheck(test=("/bin/health",), interval_s=2, timeout_s=5, retries=2)
SOON_S = 20  # an emulated, busy machine's few seconds; the limits of the units are minutes
POLL_S = 0.5


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    standin.need()
    directory = tmp_path_factory.mktemp("images")
    with standin.hosts(1) as hosts:
        for version in ("1", standin.BROKEN):
            hosts[0].run(
                "cat > /root/tiny.tar && podman load -q -i /root/tiny.tar | cut -d: -f2- |"
                f" xargs -I ID podman tag ID localhost/tiny:{version}",
                stdin=packed(standin.tiny(directory, version)),
            )
        yield hosts[0]


def packed(layout: Path) -> bytes:
    into = io.BytesIO()
    with tarfile.open(fileobj=into, mode="w") as tar:
        tar.add(layout, arcname=".")
    return into.getvalue()


def install(host: Host, *services: Service) -> None:
    """Write the units of a project with these services."""
    project = Project(name=NAME, services={one.name: one for one in services})
    for one in services:
        unit = render.render(
            project,
            one.name,
            pinned=f"localhost/tiny:{one.image}",
            beside=set(project.services),
            podman=(4, 3, 1),
        )
        place = f"/etc/systemd/system/{project.unit(one.name)}.service"
        host.run(f"cat > {place}", stdin=unit.text.encode())
    host.run("systemctl daemon-reload")


def show(host: Host, service: str, what: str) -> str:
    return host.run(f"systemctl show --value -p {what} {NAME}-{service}").strip()


def wait_for(host: Host, command: str, says: str, timeout_s: float = SOON_S) -> None:
    deadline = time.monotonic() + timeout_s
    while (said := host.run(command, ok=False).strip()) != says:
        assert time.monotonic() < deadline, f"{command}: {said!r}, not {says!r}"
        time.sleep(POLL_S)


def test_a_service_is_up_when_it_is_healthy_and_only_then_its_dependent(host: Host) -> None:
    data = Mount(kind=MountKind.VOLUME, source="data", target="/data")
    base = Service(
        name="base",
        image="1",
        mounts=(data,),
        healthcheck=Healthcheck(test=WELL.test, interval_s=1, timeout_s=5, retries=30),
    )
    needs = Service(
        name="needs",
        image="1",
        depends_on=(Dependency(service="base", condition=Condition.HEALTHY),),
    )
    install(host, base, needs)
    host.run(f"podman volume create {NAME}_data")
    sick = f"$(podman volume inspect -f '{{{{.Mountpoint}}}}' {NAME}_data)/sick"
    host.run(f"touch {sick} && systemctl start --no-block {NAME}-needs")
    wait_for(host, f"podman ps --format '{{{{.Names}}}}' --filter name={NAME}-", f"{NAME}-base")
    time.sleep(3)
    assert show(host, "base", "ActiveState") == "activating"
    assert show(host, "needs", "ActiveState") == "inactive"
    host.run(f"rm {sick}")
    wait_for(host, f"systemctl is-active {NAME}-needs", "active")
    assert show(host, "base", "ActiveState") == "active"
    # a restart of what is depended on leaves the dependent alone
    before = show(host, "needs", "MainPID")
    host.run(f"systemctl restart {NAME}-base")
    assert show(host, "needs", "MainPID") == before
    host.run(f"systemctl stop {NAME}-needs {NAME}-base")
    assert host.run("podman ps -aq") == ""


def test_a_start_of_what_never_gets_healthy_fails_as_soon_as_podman_says_so(host: Host) -> None:
    install(host, Service(name="broken", image=standin.BROKEN, healthcheck=WELL))
    began = time.monotonic()
    answer = host.ask(f"systemctl start {NAME}-broken")
    took_s = time.monotonic() - began
    assert answer.status != 0
    assert "Job for units-broken.service failed" in answer.err
    assert took_s < SOON_S
    log = host.run(f"journalctl -o cat -u {NAME}-broken")
    assert "units-broken did not become healthy" in log
    host.run(f"systemctl stop {NAME}-broken")
    assert host.run("podman ps -aq") == ""


def test_a_service_that_gets_sick_or_is_killed_comes_back(host: Host) -> None:
    install(host, Service(name="back", image="1", healthcheck=WELL))
    host.run(f"systemctl start {NAME}-back")
    host.run(f"podman exec -u 0 {NAME}-back sh -c 'echo broken > /version'")
    wait_for(host, f"systemctl show --value -p NRestarts {NAME}-back", "1", timeout_s=60)
    wait_for(host, f"systemctl is-active {NAME}-back", "active")
    host.run(f"kill -9 $(podman inspect -f '{{{{.State.Pid}}}}' {NAME}-back)")
    wait_for(host, f"systemctl show --value -p NRestarts {NAME}-back", "2", timeout_s=60)
    wait_for(host, f"systemctl is-active {NAME}-back", "active")
    host.run(f"systemctl stop {NAME}-back")
    assert show(host, "back", "ActiveState") == "inactive"


def test_a_guest_outlives_its_super_privileged_service(host: Host) -> None:
    service = Service(
        name="super",
        image="1",
        user="0:0",
        privileged=True,
        network_mode=NetworkMode.HOST,
        pid="host",
        cgroup="host",
        command=("/bin/sh", "-c", GUEST),
    )
    install(host, service)
    host.run(f"systemctl start {NAME}-super")
    guests = "pgrep -x -f 'sleep 77777'"
    wait_for(host, f"{guests} | wc -l", "1")
    first = host.run(guests)
    # conmon waits for the guest, which is its child now: that must not hold up the service
    began = time.monotonic()
    host.run(f"systemctl restart {NAME}-super")
    assert time.monotonic() - began < SOON_S
    wait_for(host, f"{guests} | wc -l", "2")
    assert first in host.run(guests)
    # nor hide that the container is gone
    host.run(f"kill -9 $(podman inspect -f '{{{{.State.Pid}}}}' {NAME}-super)")
    wait_for(host, f"systemctl show --value -p NRestarts {NAME}-super", "1", timeout_s=60)
    wait_for(host, f"{guests} | wc -l", "3")
    began = time.monotonic()
    host.run(f"systemctl stop {NAME}-super")
    assert time.monotonic() - began < SOON_S
    assert show(host, "super", "ActiveState") == "inactive"
    assert first in host.run(guests)
    host.run("pkill -x -f 'sleep 77777'")
