"""Put a name to what ostree has deployed: from boot entry to the directory that becomes the root.

Glossary: a *stateroot* is a family of deployments that share /var. A *deployment* is a checked-out
tree, /ostree/deploy/STATEROOT/deploy/CHECKSUM.SERIAL; CHECKSUM names the ostree commit, SERIAL
tells apart deployments of the same commit. The kernel argument
`ostree=/ostree/boot.V/STATEROOT/BOOTCSUM/N` names a symbolic link to it; BOOTCSUM is a checksum
over kernel and ramdisk, V is 0 or 1 and flips when the boot entries are rewritten.

Source: ostree, docs/deployment.md and src/libostree/ostree-sysroot.c.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from imgprep.bls import Entry
from imgprep.precheck import ImageError

STATEROOT = r"(?P<stateroot>[^/\s]+)"
LINK = re.compile(
    r"(?P<version>/ostree/boot\.[01](?:\.[01])?)"
    rf"/{STATEROOT}/(?P<bootcsum>[0-9a-f]{{64}})/[0-9]+"
)
TREE = re.compile(
    rf"/ostree/deploy/{STATEROOT}/deploy/(?P<checksum>[0-9a-f]{{64}})\.(?P<serial>[0-9]{{1,9}})"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A deployment that can be booted.

    :param index: place in boot order, 0 is the default.
    :param path: its directory on the root file system.
    :param kernel: as seen with /boot mounted; so are the ramdisks, in the order in which they are
        joined.
    :param arguments: the boot entry's kernel arguments, without boot loader variables.
    :param variables: the boot loader variables that were left out.
    :param notes: what else of the boot entry could not be kept, or was found elsewhere, in words.
    """

    index: int
    stateroot: str
    checksum: str
    serial: int
    bootcsum: str
    kernel_version: str
    path: str
    kernel: str
    ramdisks: tuple[str, ...]
    arguments: tuple[str, ...]
    variables: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def kernel_cmdline(self) -> str:
        """Return the kernel arguments as one line."""
        return " ".join(self.arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """What the directory of a deployment is named for."""

    stateroot: str
    checksum: str
    serial: int


def bootcsum_of(entry: Entry) -> str:
    """Return the boot checksum in an entry's ostree= argument.

    :raises ImageError: there is no such argument, or it is not of ostree's form.
    """
    return _link(entry)["bootcsum"]


def version_link_of(entry: Entry) -> str:
    """Return the first part of an entry's ostree= link, /ostree/boot.V: it flips between two trees.

    :raises ImageError: there is no such argument, or it is not of ostree's form.
    """
    return _link(entry)["version"]


def check_version_link(entry: Entry, resolved: str) -> None:
    """Refuse a /ostree/boot.V that leads to something else than /ostree/boot.V.0 or boot.V.1.

    :param resolved: where it leads, with all symbolic links followed.
    """
    link = version_link_of(entry)
    if not re.fullmatch(re.escape(link) + r"(?:\.[01])?", resolved):
        raise ImageError(
            f"boot entry {entry.file_name}: {link} leads to {resolved}",
            hint=f"ostree makes it a link to {link}.0 or {link}.1",
        )


def _link(entry: Entry) -> re.Match[str]:
    match = LINK.fullmatch(entry.ostree or "")
    if not match:
        raise ImageError(
            f"boot entry {entry.file_name}: no ostree= argument of a deployment: {entry.ostree!r}"
        )
    return match


def tree_of(entry: Entry, resolved: str) -> Tree:
    """Read stateroot, checksum and serial off the directory that an entry's ostree= link leads to.

    :param resolved: the link's target, with all symbolic links followed.
    :raises ImageError: it leads to something else than a deployment of the same stateroot.
    """
    link = LINK.fullmatch(entry.ostree or "")
    tree = TREE.fullmatch(resolved)
    if not link or not tree or tree["stateroot"] != link["stateroot"]:
        raise ImageError(
            f"boot entry {entry.file_name}: {entry.ostree} leads to {resolved}",
            hint="that is not a deployment of its stateroot",
        )
    return Tree(stateroot=tree["stateroot"], checksum=tree["checksum"], serial=int(tree["serial"]))


def places_in_boot(path: str) -> tuple[str, ...]:
    """List where a file that a boot entry names may be, as seen with /boot mounted, likeliest
    first.

    A boot loader's paths begin at the file system it reads: the boot partition's top, or the root
    with /boot in it.

    :raises ImageError: it holds a control character.
    """
    if not path.isprintable():
        raise ImageError(f"a boot entry names {path!r}", hint="that is no path of a boot file")
    rooted = "/" + path.lstrip("/")
    within = f"/boot{rooted}"
    return (rooted, within) if rooted.startswith("/boot/") else (within,)


def kernel_version_of(kernel: str, *, bootcsum: str) -> str | None:
    """Read the version off a kernel's file name, None when the name holds none.

    ostree of 2014 put the boot checksum behind the version.
    """
    name = kernel.rpartition("/")[2]
    version = name.removeprefix("vmlinuz-").removesuffix(f"-{bootcsum}")
    return version if version and version != name.removesuffix(f"-{bootcsum}") else None


def subvolume_of(arguments: Sequence[str]) -> str | None:
    """Return the subvolume that the last rootflags= argument mounts as root, None without one."""
    flags = [word.partition("=")[2] for word in arguments if word.startswith("rootflags=")]
    options = flags[-1].strip('"').split(",") if flags else []
    named = [option.partition("=")[2] for option in options if option.startswith("subvol=")]
    return named[-1].strip("/") or None if named else None


def pick(deployments: Sequence[Deployment], index: int) -> Deployment:
    """Return the deployment with that index.

    :raises ImageError: there is none.
    """
    if not 0 <= index < len(deployments):
        there = "0" if len(deployments) == 1 else f"0 to {len(deployments) - 1}"
        raise ImageError(f"no deployment {index} in this image", hint=f"there are: {there}")
    return deployments[index]
