"""Edits of a libvirt domain's XML."""

import xml.etree.ElementTree as ET

import pytest
from ironic.common import exception

from provision.driver import domain

INTERFACE = "<interface type='bridge'><mac address='{}'/>{}</interface>"
DISK = "<disk type='file' device='{}'><target dev='{}'/>{}</disk>"


def make(boot: str = "", devices: str = "", *, os: str = "", metadata: str = "") -> str:
    devices = devices or (
        DISK.format("disk", "vda", "") + DISK.format("cdrom", "sda", "") + INTERFACE.format("a", "")
    )
    return (
        f"<domain type='qemu'><name>n</name>{metadata}<os><type>hvm</type>{os}{boot}</os>"
        f"<devices>{devices}</devices></domain>"
    )


def boots(xml: str) -> list[str]:
    return [boot.get("dev", "") for boot in ET.fromstring(xml).findall("os/boot")]  # noqa: S314


def orders(xml: str) -> dict[str, str]:
    """MAC or disk name -> boot order."""
    found = {}
    for device in ET.fromstring(xml).findall("devices/*"):  # noqa: S314
        boot, name = device.find("boot"), device.find("mac")
        target = device.find("target")
        label = name.get("address") if name is not None else target.get("dev")  # type: ignore[union-attr]
        if boot is not None:
            found[str(label)] = str(boot.get("order"))
    return found


@pytest.mark.parametrize(
    ("before", "device", "after"),
    [
        ("<boot dev='hd'/>", "pxe", ["network"]),
        ("<boot dev='network'/><boot dev='hd'/>", "disk", ["hd"]),
        ("", "cdrom", ["cdrom"]),
    ],
)
def test_domain_wide_order(before: str, device: str, after: list[str]) -> None:
    edited = domain.set_boot_device(make(before), device, persistent=True)
    assert boots(edited) == after
    assert domain.get_boot_device(edited) == (device, True)
    assert domain.after_start(edited) is None


def ordered() -> str:
    return make(
        devices=DISK.format("disk", "vda", "<boot order='1'/>")
        + INTERFACE.format("second", "<boot order='3'/>")
        + INTERFACE.format("first", "<boot order='2' loadparm='x'/>")
        + INTERFACE.format("never", "")
    )


def test_order_in_the_devices_is_kept_to() -> None:
    xml = ordered()
    assert domain.get_boot_device(xml) == ("disk", True)
    edited = domain.set_boot_device(xml, "pxe", persistent=True)
    # libvirt refuses both ways at a time
    assert boots(edited) == []
    assert orders(edited) == {"first": "1", "second": "2", "vda": "3"}
    assert "loadparm" in edited
    assert domain.get_boot_device(edited) == ("pxe", True)
    back = domain.set_boot_device(edited, "disk", persistent=True)
    assert orders(back) == {"vda": "1", "first": "2", "second": "3"}


def test_order_in_the_devices_when_none_of_the_kind_had_one() -> None:
    xml = make(devices=DISK.format("disk", "vda", "<boot order='1'/>") + INTERFACE.format("a", ""))
    edited = domain.set_boot_device(xml, "pxe", persistent=True)
    assert orders(edited) == {"a": "1", "vda": "2"}


@pytest.mark.parametrize("xml", [make("<boot dev='hd'/>"), ordered()])
def test_once(xml: str) -> None:
    once = domain.set_boot_device(xml, "pxe", persistent=False)
    assert domain.get_boot_device(once) == ("pxe", False)
    again = domain.set_boot_device(once, "pxe", persistent=False)
    assert domain.get_boot_device(again) == ("pxe", False)
    back = domain.after_start(again)
    assert back is not None
    assert domain.get_boot_device(back) == ("disk", True)
    assert domain.after_start(back) is None


def test_a_lasting_choice_ends_a_one_time_one() -> None:
    once = domain.set_boot_device(make("<boot dev='hd'/>"), "pxe", persistent=False)
    lasting = domain.set_boot_device(once, "pxe", persistent=True)
    assert domain.get_boot_device(lasting) == ("pxe", True)
    assert domain.after_start(lasting) is None


def test_once_what_is_lasting_anyway() -> None:
    xml = domain.set_boot_device(make("<boot dev='network'/>"), "pxe", persistent=False)
    assert domain.get_boot_device(xml) == ("pxe", True)


def test_others_metadata_and_namespaces_stay() -> None:
    metadata = "<metadata><o:i xmlns:o='http://openstack'>nova</o:i></metadata>"
    xml = make("<boot dev='hd'/>", metadata=metadata).replace(
        "</domain>",
        "<q:commandline xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'>"
        "<q:arg value='-foo'/></q:commandline></domain>",
    )
    once = domain.set_boot_device(xml, "pxe", persistent=False)
    back = ET.fromstring(domain.after_start(once) or "")  # noqa: S314
    assert back.findtext("metadata/{http://openstack}i") == "nova"
    space = "{http://libvirt.org/schemas/domain/qemu/1.0}"
    argument = back.find(f"{space}commandline/{space}arg")
    assert argument is not None
    assert argument.get("value") == "-foo"


@pytest.mark.parametrize(
    ("os", "mode"),
    [
        ("", "bios"),
        ("<loader type='rom'>/usr/share/seabios/bios.bin</loader>", "bios"),
        ("<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>", "uefi"),
        ("<loader>/usr/share/ovmf/OVMF.fd</loader>", "uefi"),
    ],
)
def test_boot_mode(os: str, mode: str) -> None:
    assert domain.boot_mode(make(os=os)) == mode


def test_boot_mode_that_libvirt_chose_the_firmware_for() -> None:
    assert domain.boot_mode("<domain><os firmware='efi'><type>hvm</type></os></domain>") == "uefi"


def test_no_boot_device_at_all() -> None:
    assert domain.get_boot_device(make()) == (None, True)


def test_refused() -> None:
    with pytest.raises(exception.InvalidParameterValue) as refused:
        domain.set_boot_device(make(), "bios", persistent=True)
    assert str(refused.value) == (
        "Boot device 'bios' is not supported; the ssh hardware type has: pxe, disk, cdrom"
    )
    with pytest.raises(exception.InvalidParameterValue) as refused:
        domain.set_boot_device(make(devices=DISK.format("disk", "vda", "")), "pxe", persistent=True)
    assert str(refused.value) == "Boot device 'pxe': the domain has no such device"
    with pytest.raises(exception.DriverOperationError, match="no valid domain XML"):
        domain.get_boot_device("error: what")
