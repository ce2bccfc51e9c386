"""Read boot entries as the Boot Loader Specification (BLS) defines them and ostree writes them.

Glossary: a *boot entry* is a file /boot/loader/entries/NAME.conf of lines `key value`. ostree names
them `ostree-N.conf` or `ostree-N-STATEROOT.conf` (2014: `ostree-STATEROOT-I.conf` with N as
`version` inside); the entry with the highest N is the default. Boot counting adds `+TRIES` to a
name, and what has none left is tried last.

Source: uapi-group.org/specifications/specs/boot_loader_specification; ostree,
src/libostree/ostree-sysroot-deploy.c.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from atomic_baremetal import kernel_arguments

NUMBER = re.compile(r"ostree-([0-9]{1,9})(?:-.*)?(?:\+[0-9]+(?:-[0-9]+)?)?\.conf")
NO_TRIES_LEFT = re.compile(r"\+0+(?:-[0-9]+)?\.conf$")
VARIABLE = re.compile(r"\$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A boot entry.

    :param number: the higher, the earlier in boot order; None when neither name nor version say
        one.
    :param linux: the kernel, None when the entry has none.
    :param initrds: in the order in which the boot loader joins them.
    :param arguments: kernel arguments without boot loader variables.
    :param variables: the arguments and ramdisks left out, because only the boot loader knows what
        they stand for.
    :param failed: boot counting has used up its tries.
    :param unified: the unified kernel image (UKI) that it boots, None when it is not of that kind.
    :param devicetree: the device tree that the boot loader would hand to the kernel.
    """

    file_name: str
    number: int | None
    title: str
    linux: str | None
    initrds: tuple[str, ...]
    arguments: tuple[str, ...]
    variables: tuple[str, ...]
    failed: bool = False
    unified: str | None = None
    devicetree: str | None = None

    @property
    def ostree(self) -> str | None:
        """Return the value of the last `ostree=` argument, None without one."""
        values = [word.partition("=")[2] for word in self.arguments if word.startswith("ostree=")]
        return values[-1] if values else None


def parse(file_name: str, text: str) -> Entry:
    """Read one boot entry.

    Keys may repeat: options and initrd lines add up, of all others the last one counts. Tabs
    separate as blanks do.

    :raises kernel_arguments.KernelArgumentError: options with a control character or an unclosed
        quote.
    """
    values: dict[str, list[str]] = {}
    for line in text.split("\n"):
        key, _, value = line.strip().replace("\t", " ").partition(" ")
        if key and not key.startswith("#"):
            values.setdefault(key, []).append(value.strip())
    last = {key: said[-1] for key, said in values.items()}
    words = kernel_arguments.split(" ".join(values.get("options", [])))
    initrds = [path for value in values.get("initrd", []) for path in value.split()]
    return Entry(
        file_name=file_name,
        number=_number(file_name, last.get("version", "")),
        title=last.get("title", ""),
        linux=last.get("linux"),
        initrds=tuple(path for path in initrds if not VARIABLE.search(path)),
        arguments=tuple(word for word in words if not VARIABLE.search(word)),
        variables=tuple(word for word in (*words, *initrds) if VARIABLE.search(word)),
        failed=bool(NO_TRIES_LEFT.search(file_name)),
        unified=last.get("uki", last.get("efi")),
        devicetree=last.get("devicetree"),
    )


def boot_order(entries: Iterable[Entry]) -> list[Entry]:
    """Sort entries as the boot loader lists them, the default first.

    Those without number come late, those that boot counting has given up last.
    """
    return sorted(
        entries,
        key=lambda entry: (
            not entry.failed,
            -1 if entry.number is None else entry.number,
            entry.file_name,
        ),
        reverse=True,
    )


def _number(file_name: str, version: str) -> int | None:
    match = NUMBER.fullmatch(file_name)
    if match:
        return int(match[1])
    return int(version) if re.fullmatch("[0-9]{1,9}", version) else None
