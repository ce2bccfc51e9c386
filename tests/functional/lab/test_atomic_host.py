"""The sample image's deployment, by the real ostree: what a boot loader and imgprep will find."""

import os
import subprocess
from pathlib import Path

import pytest

ELEMENT = Path(__file__).parents[3] / "elements" / "atomic-host"
UUID = "6f3c2f6e-1b9e-4d5c-8b5e-20141203a700"
KERNEL_VERSION = "6.1.0-1-amd64"

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 and "CI" not in os.environ, reason="ostree keeps owners: root is needed"
)


def make_tree(tree: Path) -> None:
    """Make the smallest tree that ostree deploys: an os-release, a kernel, an initramfs."""
    modules = tree / "usr/lib/modules" / KERNEL_VERSION
    modules.mkdir(parents=True)
    (modules / "vmlinuz").write_text("kernel")
    (modules / "initramfs.img").write_text("initramfs")
    (tree / "usr/etc").mkdir()
    (tree / "usr/etc/debian_version").write_text("12.0\n")
    (tree / "usr/lib/os-release").write_text('NAME=Debian\nID=debian\nPRETTY_NAME="Debian 12"\n')
    for name in ("boot", "dev", "proc", "run", "sys", "sysroot", "var"):
        (tree / name).mkdir()
    (tree / "ostree").symlink_to("sysroot/ostree")


def deploy(directory: Path) -> tuple[str, Path]:
    """Return the commit's checksum and the physical root."""
    make_tree(directory / "tree")
    done = subprocess.run(
        [ELEMENT / "ostree/deploy", directory / "tree", directory / "sysroot", UUID],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "SOURCE_DATE_EPOCH": "1417564800"},
    )
    return done.stdout.strip(), directory / "sysroot"


def test_the_deployment_is_what_an_atomic_image_has(tmp_path: Path) -> None:
    commit, sysroot = deploy(tmp_path)
    boot = sysroot / "boot"
    assert (boot / "loader").readlink() == Path("loader.0")
    (entry,) = (boot / "loader/entries").iterdir()
    fields = dict(line.split(" ", 1) for line in entry.read_text().splitlines())
    (kernels,) = (boot / "ostree").iterdir()
    stateroot, bootcsum = kernels.name.rsplit("-", 1)
    assert stateroot == "debian-atomic"
    assert fields == {
        "title": "Debian 12 12.0 (ostree:0)",
        "version": "1",
        "options": (
            "root=/dev/mapper/atomicos-root"
            f" ostree=/ostree/boot.0/debian-atomic/{bootcsum}/0"
            " console=tty0 console=ttyS0,115200n8"
        ),
        "linux": f"/ostree/{kernels.name}/vmlinuz-{KERNEL_VERSION}",
        "initrd": f"/ostree/{kernels.name}/initramfs-{KERNEL_VERSION}.img",
    }
    assert (kernels / f"vmlinuz-{KERNEL_VERSION}").read_text() == "kernel"

    deployment = (sysroot / f"ostree/boot.0/debian-atomic/{bootcsum}/0").resolve()
    assert deployment == sysroot / f"ostree/deploy/debian-atomic/deploy/{commit}.0"
    assert (deployment / "etc/fstab").read_text() == (
        f"/dev/mapper/atomicos-root / xfs defaults 0 0\nUUID={UUID} /boot ext4 defaults 1 2\n"
    )
    var = sysroot / "ostree/deploy/debian-atomic/var"
    assert {"home", "mnt", "opt", "roothome", "srv", "usrlocal"} <= {
        path.name for path in var.iterdir()
    }


def test_the_commit_depends_on_the_tree_alone(tmp_path: Path) -> None:
    commits = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        commits.add(deploy(tmp_path / name)[0])
    assert len(commits) == 1
