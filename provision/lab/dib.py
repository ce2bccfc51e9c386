"""Run diskimage-builder: nothing of the host reaches the build, nothing of the build stays.

It runs in namespaces of its own: its mounts vanish and its processes die with it, and it dies with
this process. Removing its working directory can then never remove something that was mounted there.
Its environment is made here and holds nothing of the caller's, whose Python, pip and TLS settings
would be wrong in the chroot.
"""

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from atomic_baremetal import command
from atomic_baremetal.errors import CommandError, Error
from provision.lab import apt_sources

LIMIT_S = 1800.0
LAST_LINES = 8
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run(
    program: str, *arguments: str | Path, environment: Mapping[str, str], work: Path, log: Path
) -> None:
    """Run a program of diskimage-builder's to its end.

    :param program: one that is installed beside this Python.
    :param environment: all that it sees; start from :func:`environment_for`.
    :param work: its working directory; what it mounts lies below.
    :param log: where the caller has told it to write its log, for the error.
    :raises Error: with the last lines of the log.
    """
    argv = [
        *("setpriv", "--pdeathsig", "KILL"),
        *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
        *("env", "-i", *(f"{name}={value}" for name, value in environment.items())),
        Path(sys.executable).with_name(program),
        *arguments,
    ]
    try:
        command.run(*argv, timeout_s=LIMIT_S, cwd=work)
    except CommandError as error:
        raise Error(
            f"diskimage-builder failed: {error.message}\n{_last_lines(log)}",
            hint=f"the whole log: {log}",
        ) from error
    finally:
        detach_loop_devices(work)


def environment_for(work: Path, *, release: str, elements: Path) -> dict[str, str]:
    """Make the environment of a build of a Debian release.

    Packages come from where this machine's apt gets those of that release; else from Debian's own
    servers, which diskimage-builder knows.
    """
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{SYSTEM_PATH}",
        "HOME": str(work),
        "USER": "root",
        "LANG": "C.UTF-8",
        "ELEMENTS_PATH": str(elements),
        "DIB_RELEASE": release,
        "DIB_LOCKFILES": str(work / "locks"),
        # on disk: the file of a loop device on the build's own tmpfs has no path that
        # detach_loop_devices could tell, and the build is no faster for it
        "DIB_NO_TMPFS": "1",
    }
    machine = apt_sources.read()
    for variable, suite in (
        ("DIB_DISTRIBUTION_MIRROR", release),
        ("DIB_DEBIAN_SECURITY_MIRROR", f"{release}-security"),
    ):
        if archive := apt_sources.archive_of(machine, suite):
            environment[variable] = archive
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        if value := os.environ.get(name) or os.environ.get(name.upper()):
            environment[name] = value
    return environment


def check_machine(what: str, tools: Mapping[str, str]) -> None:
    """Say before a build begins what it would fail for minutes later.

    :param what: what is to be built, for the error.
    :param tools: the programs it needs, and the Debian package of each.
    :raises Error: not root, or programs missing.
    """
    if os.geteuid() != 0:
        raise Error(
            f"building {what} needs root: it works in a chroot",
            hint="run this as root; what root built, everybody can use",
        )
    missing = {package for program, package in tools.items() if not shutil.which(program)}
    if missing:
        raise Error(
            f"building {what} needs programs that are not installed",
            hint=f"apt-get install {' '.join(sorted(missing))}",
        )


def detach_loop_devices(work: Path) -> None:
    """Detach loop devices of files below work: they outlive the namespaces of a killed build."""
    listing = command.run("losetup", "--json", "--list", "--output", "NAME,BACK-FILE", timeout_s=60)
    if not listing.stdout.strip():  # there is none at all
        return
    for device in json.loads(listing.stdout)["loopdevices"]:
        if str(device["back-file"]).startswith(f"{work}/"):
            command.run("losetup", "--detach", device["name"], timeout_s=60)


def _last_lines(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return "it wrote no log"
    return "\n".join(f"  {line}" for line in lines[-LAST_LINES:])
