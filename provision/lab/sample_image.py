"""Build the sample image: a Debian host as an ostree tree, in the shape of an image of 2014.

That image is Fedora-Cloud-Atomic-20141203. Three programs do the work, one after the other:
diskimage-builder makes the root file system (elements/atomic-host), ostree commits and deploys it
(the two scripts in elements/atomic-host/ostree), guestfish puts the result on a disk.
docs/sample-image.rst says what is in it and why.

*Tree*: a root file system as ostree wants it, /etc in /usr/etc and /var empty. *Physical root*: the
directory that holds ostree's repository, the deployment and its /var; the image's root file system.
*Layout*: where things lie on the disk.
"""

import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from atomic_baremetal import command, paths
from atomic_baremetal.errors import Error
from provision.lab import apt_sources, artefacts, dib
from provision.lab.ramdisk import elements_directory

LOG = logging.getLogger(__name__)

KIND = "sample-image"
IMAGE = "Debian-Atomic-12-x86_64.qcow2"
ELEMENT = "atomic-host"
RELEASE = "bookworm"
SUITES = (RELEASE, f"{RELEASE}-updates", f"{RELEASE}-security")
SOURCE_DATE_EPOCH = 1417564800  # 2014-12-03, the date of the image whose shape this is

BOOT_UUID = "6f3c2f6e-1b9e-4d5c-8b5e-20141203a700"
ROOT_UUID = "2c7f0a52-3f5c-4f57-9c6e-20141203a701"

