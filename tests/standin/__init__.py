"""Stand in for nodes: machines with a real systemd, sshd and podman that boot in seconds.

They are containers of systemd-nspawn, so they have this machine's kernel; each has a network of its
own, on a wire that leads to this machine and nowhere else::

    with standin.hosts(2) as hosts, standin.registry(hosts) as registry:
        registry.push(standin.tiny(directory), "tiny:1")
        hosts[0].run("podman", "pull", "registry.lab:5000/tiny:1")

What differs from a real host: podman runs runc, and without a limit of processes, as crun wants a
right that a machine inside a machine may lack; so memory limits may be refused too. Nothing is left
when the block ends, nor when this process is killed, but for files below the cache.
"""

import os
import shutil

import pytest

from tests.standin.images import BROKEN, EXITS, ROOT, tiny
from tests.standin.machines import Host, Hosts, hosts
from tests.standin.registry import Registry, registry

__all__ = [
    "BROKEN",
    "EXITS",
    "ROOT",
    "Host",
    "Hosts",
    "Registry",
    "hosts",
    "need",
    "registry",
    "tiny",
]
PROGRAMS = ("systemd-nspawn", "mmdebstrap", "docker-registry", "skopeo", "ip", "nsenter", "ssh")


def need() -> None:
    """Skip the test on a machine that cannot have stand-ins; in CI, fail it."""
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    problem = "stand-in hosts need root" if os.geteuid() != 0 else None
    if missing:
        problem = f"stand-in hosts need {' '.join(missing)} (bindep.txt)"
    if problem:
        (pytest.fail if "CI" in os.environ else pytest.skip)(problem)
