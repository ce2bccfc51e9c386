"""Reading inventories."""

from pathlib import Path
from typing import Any

import pytest

from provision.inventory import InventoryError, Machine, machines, read

ROOT = Path(__file__).parents[3]
HERE = Path("/nowhere")


def test_everything_that_can_be_said(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hush hush\n")
    (tmp_path / "inventory.yaml").write_text("""\
nodes:
  - name: rack1-07
    driver: redfish-netboot
    resource_class: small
    driver_info: {redfish_address: "https://192.0.2.7", redfish_password: {file: secret}}
    interfaces: {boot: ipxe-netboot, deploy: iscsi}
    properties: {cpu_arch: x86_64}
    macs: ["52:54:00:AB:CD:EF"]
    address: 192.0.2.107
    ssh_port: 2022
    labels: {zone: a}
    automated_clean: false
    description: beside the door
""")
    (machine,) = read(tmp_path / "inventory.yaml")
    assert machine == Machine(
        name="rack1-07",
        driver="redfish-netboot",
        resource_class="small",
        driver_info={"redfish_address": "https://192.0.2.7", "redfish_password": "hush hush"},
        secrets=("redfish_password",),
        interfaces={"boot": "ipxe-netboot", "deploy": "iscsi"},
        properties={"cpu_arch": "x86_64"},
        macs=("52:54:00:ab:cd:ef",),
        extra={"address": "192.0.2.107", "ssh_port": 2022, "labels": {"zone": "a"}},
        automated_clean=False,
        description="beside the door",
    )
    assert "hush" not in repr(machine)


def test_the_example_is_valid() -> None:
    text = (ROOT / "examples" / "inventory.yaml").read_text()
    assert "file: " in text
    import yaml

    content = yaml.safe_load(text)
    for node in content["nodes"]:
        for key, value in node["driver_info"].items():
            if isinstance(value, dict):
                node["driver_info"][key] = "read from a file"
    assert len(machines(content, where="example", directory=HERE)) == 2


def node(**changes: Any) -> dict[str, Any]:
    return {"nodes": [{"name": "a", "driver": "ssh", **changes}]}


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ([], "i: not an inventory (it is a mapping with a list 'nodes')"),
        ({"nodes": []}, "i: 'nodes' is not a list of machines"),
        ({"node": []}, "i: unknown key 'node' (did you mean 'nodes'?)"),
        ({"nodes": ["a"]}, "i: node 1: not a mapping"),
        ({"nodes": [{"driver": "ssh"}]}, "i: node 1: 'name' is missing"),
        ({"nodes": [{"name": "a"}]}, "i: node 1 (a): 'driver' is missing"),
        (node(mac=[]), "i: node 1 (a): unknown key 'mac' (did you mean 'macs'?)"),
        (
            node(xyz=1),
            "i: node 1 (a): unknown key 'xyz' (known are: name, driver, resource_class, "
            "driver_info, interfaces, properties, macs, address, ssh_port, labels, "
            "automated_clean, description)",
        ),
        (
            node(interfaces={"boost": "x"}),
            "i: node 1 (a): interfaces: unknown key 'boost' (did you mean 'boot'?)",
        ),
        (
            node(macs=[905]),
            "i: node 1 (a): '905' is not a MAC address (it looks like '52:54:00:12:34:56', in "
            "quotes)",
        ),
        (node(macs="x"), "i: node 1 (a): 'macs' is not a list"),
        (node(driver_info=3), "i: node 1 (a): 'driver_info' is not a mapping"),
        (
            node(driver_info={"password": {"path": "x"}}),
            "i: node 1 (a): driver_info password: unknown key 'path' (known are: file)",
        ),
        (
            node(driver_info={"password": {"file": "x"}}),
            "i: node 1 (a): driver_info password: cannot read /nowhere/x: No such file or "
            "directory",
        ),
        (
            node(labels={"rack": 7}),
            "i: node 1 (a): labels: 'rack': 7 is not text (put it in quotes)",
        ),
        (node(ssh_port="22"), "i: node 1 (a): 'ssh_port' is not a number: '22'"),
        (node(ssh_port=True), "i: node 1 (a): 'ssh_port' is not a number: True"),
        (node(address=7), "i: node 1 (a): 'address' is not text (put it in quotes): 7"),
        (
            node(automated_clean="no"),
            "i: node 1 (a): 'automated_clean' is not true or false: 'no'",
        ),
        (
            {"nodes": [{"name": "a", "driver": "b"}, {"name": "a", "driver": "b"}]},
            "i: two nodes are called a",
        ),
    ],
)
def test_what_is_refused(content: Any, error: str) -> None:
    with pytest.raises(InventoryError) as raised:
        machines(content, where="i", directory=HERE)
    assert str(raised.value) == error


def test_files_that_are_no_inventory(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with pytest.raises(InventoryError) as raised:
        read(path)
    assert str(raised.value) == f"cannot read the inventory {path}: No such file or directory"
    path.write_text("a: [")
    with pytest.raises(InventoryError, match="x is not YAML: while parsing"):
        read(path)
