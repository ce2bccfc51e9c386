"""Say what this machine lacks for a lab, and which Debian package has it."""

import os
import shutil
from pathlib import Path

from provision.lab import services
from provision.lab.configuration import OVMF_CODE, OVMF_VARS
from provision.lab.model import LabError

# programs and files, and their Debian packages (bindep.txt)
PROGRAMS = {
    "ip": "iproute2",
    "dnsmasq": "dnsmasq-base",
    "docker-registry": "docker-registry",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "mount": "mount",
    "ssh-keygen": "openssh-client",
    "/usr/sbin/sshd": "openssh-server",
    "/usr/sbin/libvirtd": "libvirt-daemon",
    "virsh": "libvirt-clients",
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
}
FILES = {
    OVMF_CODE: "ovmf",
    OVMF_VARS: "ovmf",
    Path("/usr/lib/ipxe/undionly.kpxe"): "ipxe",
    Path("/usr/lib/ipxe/snponly.efi"): "ipxe",
    Path("/usr/lib/ipxe/qemu/pxe-virtio.rom"): "ipxe-qemu",
}
LIBVIRT_QEMU = "libvirt-daemon-driver-qemu"
LIBVIRT_QEMU_DRIVER = (Path("/usr/lib"), "*/libvirt/connection-driver/libvirt_driver_qemu.so")
OWN = ("ironic", "ironic-dbsync", "glance-manage", "gunicorn", "sushy-emulator")


def check() -> None:
    """Refuse to begin what cannot end well.

    :raises LabError: not root, or something is not installed; names all of it.
    """
    check_root()
    path = os.pathsep.join((os.environ.get("PATH", ""), *services.SBIN))
    packages = {package for name, package in PROGRAMS.items() if not shutil.which(name, path=path)}
    packages |= {package for file, package in FILES.items() if not file.exists()}
    directory, pattern = LIBVIRT_QEMU_DRIVER
    if not any(directory.glob(pattern)):
        packages.add(LIBVIRT_QEMU)
    if packages:
        raise LabError(
            f"the lab needs system packages that are not installed: {' '.join(sorted(packages))}",
            hint=f"apt-get install {' '.join(sorted(packages))}",
        )
    absent = [name for name in OWN if not services.program(name).exists()]
    if absent:
        raise LabError(
            f"the lab needs programs that are not in this Python environment: {' '.join(absent)}",
            hint="pip install 'atomic-baremetal[lab]'",
        )


def check_root() -> None:
    """Refuse to go on without root.

    :raises LabError: this user is not root.
    """
    if os.geteuid() != 0:
        raise LabError("the lab needs root: it makes a network namespace and mounts")
