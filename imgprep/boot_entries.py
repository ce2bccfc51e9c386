"""Read what a boot loader would read: the boot entries in /boot of an image."""

from collections.abc import Callable, Sequence
from functools import partial

from atomic_baremetal.errors import Error
from imgprep import bls, grub_cfg, syslinux
from imgprep.appliance import Appliance
from imgprep.bls import Entry
from imgprep.layout import WHOLE_DISK, Menu
from imgprep.precheck import ImageError

ENTRY_LIMIT_BYTES = 64 << 10
MENU_LIMIT_BYTES = 256 << 10
ENTRIES_LIMIT = 100
PARSERS: dict[Menu, Callable[[str, str], list[Entry]]] = {
    Menu.LOADER_GRUB: grub_cfg.parse,
    Menu.GRUB2: grub_cfg.parse,
    Menu.GRUB: grub_cfg.parse,
    Menu.LOADER_SYSLINUX: syslinux.parse,
    Menu.SYSLINUX: syslinux.parse,
    Menu.EXTLINUX: syslinux.parse,
}


def find(appliance: Appliance, directory: str) -> tuple[Menu, ...]:
    """Tell which menus a directory holds, that of boot entries first."""
    found: tuple[Menu, ...] = ()
    if appliance.is_directory(f"{directory}/{Menu.ENTRIES}"):
        names = appliance.list_directory(f"{directory}/{Menu.ENTRIES}")
        if any(name.startswith("ostree-") and name.endswith(".conf") for name in names):
            return (Menu.ENTRIES,)
        found = (Menu.ENTRIES,) if names else ()
    return (*found, *(menu for menu in PARSERS if appliance.is_file(f"{directory}/{menu}")))


def read(appliance: Appliance, menus: Sequence[Menu]) -> list[Entry]:
    """Read the entries that boot an ostree deployment, in boot order, from the first menu that has
    any.

    :raises ImageError: there are none, or one of them cannot be read.
    """
    others: list[Entry] = []
    for menu in menus:
        entries = _entries(appliance) if menu is Menu.ENTRIES else _menu(appliance, menu)
        booting_ostree = [entry for entry in entries if entry.ostree is not None]
        if booting_ostree:
            return booting_ostree
        others += entries
    raise _without_ostree(others)


def _without_ostree(entries: Sequence[Entry]) -> ImageError:
    for entry in entries:
        if entry.unified is not None:
            return sealed(entry.unified)
        if any(word.startswith("composefs=") for word in entry.arguments):
            return ImageError(
                "this image boots with composefs alone (bootc), without an ostree deployment",
                hint=f"boot entry {entry.file_name} has no ostree= argument; {WHOLE_DISK}",
            )
    return ImageError("no boot entry in this image has an ostree= argument", hint=WHOLE_DISK)


def sealed(path: str) -> ImageError:
    """Word the refusal of a unified kernel image."""
    return ImageError(
        f"this image boots a unified kernel image (UKI): {path!r}",
        hint="kernel, ramdisk and arguments are sealed in it and cannot be taken apart; "
        + WHOLE_DISK,
    )


def _entries(appliance: Appliance) -> list[Entry]:
    directory = f"/boot/{Menu.ENTRIES}"
    names = [name for name in appliance.list_directory(directory) if name.endswith(".conf")]
    if len(names) > ENTRIES_LIMIT:
        raise ImageError(f"{len(names)} boot entries in this image", hint="that is no real image")
    entries: list[Entry] = []
    for name in names:
        content = appliance.read(f"{directory}/{name}", limit_bytes=ENTRY_LIMIT_BYTES)
        entries += _parsed(f"boot entry {name}", content, partial(_one, name))
    return bls.boot_order(entries)


def _one(name: str, text: str) -> list[Entry]:
    return [bls.parse(name, text)]


def _menu(appliance: Appliance, menu: Menu) -> list[Entry]:
    content = appliance.read(f"/boot/{menu}", limit_bytes=MENU_LIMIT_BYTES)
    entries = _parsed(f"/boot/{menu}", content, partial(PARSERS[menu], menu.value))
    if len(entries) > ENTRIES_LIMIT:
        raise ImageError(f"{len(entries)} boot entries in this image", hint="that is no real image")
    return entries


def _parsed(named: str, content: bytes, parse: Callable[[str], list[Entry]]) -> list[Entry]:
    try:
        return parse(content.decode())
    except UnicodeDecodeError as error:
        raise ImageError(f"{named} is not text") from error
    except Error as error:
        raise ImageError(f"{named}: {error.message}") from error
