"""Make small Debian root file systems with mmdebstrap, from where this machine's apt gets its own.

What comes out names none of this machine's: its sources, package lists and caches are empty.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from atomic_baremetal import command
from atomic_baremetal.errors import Error
from provision.lab import apt_sources, dib

RELEASE = "bookworm"
SUITES = (RELEASE, f"{RELEASE}-updates", f"{RELEASE}-security")
LIMIT_S = 900.0
# Documentation, other languages and what editors and menus want: a container reads none of it.
LEFT_OUT = (
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/lintian/*",
    "/usr/share/bug/*",
)
TOOLS = {"mmdebstrap": "mmdebstrap", "chroot": "coreutils"}


def bootstrap(
    target: Path, packages: Sequence[str], *, what: str, variant: str = "minbase"
) -> None:
    """Make a root file system in the directory; it must not be there, or be empty.

    :param packages: what it holds beside what the variant has; nothing that is only recommended.
    :param what: what is to be built, for the error.
    :param variant: mmdebstrap's word for the least that is installed.
    :raises Error: not root, mmdebstrap missing, or it failed; with its last words.
    """
    dib.check_machine(what, TOOLS)
    command.run(
        *("mmdebstrap", f"--variant={variant}", "--mode=root", "--format=directory"),
        "--skip=check/empty",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT),
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        # what is built is kept whole or not at all: no file needs to be on disk before the next
        "--dpkgopt=force-unsafe-io",
        f"--include={','.join(packages)}",
        RELEASE,
        target,
        *machine_sources(),
        timeout_s=LIMIT_S,
        env={"TMPDIR": os.environ.get("TMPDIR", "/tmp"), "LC_ALL": "C.UTF-8"},  # noqa: S108
        hint="docs/debugging.rst says how to run a logged command by hand",
    )
    _forget_this_machine(target)


def machine_sources() -> list[str]:
    """Return lines of sources.list(5): where this machine's apt gets packages of the release.

    :raises Error: from nowhere on the web.
    """
    machine = apt_sources.read()
    found = [
        f"deb {archive} {suite} main"
        for suite in SUITES
        if (archive := apt_sources.archive_of(machine, suite)) is not None
    ]
    if not found:
        raise Error(
            f"this machine's apt has no archive of {RELEASE} on the web",
            hint="see /etc/apt/sources.list.d",
        )
    return found


def run_inside(root: Path, *argv: str, timeout_s: float = 60) -> str:
    """Run a program of a root file system in it, and return what it printed."""
    return command.run("chroot", root, *argv, timeout_s=timeout_s).stdout


def write_inside(root: Path, name: str, text: str, *, mode: int = 0o644) -> None:
    """Write a file of a root file system; an absolute name, as seen from inside.

    :raises Error: a name that leads outside.
    """
    path = root / name.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.parent.resolve().is_relative_to(root.resolve()):
        raise Error(f"{name} leads out of {root}")
    path.write_text(text)
    path.chmod(mode)


def _forget_this_machine(root: Path) -> None:
    """Take out what mmdebstrap copied from here, and what must not be the same on two machines."""
    write_inside(root, "/etc/apt/sources.list", "")
    write_inside(root, "/etc/hostname", "localhost\n")
    for name in ("etc/resolv.conf", "var/log/apt/term.log", "var/log/apt/history.log"):
        (root / name).unlink(missing_ok=True)
    for name in ("var/log/dpkg.log", "var/log/alternatives.log", "var/log/bootstrap.log"):
        (root / name).unlink(missing_ok=True)
    if (root / "etc/machine-id").exists():
        write_inside(root, "/etc/machine-id", "")
