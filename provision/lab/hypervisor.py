"""Keep the lab's virtual machines: disks, libvirt domains, and their end.

virsh runs in the mount namespace of the lab's libvirtd, where the usual addresses are the lab's:
the path of its socket can then be as long as it likes, and no system libvirtd is ever reached by
mistake.
"""

import shutil
from pathlib import Path

from atomic_baremetal.command import run
from atomic_baremetal.durable import write
from provision.lab import acceleration, processes
from provision.lab.configuration import DISK_GIB, domain
from provision.lab.model import Lab, LabError

VIRSH_S = 60


def ensure_machines(lab: Lab, kernel: Path) -> list[str]:
    """Make the disks and domains that are missing; return the names of those made.

    A domain that is there stays as it is: a boot device that Ironic has set is part of it.

    :param kernel: any kernel, to find out whether KVM works.
    """
    there = domains(lab)
    made: list[str] = []
    if there.keys() >= {machine.name for machine in lab.machines}:
        return made
    kvm = acceleration.kvm_works(kernel)
    for machine in lab.machines:
        if not machine.disk.exists():
            run(
                "qemu-img",
                "create",
                "-q",
                "-f",
                "qcow2",
                machine.disk,
                f"{DISK_GIB}G",
                timeout_s=60,
            )
        if machine.name not in there:
            xml = lab.directory / "vms" / f"{machine.name}.xml"
            write(xml, domain(lab, machine, kvm=kvm))
            virsh(lab, "define", str(xml))
            made.append(machine.name)
    return made


def domains(lab: Lab) -> dict[str, bool]:
    """List the lab's domains, and whether each runs.

    :raises LabError: its libvirtd does not run.
    :raises CommandError: or does not answer.
    """
    every = virsh(lab, "list", "--all", "--name").split()
    active = virsh(lab, "list", "--name").split()
    return {name: name in active for name in every}


def remove_machines(lab: Lab) -> None:
    """Power all machines off the hard way and forget their domains."""
    for name, active in domains(lab).items():
        if active:
            virsh(lab, "destroy", name)
        virsh(lab, "undefine", name, "--nvram")


def strays(lab: Lab) -> list[processes.Process]:
    """Find virtual machines that run without a libvirtd: by the process files that it left."""
    found = []
    for file in (lab.hypervisor / "run" / "qemu").glob("*.pid"):
        process = processes.identify(int(file.read_text().strip() or 0))
        if process and _is_machine(process.pid, lab):
            found.append(process)
    return found


def virsh(lab: Lab, *words: str) -> str:
    """Run virsh on the lab's libvirtd and return what it prints."""
    pid = processes.running(lab, "libvirtd")
    # before it has become libvirtd it has the host's mounts, and so the host's libvirtd
    if pid is None or Path(f"/proc/{pid}/exe").readlink().name != "libvirtd":
        raise LabError(f"the libvirtd of lab {lab.name!r} does not run")
    enter = ("nsenter", "--target", str(pid), "--mount", "--net")
    return run(*enter, "virsh", "-c", "qemu:///system", *words, timeout_s=VIRSH_S).stdout


def copy_boot_loaders(lab: Lab) -> None:
    """Put iPXE where a machine's firmware looks for it: over TFTP."""
    for name in ("undionly.kpxe", "snponly.efi"):
        source, target = Path("/usr/lib/ipxe") / name, lab.tftp_root / name
        if not target.exists() or target.stat().st_size != source.stat().st_size:
            shutil.copyfile(source, target)


def _is_machine(pid: int, lab: Lab) -> bool:
    """Say whether a process is a machine of this lab: its arguments name the lab's directory."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    here = str(lab.directory).encode()
    return b"qemu" in words[0] and any(here in word for word in words)
