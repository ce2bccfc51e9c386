"""What driver_info must hold."""

from pathlib import Path
from typing import Any

import pytest
from ironic.common import exception

from provision.driver import connection, power
from tests.unit.provision.driver.support import UUID, Node, Task


@pytest.fixture
def info(tmp_path: Path) -> dict[str, Any]:
    for name in ("known_hosts", "key"):
        (tmp_path / name).write_text("")
    return {
        "ssh_address": "192.0.2.7",
        "ssh_username": "admin",
        "ssh_key_filename": str(tmp_path / "key"),
        "ssh_known_hosts_file": str(tmp_path / "known_hosts"),
        "ssh_domain": "node-1",
    }


def test_access(info: dict[str, Any]) -> None:
    found = connection.access(Node(driver_info=info))
    assert (found.port, found.libvirt_uri, found.password) == (22, "qemu:///system", None)
    assert found.host == "admin@192.0.2.7:22"


def test_the_password_is_not_in_its_text(info: dict[str, Any]) -> None:
    del info["ssh_key_filename"]
    info["ssh_password"] = "hunter2"
    found = connection.access(Node(driver_info=info))
    assert found.password == "hunter2"
    assert "hunter2" not in f"{found!r} {found}"


def test_everything_missing_is_named(conf: Any) -> None:
    with pytest.raises(exception.MissingParameterValue) as refused:
        power.SSHPower().validate(Task(Node()))
    assert str(refused.value) == (
        f"Node {UUID} lacks in its driver_info: ssh_address, ssh_username, ssh_known_hosts_file, "
        "ssh_domain, ssh_password or ssh_key_filename"
    )


@pytest.mark.parametrize(
    ("different", "message"),
    [
        ({"ssh_port": "a"}, "driver_info/ssh_port is not a port: 'a'"),
        ({"ssh_port": 70000}, "driver_info/ssh_port is not a port: 70000"),
        ({"ssh_domain": "--all"}, "driver_info/ssh_domain is not a domain's name: '--all'"),
        ({"ssh_domain": "a\nb"}, "driver_info/ssh_domain is not a domain's name: 'a\\nb'"),
        (
            {"ssh_known_hosts_file": "/nowhere"},
            "driver_info/ssh_known_hosts_file: no such file on the conductor: /nowhere",
        ),
        (
            {"ssh_password": "x"},
            "driver_info has both ssh_password and ssh_key_filename; give one",
        ),
    ],
)
def test_refused(info: dict[str, Any], different: dict[str, Any], message: str) -> None:
    with pytest.raises(exception.InvalidParameterValue) as refused:
        connection.access(Node(driver_info={**info, **different}))
    assert str(refused.value) == f"Node {UUID}: {message}"


def test_a_power_state_that_is_none(info: dict[str, Any], conf: Any) -> None:
    with pytest.raises(exception.InvalidParameterValue) as refused:
        power.SSHPower().set_power_state(Task(Node(driver_info=info)), "sideways")
    assert str(refused.value) == (
        "Power state 'sideways' is not one that the ssh power interface can set"
    )
