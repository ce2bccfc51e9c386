"""Read and edit a libvirt domain's XML: boot device and boot mode.

libvirt has two ways to order boot devices, which exclude each other: ``<os><boot dev=.../></os>``,
and ``<boot order=.../>`` in the devices. An edit keeps to the way that the domain uses.

libvirt has no boot device "for the next boot only". The domain's metadata then remembers what to go
back to, and the power interface does so once the domain has started: a running domain keeps the
order that it was started with.
"""

import xml.etree.ElementTree as ET
from collections.abc import Sequence

from ironic.common import boot_devices, boot_modes, exception

# Ironic's name, libvirt's name in <os>, and the path of such devices in the domain.
DEVICES = {
    boot_devices.PXE: ("network", "devices/interface"),
    boot_devices.DISK: ("hd", "devices/disk"),
    boot_devices.CDROM: ("cdrom", "devices/disk"),
}
NAMESPACE = "urn:atomic-baremetal:boot"
_ONCE = f"{{{NAMESPACE}}}once"

ET.register_namespace("boot", NAMESPACE)
ET.register_namespace("qemu", "http://libvirt.org/schemas/domain/qemu/1.0")


def set_boot_device(xml: str, device: str, *, persistent: bool) -> str:
    """Make a domain boot from a device.

    :param persistent: False: once. A second "once" still goes back to the lasting choice.
    :raises InvalidParameterValue: a device that the domain does not have, or that is no such name.
    """
    if device not in DEVICES:
        raise exception.InvalidParameterValue(
            f"Boot device {device!r} is not supported; the ssh hardware type has: "
            f"{', '.join(DEVICES)}"
        )
    root = _parse(xml)
    lasting = _once(root) or _current(root)
    _order(root, device)
    _remember(root, None if persistent or lasting == device else lasting)
    return _serialise(root)


def get_boot_device(xml: str) -> tuple[str | None, bool]:
    """Tell what a domain boots from next, and whether it stays so.

    :returns: one of Ironic's names, or None when the domain does not say.
    """
    root = _parse(xml)
    return _current(root), _once(root) is None


def after_start(xml: str) -> str | None:
    """Go back from a one-time boot device to the lasting one.

    :returns: None when there is nothing to go back to.
    """
    root = _parse(xml)
    lasting = _once(root)
    if lasting is None:
        return None
    _order(root, lasting)
    _remember(root, None)
    return _serialise(root)


def boot_mode(xml: str) -> str:
    """Tell a domain's firmware: boot_modes.UEFI or boot_modes.LEGACY_BIOS."""
    os_element = _parse(xml).find("os")
    if os_element is None:
        return str(boot_modes.LEGACY_BIOS)
    loader = os_element.find("loader")
    uefi = os_element.get("firmware") == "efi" or (
        loader is not None and (loader.get("type") == "pflash" or "OVMF" in (loader.text or ""))
    )
    return str(boot_modes.UEFI if uefi else boot_modes.LEGACY_BIOS)


def _parse(xml: str) -> ET.Element:
    """Parse what virsh dumpxml printed."""
    try:
        return ET.fromstring(xml)  # noqa: S314
    except ET.ParseError as error:
        raise exception.DriverOperationError(
            driver="ssh", reason=f"virsh printed no valid domain XML: {error}"
        ) from error


def _serialise(root: ET.Element) -> str:
    return ET.tostring(root, encoding="unicode")


def _devices(root: ET.Element, device: str) -> list[ET.Element]:
    """Find the domain's devices of a kind, in the domain's order."""
    found = root.findall(DEVICES[device][1])
    if device == boot_devices.PXE:
        return found
    wanted = "cdrom" if device == boot_devices.CDROM else "disk"
    return [element for element in found if element.get("device", "disk") == wanted]


def _ordered(root: ET.Element) -> list[ET.Element]:
    """Find the devices that carry <boot order>, first one first; of other kinds too (hostdev)."""
    having = [e for e in root.findall("devices/*") if e.find("boot") is not None]
    return sorted(having, key=_position)


def _position(element: ET.Element) -> int:
    boot = element.find("boot")
    return int(boot.get("order", "0")) if boot is not None else 0


def _current(root: ET.Element) -> str | None:
    """Tell what a domain boots from first."""
    ordered = _ordered(root)
    if ordered:
        return next((name for name in DEVICES if ordered[0] in _devices(root, name)), None)
    boot = root.find("os/boot")
    names = {libvirt: ironic for ironic, (libvirt, _) in DEVICES.items()}
    return names.get(boot.get("dev", "")) if boot is not None else None


def _order(root: ET.Element, device: str) -> None:
    """Put a kind of device first, in the way that the domain orders them."""
    wanted = _devices(root, device)
    if not wanted:
        raise exception.InvalidParameterValue(
            f"Boot device {device!r}: the domain has no such device"
        )
    ordered = _ordered(root)
    if ordered:
        first = [e for e in ordered if e in wanted] or wanted
        _number([*first, *(e for e in ordered if e not in first)])
        return
    os_element = root.find("os")
    if os_element is None:
        raise exception.DriverOperationError(driver="ssh", reason="the domain's XML has no <os>")
    for boot in os_element.findall("boot"):
        os_element.remove(boot)
    ET.SubElement(os_element, "boot", dev=DEVICES[device][0])


def _number(elements: Sequence[ET.Element]) -> None:
    """Number devices from 1; what else their <boot> says (loadparm) stays."""
    for position, element in enumerate(elements, start=1):
        boot = element.find("boot")
        if boot is None:
            boot = ET.SubElement(element, "boot")
        boot.set("order", str(position))


def _once(root: ET.Element) -> str | None:
    """Read the device to go back to after a one-time boot; None when there is none."""
    element = root.find(f"metadata/{_ONCE}")
    return element.get("then") if element is not None else None


def _remember(root: ET.Element, then: str | None) -> None:
    """Write the device to go back to, or remove the note."""
    metadata = root.find("metadata")
    if metadata is not None:
        for element in metadata.findall(_ONCE):
            metadata.remove(element)
    if then is None:
        return
    if metadata is None:
        metadata = ET.SubElement(root, "metadata")
    ET.SubElement(metadata, _ONCE, then=then)
