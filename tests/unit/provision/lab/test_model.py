"""Names and addresses of a lab."""

import ipaddress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.lab.model import (
    FIRST_SUBNET,
    LAST_SUBNET,
    LONGEST_INTERFACE_NAME,
    MOST_NODES,
    BootMode,
    Lab,
    LabError,
    check_name,
    choose_subnet,
)

NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", fullmatch=True)


def make_lab(name: str = "default", nodes: int = 2, subnet: int = 99) -> Lab:
    return Lab(
        name=name,
        id="7d36f4ae-4a0c-4e43-9ed5-7f6a8f3d0a10",
        subnet=subnet,
        nodes=nodes,
        password="secret",
        redfish_password="secret-too",
        directory=Path("/state/labs") / name,
    )


def test_machines_alternate_between_the_two_ways() -> None:
    first, second, third = make_lab(nodes=3).machines
    assert (first.name, first.driver, first.boot_mode) == ("node-1", "ssh", BootMode.BIOS)
    assert (second.name, second.driver) == ("node-2", "redfish-netboot")
    assert second.boot_mode is BootMode.UEFI
    assert third.driver == "ssh"
    assert [one.address for one in (first, second, third)] == [
        "192.168.99.11",
        "192.168.99.12",
        "192.168.99.13",
    ]
    assert first.mac == "52:54:00:63:01:01"


def test_every_machine_differs_from_every_other_and_keeps_its_identity() -> None:
    machines = make_lab(nodes=MOST_NODES).machines
    for attribute in ("name", "uuid", "mac", "address", "disk", "nvram", "console"):
        assert len({getattr(machine, attribute) for machine in machines}) == MOST_NODES
    assert make_lab(nodes=2).machines == machines[:2]
    network = make_lab().network
    assert all(ipaddress.IPv4Address(machine.address) in network for machine in machines)


@given(NAMES)
def test_an_interface_name_fits_the_kernel(name: str) -> None:
    lab = make_lab(name)
    assert len(lab.host_interface) <= LONGEST_INTERFACE_NAME
    assert check_name(name) == name


def test_two_long_names_have_two_interfaces() -> None:
    assert make_lab("a-long-name-1").host_interface != make_lab("a-long-name-2").host_interface


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a.b", "../a", "a/b", "a" * 33, "a\n"])
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(LabError) as caught:
        check_name(name)
    assert str(caught.value) == (
        f"not a name for a lab: {name!r} "
        "(ATOMIC_LAB takes up to 32 of a-z, 0-9 and -, and no - first or last)"
    )


@pytest.mark.parametrize(
    ("taken", "chosen"),
    [
        ([], 99),
        (["0.0.0.0/0"], 99),
        (["192.168.99.0/24"], 100),
        (["192.168.99.5/32", "10.0.0.0/8"], 100),
        (["192.168.96.0/21"], 104),
        (["192.168.100.0/24"], 99),
    ],
)
def test_the_first_free_network_is_chosen(taken: list[str], chosen: int) -> None:
    assert choose_subnet(ipaddress.IPv4Network(one) for one in taken) == chosen


def test_no_free_network_is_an_error() -> None:
    with pytest.raises(LabError) as caught:
        choose_subnet([ipaddress.IPv4Network("192.168.0.0/16")])
    assert str(caught.value) == (
        f"no free network from 192.168.{FIRST_SUBNET}.0/24 to 192.168.{LAST_SUBNET}.0/24 "
        "(the host has routes to all of them (ip route show table all))"
    )
