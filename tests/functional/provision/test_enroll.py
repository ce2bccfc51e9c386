"""Enrolling from an inventory, against a real Ironic."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.ports import free_port
from tests.functional.provision.conftest import Cloud, Operator

INVENTORY = """\
nodes:
  - name: enrolled-1
    driver: fake-hardware
    resource_class: enrolled
    macs: ["52:54:00:0E:00:01"]
    address: 192.0.2.11
    driver_info:
      plain: {plain}
      fake_password: {{file: secret}}
    properties: {{cpu_arch: x86_64}}
  - name: enrolled-2
    driver: fake-hardware
    resource_class: enrolled
"""


@pytest.fixture(autouse=True)
def clean(cloud: Cloud) -> Iterator[None]:
    yield
    for node in cloud.connection.baremetal.nodes(resource_class="enrolled"):
        cloud.connection.baremetal.set_node_maintenance(node)
        cloud.connection.baremetal.delete_node(node)


def test_twice_is_once_and_changes_are_taken_over(
    operator: Operator, cloud: Cloud, tmp_path: Path
) -> None:
    inventory = tmp_path / "inventory.yaml"
    inventory.write_text(INVENTORY.format(plain="one"))
    (tmp_path / "secret").write_text("hush hush\n")

    first = operator.run("--debug", "enroll", inventory, "-f", "json")
    assert first.returncode == 0, first.stderr
    assert [
        (one["name"], one["did"], one["provision_state"], one["error"])
        for one in json.loads(first.stdout)
    ] == [
        ("enrolled-1", "created", "available", None),
        ("enrolled-2", "created", "available", None),
    ]
    assert "hush hush" not in first.stderr
    node = cloud.node("enrolled-1")
    assert node.extra == {"address": "192.0.2.11"}
    assert node.properties == {"cpu_arch": "x86_64"}
    assert node.driver_info["plain"] == "one"
    (port,) = cloud.connection.baremetal.ports(node=node.id)
    assert port.address == "52:54:00:0e:00:01"

    second = operator.json("enroll", inventory)
    assert [one["did"] for one in second] == ["unchanged", "unchanged"]

    inventory.write_text(INVENTORY.format(plain="two"))
    third = operator.json("enroll", inventory)
    assert [one["did"] for one in third] == ["updated", "unchanged"]
    assert cloud.node("enrolled-1").driver_info["plain"] == "two"
    assert third[0]["uuid"] == node.id


def test_a_hypervisor_out_of_reach_leaves_no_node(
    operator: Operator, cloud: Cloud, tmp_path: Path
) -> None:
    (tmp_path / "known_hosts").write_text("")
    info = {
        "ssh_address": "127.0.0.1",
        "ssh_port": free_port(),
        "ssh_username": "root",
        "ssh_password": "hush hush",
        "ssh_known_hosts_file": str(tmp_path / "known_hosts"),
        "ssh_domain": "node-1",
    }
    (tmp_path / "inventory.yaml").write_text(
        "nodes:\n"
        "  - name: good\n    driver: fake-hardware\n    resource_class: enrolled\n"
        "  - name: out-of-reach\n    driver: ssh\n    resource_class: enrolled\n"
        f"    driver_info: {json.dumps(info)}\n"
        "    interfaces: {boot: ipxe-netboot, deploy: iscsi}\n"
    )
    done = operator.run("enroll", tmp_path / "inventory.yaml", "-f", "json")
    assert done.returncode == 1
    assert [(one["name"], one["did"]) for one in json.loads(done.stdout)] == [
        ("good", "created"),
        ("out-of-reach", "removed"),
    ]
    *_, removed, error, last = done.stderr.splitlines()
    assert removed == "out-of-reach: removed again"
    assert error.startswith(
        "out-of-reach: Ironic cannot manage it; Ironic: Failed to get power state"
    )
    assert last == "provision: 1 of 2 failed"
    assert "out-of-reach" not in cloud.node_names()


def test_what_is_wrong_is_said_in_one_line(
    operator: Operator, cloud: Cloud, tmp_path: Path
) -> None:
    inventory = tmp_path / "inventory.yaml"
    inventory.write_text("nodes:\n  - name: a\n    driver: fake-hardware\n    ressource_class: b\n")
    done = operator.run("enroll", inventory)
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "",
        f"provision: {inventory}: node 1 (a): unknown key 'ressource_class' "
        "(did you mean 'resource_class'?)\n",
    )

    inventory.write_text("nodes:\n  - name: a\n    driver: no-such-driver\n")
    done = operator.run("enroll", inventory)
    assert done.returncode == 1
    assert done.stderr.startswith("provision: a: Ironic refused: ")
    assert "no-such-driver" in done.stderr
    assert done.stderr.count("\n") == 1
    assert "a" not in cloud.node_names()

    operator.clouds(test=cloud.entry(baremetal_endpoint_override="http://127.0.0.1:1"))
    done = operator.run("enroll", inventory)
    assert done.returncode == 1
    assert done.stderr.startswith("provision: Ironic cannot be reached: ")
