"""The seed's command against real services; the machines are Ironic's fakes, the ssh is real."""

import getpass
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.functional.ports import free_port
from tests.functional.provision.conftest import KERNEL_CMDLINE, Cloud, Operator
from tests.functional.provision.host import ConfigDrive, config_drive, sshd

Machines = Callable[..., Any]


def wait_for(what: str, check: Callable[[], Any], timeout_s: float = 30) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (seen := check()):
        assert time.monotonic() < deadline, what
        time.sleep(0.1)
    return seen


def drive_of(cloud: Cloud, node: Any) -> ConfigDrive:
    drive: ConfigDrive = wait_for(
        "no config drive", lambda: config_drive(cloud.ironic.directory, node.id)
    )
    return drive


def names(nodes: Any) -> set[str]:
    return {node.name for node in nodes}


def test_from_nothing_to_a_verified_ssh_and_back(
    operator: Operator, cloud: Cloud, machines: Machines, tmp_path: Path
) -> None:
    port = free_port()
    (node,) = machines(extra={"address": "127.0.0.1", "ssh_port": port})
    argv = ("nodes", "--flavor", node.resource_class, "--image", "atomic", "--name", "way-{n}")

    with operator.start(*argv, "--wait", "60", "-f", "json") as running:
        drive = drive_of(cloud, node)
        settings = drive.cloud_config
        public = (operator.home / ".ssh" / "id_ed25519.pub").read_text().strip()
        assert drive.meta_data["hostname"] == drive.meta_data["name"] == "way-1"
        assert drive.meta_data["uuid"] == node.id
        assert drive.meta_data["public_keys"] == {"default": public}
        with sshd(
            tmp_path / "sshd",
            port=port,
            host_key=settings["ssh_keys"]["ed25519_private"],
            authorized=settings["ssh_authorized_keys"],
        ):
            stdout, stderr = running.communicate(timeout=60)
            assert running.returncode == 0, stderr
            _check_result(json.loads(stdout), node, cloud)
            assert stderr.endswith("connect: provision ssh way-1\n")
            _check_ssh(operator, node)
            _check_run_again(operator, cloud, argv)
            _check_wrong_key(operator, node, argv)
    phases = [event["phase"] for event in operator.events()]
    assert phases[-1] == "failed"

    (released,) = operator.json("release", "way-1")
    assert (released["name"], released["released"]) == ("way-1", True)
    assert cloud.node(node.name).provision_state == "available"
    assert "way-1" not in cloud.allocations()
    assert node.id not in operator.known_hosts.read_text()


def _check_result(result: Any, node: Any, cloud: Cloud) -> None:
    assert result == [
        {
            "name": "way-1",
            "state": "done",
            "address": "127.0.0.1",
            "image": "atomic",
            "image_id": cloud.image_id,
            "ironic_node": node.name,
            "uuid": node.id,
            "kernel_arguments": KERNEL_CMDLINE,
            "error": None,
        }
    ]
    info = cloud.node(node.name).instance_info
    assert info["kernel_append_params"] == KERNEL_CMDLINE
    assert info["root_gb"] == 7
    assert info["image_source"] == cloud.image_id


def _check_ssh(operator: Operator, node: Any) -> None:
    me = ("-l", getpass.getuser(), "-i", str(operator.key))
    for name in ("way-1", node.id):
        done = operator.run("ssh", name, *me, "--", "echo", "from", "$((20 + 3));", "exit 7")
        assert (done.returncode, done.stdout) == (7, "from 23\n"), done.stderr


def _check_run_again(operator: Operator, cloud: Cloud, argv: tuple[str, ...]) -> None:
    before = cloud.connection.baremetal.get_allocation("way-1").id
    (again,) = operator.json(*argv, "--wait", "20")
    assert again["state"] == "done"
    assert cloud.connection.baremetal.get_allocation("way-1").id == before


def _check_wrong_key(operator: Operator, node: Any, argv: tuple[str, ...]) -> None:
    """Pin another key: nobody is let in, and what was there before stays."""
    other = (operator.home / ".ssh" / "id_ed25519.pub").read_text().split()[:2]
    operator.known_hosts.write_text(f"{node.id} {' '.join(other)}\n")
    refused = operator.run("ssh", "way-1", "-i", operator.key, "--", "true")
    assert refused.returncode == 255
    assert "Host key verification failed." in refused.stderr
    again = operator.run(*argv, "--wait", "20")
    assert again.returncode == 1
    port = node.extra["ssh_port"]
    assert again.stderr.endswith(
        f"provision: way-1: 127.0.0.1 port {port} shows another host key than the pinned one: "
        "this is not the host that was deployed\n"
    )
    assert operator.json("show", "way-1")["provision_state"] == "active"


