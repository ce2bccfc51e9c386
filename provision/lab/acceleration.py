"""Find out whether KVM works here: not whether /dev/kvm opens, but whether a guest gets anywhere.

There are machines where the device opens, makes a machine and a processor, and qemu reports KVM as
enabled, yet no kernel gets through its first lines. So a kernel is booted, with nothing to boot
into: its panic within the time is the proof. The verdict is kept, for this processor, host kernel,
qemu and guest kernel.
"""

import hashlib
import logging
import os
import platform
import tempfile
from pathlib import Path

from atomic_baremetal import paths
from atomic_baremetal.command import run
from atomic_baremetal.durable import write
from atomic_baremetal.errors import CommandError

LOG = logging.getLogger(__name__)
DEVICE = Path("/dev/kvm")
QEMU = "qemu-system-x86_64"
PROBE_S = 20
# what a kernel says at its end when it finds no root file system: it has run for real until there
PROOF = "Kernel panic - not syncing"


def kvm_works(kernel: Path) -> bool:
    """Say whether KVM runs a guest; boots the given kernel once, and remembers the answer.

    :param kernel: any bootable Linux kernel with a serial console.
    """
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        LOG.info("no KVM here (%s cannot be opened): the machines are emulated, and slow", DEVICE)
        return False
    verdict = paths.cache() / "kvm" / _key(kernel)
    if not verdict.exists():
        LOG.info("trying whether KVM works (up to %d s, once)", PROBE_S)
        write(verdict, "works\n" if boots(kernel, "kvm", limit_s=PROBE_S) else "fails\n")
    works = verdict.read_text() == "works\n"
    if works:
        LOG.info("KVM works: the machines use it")
    else:
        LOG.info("KVM runs no guest here: the machines are emulated, and slow (%s)", verdict)
    return works


def boots(kernel: Path, accelerator: str, *, limit_s: float) -> bool:
    """Boot a kernel without any disk and say whether it got as far as missing its root file system.

    :param accelerator: as qemu names it: kvm, tcg.
    """
    with tempfile.TemporaryDirectory(prefix="atomic-kvm-") as directory:
        console = Path(directory) / "console"
        words = (QEMU, "-accel", accelerator, "-m", "512", "-nodefaults", "-no-user-config")
        cpu = ("-cpu", "host") if accelerator == "kvm" else ()
        display = ("-display", "none", "-serial", f"file:{console}", "-no-reboot")
        arguments = "console=ttyS0 panic=-1"
        try:
            run(
                *words,
                *cpu,
                *display,
                *("-kernel", kernel, "-append", arguments),
                timeout_s=limit_s,
            )
        except CommandError as error:
            LOG.debug("the probe with %s: %s", accelerator, error)
        return console.exists() and PROOF in console.read_text(errors="replace")


def _key(kernel: Path) -> str:
    said = run(QEMU, "--version", timeout_s=20).stdout
    first = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    processor = [line for line in first if line.startswith(("model name", "microcode", "flags"))]
    facts = (platform.release(), platform.version(), said, *processor)
    digest = hashlib.sha256("\n".join(facts).encode())
    digest.update(kernel.read_bytes())
    return digest.hexdigest()[:32]
