"""Build the root file system that all stand-in hosts share, once."""

import logging
from pathlib import Path

from atomic_baremetal import command
from provision.lab import apt_sources, artefacts, debian

LOG = logging.getLogger(__name__)
USER = "ops"  # may become root by sudo, without a password
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "openssh-server", "sudo"),
    *("podman", "runc", "netavark", "aardvark-dns", "iptables", "ca-certificates"),
    *("iproute2", "procps"),
)
# runc, no limit of processes: see the package's text
CONTAINERS = """\
[containers]
pids_limit = 0
[engine]
runtime = "runc"
"""
SSHD = "UseDNS no\nPasswordAuthentication no\n"
# what a stand-in's boot would only wait for
MASKED = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "fstrim.timer"),
    *("e2scrub_all.timer", "e2scrub_reap.service", "podman.service", "podman.socket"),
    *("podman-auto-update.service", "podman-auto-update.timer", "console-getty.service"),
    *("systemd-timesyncd.service", "systemd-networkd.service", "getty.target"),
)


def root() -> Path:
    """Return the directory of the root file system; build it if need be (half a minute)."""
    return artefacts.cached("standin", inputs(), build) / "root"


def inputs() -> list[artefacts.Input]:
    """Return what it is made from."""
    version = command.run("mmdebstrap", "--version", timeout_s=60).stdout
    return [
        Path(__file__),
        Path(debian.__file__),
        version,
        *apt_sources.state_of(debian.SUITES),
    ]


def build(out: Path) -> None:
    """Build the root file system in the directory `root` of the given one."""
    tree = out / "root"
    debian.bootstrap(tree, PACKAGES, what="stand-in hosts")
    debian.run_inside(tree, "useradd", "--create-home", "--shell", "/bin/bash", USER)
    debian.write_inside(
        tree, f"/etc/sudoers.d/{USER}", f"{USER} ALL=(ALL) NOPASSWD: ALL\n", mode=0o440
    )
    debian.write_inside(tree, "/etc/containers/containers.conf", CONTAINERS)
    debian.write_inside(tree, "/etc/ssh/sshd_config.d/standin.conf", SSHD)
    for key in (tree / "etc" / "ssh").glob("ssh_host_*"):
        key.unlink()
    for unit in MASKED:
        link = tree / "etc" / "systemd" / "system" / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