def test_several_at_once_without_waiting(
    operator: Operator, cloud: Cloud, machines: Machines
) -> None:
    nodes = machines(3)
    class_ = nodes[0].resource_class
    argv = ("nodes", "--flavor", class_, "--image", cloud.image_id, "--count", "2")
    asked = (*argv, "--name", "two-{n}", "--kernel-append", "console=ttyS0", "--root-gb", "9")

    planned = operator.json(
        *asked, "--candidate", nodes[0].id, "--candidate", nodes[2].name, "--dry-run"
    )
    assert [(one["name"], one["state"]) for one in planned] == [
        ("two-1", "to deploy"),
        ("two-2", "to deploy"),
    ]
    assert {one["ironic_node"] for one in planned} == names([nodes[0], nodes[2]])
    assert planned[0]["kernel_arguments"] == f"{KERNEL_CMDLINE} console=ttyS0"
    assert not {"two-1", "two-2"} & set(cloud.allocations())
    assert not operator.known_hosts.exists()

    debug = operator.run(
        "--debug", *asked, "--candidate", nodes[0].id, "--candidate", nodes[2].name, "--no-wait"
    )
    assert debug.returncode == 0, debug.stderr
    assert "console=ttyS0" in debug.stderr  # requests are logged indeed
    assert "PRIVATE KEY" not in debug.stderr
    assert "PRIVATE KEY" not in cloud.ironic.log
    for node in (nodes[0], nodes[2]):
        drive = drive_of(cloud, node)
        assert "PRIVATE KEY" in drive.user_data
        assert cloud.node(node.name).instance_info["root_gb"] == 9
    listed = {one["name"]: one for one in operator.json("list")}
    assert listed[nodes[0].name]["image"] == "atomic"
    assert {listed[node.name]["host"] for node in nodes} == {"two-1", "two-2", None}
    done = operator.run("release", "two-1", "nobody", "two-2")
    assert done.returncode == 1
    assert "nobody: there is no node and no host 'nobody'" in done.stderr
    assert [cloud.node(node.name).provision_state for node in nodes] == ["available"] * 3


def test_an_interrupt_gives_the_node_back(
    operator: Operator, cloud: Cloud, machines: Machines
) -> None:
    (node,) = machines(extra={"address": "127.0.0.1", "ssh_port": free_port()})
    argv = ("nodes", "--flavor", node.resource_class, "--image", "atomic", "--name", "broken-off")
    with operator.start(*argv) as running:
        wait_for(
            "it never boots",
            lambda: (
                operator.known_hosts.exists()
                and any(event["phase"] == "booting" for event in operator.events())
            ),
        )
        running.send_signal(signal.SIGINT)
        _, stderr = running.communicate(timeout=40)
    assert running.returncode == 130
    assert "giving back: broken-off" in stderr
    assert stderr.endswith(
        f"broken-off on {node.name}: released: given back (node {node.name} is available)\n"
        "\nprovision: interrupted\n"
    )
    assert cloud.node(node.name).provision_state == "available"
    assert cloud.node(node.name).instance_id is None
    assert "broken-off" not in cloud.allocations()
    assert node.id not in operator.known_hosts.read_text()


def test_the_time_is_up(operator: Operator, cloud: Cloud, machines: Machines) -> None:
    port = free_port()
    (node,) = machines(extra={"address": "127.0.0.1", "ssh_port": port})
    argv = ("nodes", "--flavor", node.resource_class, "--image", "atomic", "--name", "late")
    error = (
        f"late: not ready within 6 seconds; phase booting, node {node.name}; "
        f"last seen: ssh at 127.0.0.1 port {port}: connection refused"
    )

    kept = operator.run(*argv, "--wait", "6", "--keep-on-failure")
    assert kept.returncode == 1
    assert kept.stderr.splitlines()[-1] == f"provision: {error}"
    assert cloud.node(node.name).provision_state == "active"

    given_back = operator.run("-q", *argv, "--wait", "3")
    assert given_back.stderr.startswith("provision: late: not ready within 3 seconds; ")
    assert given_back.stderr.count("\n") == 1
    # it was there before, so it is not this run's to give back
    assert cloud.node(node.name).provision_state == "active"
    assert operator.run("release", "late").returncode == 0


def test_an_unreadable_or_wrong_order_changes_nothing(operator: Operator, cloud: Cloud) -> None:
    before = cloud.allocations()
    argv = ("nodes", "--flavor", "none-of-these", "--image")
    for more, error in (
        (
            ("atomic",),
            "no free node of class 'none-of-these': 1 wanted, 0 free; there: none (see provision "
            "list; add nodes: provision enroll; free one: provision release)",
        ),
        (
            ("bare",),
            "image 'bare' has no kernel_id: it cannot be network-booted (make one that can: "
            "imgprep atomic-to-pxe FILE --register)",
        ),
        (
            ("nothing",),
            "there is no image 'nothing' in Glance (register it: imgprep register DIR; what is "
            "there: openstack image list)",
        ),
        (
            ("atomic", "--ssh-key", operator.key),
            f"{operator.key} is a private key (give the public one: {operator.key}.pub)",
        ),
    ):
        done = operator.run(*argv, *more)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", f"provision: {error}\n")
    assert cloud.allocations() == before


@pytest.mark.parametrize("command", [("list",), ("nodes", "--flavor", "x", "--image", "atomic")])
def test_a_service_that_is_down(operator: Operator, cloud: Cloud, command: tuple[str, ...]) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    for change, service in (
        ({"baremetal_endpoint_override": nobody}, "Ironic"),
        ({"image_endpoint_override": nobody}, "Glance"),
    ):
        if service == "Glance" and command == ("list",):
            continue  # it lists nodes that run nothing without asking Glance
        operator.clouds(test=cloud.entry(**change))
        done = operator.run(*command)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"provision: {service} cannot be reached: ")
        assert done.stderr.count("\n") == 1


def test_wrong_credentials(operator: Operator, cloud: Cloud) -> None:
    operator.clouds(test=cloud.entry(password="wrong"))
    for command, service in (
        (("list",), "Ironic"),
        (("nodes", "--flavor", "x", "--image", "atomic"), "Glance"),
        (("release", "x"), "Ironic"),
    ):
        done = operator.run(*command)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"provision: {service} refused the credentials: ")
        assert done.stderr.count("\n") == 1