STEP_LIMIT_S = 600.0
HINT = "docs/debugging.rst says how to run a logged command by hand"
FREE_BYTES = 8 << 30  # root tar, tree, two tars of the deployment, disk, image: never all at once
TOOLS = {
    # program: Debian package
    "debootstrap": "debootstrap",
    "guestfish": "libguestfs-tools",
    "losetup": "mount",
    "ostree": "ostree",
    "qemu-img": "qemu-utils",
    "rsync": "rsync",
    "setpriv": "util-linux",
    "sudo": "sudo",
    "unshare": "util-linux",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where the two partitions lie. The MBR and a gap for a boot loader take the first MiB."""

    boot_mib: int = 300
    # whole GiB: an image service rounds the root partition up to these
    root_mib: int = 6144
    sector_bytes: int = 512

    @property
    def boot_sectors(self) -> tuple[int, int]:
        """Return the first and the last sector of /boot's partition."""
        return self._sectors(1, self.boot_mib)

    @property
    def root_sectors(self) -> tuple[int, int]:
        """Return the first and the last sector of the LVM partition, which ends with the disk."""
        return self._sectors(1 + self.boot_mib, self.root_mib)

    @property
    def disk_bytes(self) -> int:
        return (1 + self.boot_mib + self.root_mib) << 20

    def _sectors(self, start_mib: int, size_mib: int) -> tuple[int, int]:
        first = (start_mib << 20) // self.sector_bytes
        return first, first + (size_mib << 20) // self.sector_bytes - 1


LAYOUT = Layout()


def sample_image() -> Path:
    """Return the image, a qcow2; build it when something it is made from changed.

    :raises Error: not root, tools or space missing, or a step failed; with its last words.
    """
    return artefacts.cached(KIND, inputs(), build) / IMAGE


def inputs() -> list[artefacts.Input]:
    """Return what the image is made from: code, element, builders, state of Debian's archive."""
    return [
        elements_directory() / ELEMENT,
        Path(__file__),
        Path(dib.__file__),
        f"diskimage-builder {version('diskimage-builder')}",
        command.run("ostree", "--version", timeout_s=60).stdout,
        *apt_sources.state_of(SUITES),
    ]


def build(out: Path) -> None:
    """Build the image into the directory: IMAGE, and `commit`, its ostree commit's checksum."""
    check_machine(out)
    with _working_directory(out) as work:
        tree(work)
        checksum = deploy(work)
        with _step("disk"):
            disk(work, LAYOUT)
        with _step("qcow2"):
            _run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", work / "disk.raw", out / IMAGE)
        (out / "commit").write_text(f"{checksum}\n")
    LOG.info("%s: ostree commit %s", KIND, checksum)


def check_reproducible() -> str:
    """Build the tree twice, each time from nothing, and return the commit that both have.

    :raises Error: the commits differ; the message names what differs.
    """
    commits: list[str] = []
    lists: list[set[str]] = []
    home = paths.cache()
    home.mkdir(parents=True, exist_ok=True)
    for _ in range(2):
        with TemporaryDirectory(dir=home, prefix=f"{KIND}-check-") as out:
            check_machine(Path(out))
            with _working_directory(Path(out)) as work:
                tree(work)
                commits.append(deploy(work))
                LOG.info("%s: ostree commit %s", KIND, commits[-1])
                repository = work / "sysroot" / "ostree" / "repo"
                listing = _run(
                    "ostree", "ls", f"--repo={repository}", "-R", "-C", "-X", commits[-1]
                )
                lists.append(set(listing.splitlines()))
    if commits[0] != commits[1]:
        # a file's line: mode, owner, size, checksums, name
        changed = (line for line in lists[0] ^ lists[1] if not line.startswith("d"))
        names = {line.partition(" -> ")[0].split()[-1] for line in changed}
        raise Error(
            f"two builds gave two ostree commits; {len(names)} files differ: "
            + ", ".join(sorted(names)[:20])
        )
    return commits[0]


def tree(work: Path) -> None:
    """Make the ostree tree in work/tree."""
    with _step("root file system (diskimage-builder)"):
        _root_file_system(work)
    with _step("tree"):
        target = work / "tree"
        target.mkdir()
        _run(
            *("tar", "--extract", "--file", work / "root.tar", "--directory", target),
            *("--numeric-owner", "--same-owner", "--preserve-permissions", "--xattrs"),
            "--xattrs-include=*",
        )
        (work / "root.tar").unlink()
        _run(_script("tree"), target)


def deploy(work: Path) -> str:
    """Commit work/tree and deploy it in work/sysroot; the tree is used up.

    :returns: the commit's checksum.
    """
    with _step("commit and deployment"):
        return _run(_script("deploy"), work / "tree", work / "sysroot", BOOT_UUID).strip()


def disk(work: Path, layout: Layout) -> None:
    """Put work/sysroot on work/disk.raw; the physical root is used up."""
    sysroot, raw = work / "sysroot", work / "disk.raw"
    pack = ("tar", "--create", "--numeric-owner", "--sort=name", "--acls", "--xattrs")
    keep_all = "--xattrs-include=*"
    _run(*pack, keep_all, "--file", work / "boot.tar", "--directory", sysroot / "boot", ".")
    _run(
        *(*pack, keep_all, "--exclude=./boot/*", "--file", work / "root.tar"),
        *("--directory", sysroot, "."),
    )
    shutil.rmtree(sysroot)
    with raw.open("wb") as file:
        file.truncate(layout.disk_bytes)
    script = guestfish_script(raw, work / "boot.tar", work / "root.tar", layout)
    command.run(
        "guestfish", stdin=script, timeout_s=STEP_LIMIT_S, env=_guestfs_environment(), hint=HINT
    )


def guestfish_script(raw: Path, boot_tar: Path, root_tar: Path, layout: Layout) -> str:
    """Write guestfish's commands: partitions, LVM, file systems, content."""
    boot_first, boot_last = layout.boot_sectors
    root_first, root_last = layout.root_sectors
    return f"""\
set-smp 2
set-memsize 1536
add-drive {raw} format:raw cachemode:unsafe discard:besteffort
run
part-init /dev/sda mbr
part-add /dev/sda primary {boot_first} {boot_last}
part-add /dev/sda primary {root_first} {root_last}
part-set-bootable /dev/sda 1 true
part-set-mbr-id /dev/sda 2 0x8e
mkfs ext4 /dev/sda1
set-uuid /dev/sda1 {BOOT_UUID}
pvcreate /dev/sda2
vgcreate atomicos /dev/sda2
lvcreate-free root atomicos 100
mkfs xfs /dev/atomicos/root
xfs-admin /dev/atomicos/root uuid:{ROOT_UUID}
mount /dev/atomicos/root /
mkdir /boot
mount /dev/sda1 /boot
tar-in {root_tar} / xattrs:true acls:true
tar-in {boot_tar} /boot xattrs:true acls:true
fstrim /
fstrim /boot
umount-all
shutdown
"""


def check_machine(out: Path) -> None:
    """Say before the work begins what it would fail for minutes later.

    :raises Error: not root, programs missing, or too little space where out lies.
    """
    dib.check_machine("the sample image", TOOLS)
    free = shutil.disk_usage(out).free
    if free < FREE_BYTES:
        raise Error(
            f"building the sample image needs {FREE_BYTES >> 30} GiB, "
            f"and {out} has {free / (1 << 30):.1f} GiB free",
            hint="set XDG_CACHE_HOME to a directory on a larger file system",
        )


def _root_file_system(work: Path) -> None:
    """Run diskimage-builder; work/root.tar is the result."""
    log = paths.cache() / KIND / "build.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    LOG.info("%s: diskimage-builder at work, about two minutes; log: %s", KIND, log)
    temporary = work / "tmp"
    temporary.mkdir()
    elements = elements_directory()
    environment = {
        **dib.environment_for(work, release=RELEASE, elements=elements),
        "TMP_DIR": str(temporary),
        "DIB_IMAGE_CACHE": str(temporary / "cache"),
        "DIB_APT_LOCAL_CACHE": "0",
        # named, it keeps diskimage-builder from taking mmdebstrap when that is installed
        "DIB_DEBIAN_DEBOOTSTRAP_SCRIPT": f"/usr/share/debootstrap/scripts/{RELEASE}",
        "SOURCE_DATE_EPOCH": str(SOURCE_DATE_EPOCH),
    }
    dib.run(
        "disk-image-create",
        # -n: without the base element, which adds an iSCSI initiator and more
        *("-n", "-t", "tar", "-o", work / "root", "--logfile", log, ELEMENT),
        environment=environment,
        work=work,
        log=log,
    )
    shutil.rmtree(temporary)


def _script(name: str) -> Path:
    return elements_directory() / ELEMENT / "ostree" / name


def _run(*argv: str | Path) -> str:
    """Run a step's program and return what it printed."""
    environment = {"SOURCE_DATE_EPOCH": str(SOURCE_DATE_EPOCH), "LC_ALL": "C.UTF-8"}
    return command.run(*argv, timeout_s=STEP_LIMIT_S, env=environment, hint=HINT).stdout


def _guestfs_environment() -> dict[str, str]:
    """Choose emulation, unless the user chose: a /dev/kvm that does not work is worse than none."""
    return {
        "LIBGUESTFS_BACKEND": os.environ.get("LIBGUESTFS_BACKEND", "direct"),
        "LIBGUESTFS_BACKEND_SETTINGS": os.environ.get("LIBGUESTFS_BACKEND_SETTINGS", "force_tcg"),
    }


@contextmanager
def _working_directory(out: Path) -> Iterator[Path]:
    work = out / "work"
    work.mkdir()
    try:
        yield work
    finally:
        shutil.rmtree(work)


@contextmanager
def _step(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    LOG.info("%s: %s: %.0f s", KIND, what, time.monotonic() - began)
