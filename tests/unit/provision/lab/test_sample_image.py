"""The sample image: its layout, what it is made from, and the tree that is made of a root."""

import os
import subprocess
from collections import namedtuple
from pathlib import Path

import pytest

from atomic_baremetal.errors import Error
from provision.lab import artefacts, dib, sample_image
from provision.lab.sample_image import LAYOUT, Layout

ROOT = Path(__file__).parents[4]
ELEMENT = ROOT / "elements" / "atomic-host"
GIB = 1 << 30
Usage = namedtuple("Usage", "total used free")


def test_the_partitions_fill_the_disk_without_overlap() -> None:
    boot_first, boot_last = LAYOUT.boot_sectors
    root_first, root_last = LAYOUT.root_sectors
    assert boot_first == 2048  # 1 MiB
    assert root_first == boot_last + 1
    assert (root_last + 1) * LAYOUT.sector_bytes == LAYOUT.disk_bytes


def test_the_root_partition_is_whole_gib_so_that_no_node_is_asked_for_more() -> None:
    first, last = LAYOUT.root_sectors
    assert (last + 1 - first) * LAYOUT.sector_bytes == 6 * GIB


def test_the_disk_gets_the_shape_of_2014() -> None:
    layout = Layout(boot_mib=2, root_mib=64)
    script = sample_image.guestfish_script(Path("/d"), Path("/b.tar"), Path("/r.tar"), layout)
    assert script.splitlines() == [
        "set-smp 2",
        "set-memsize 1536",
        "add-drive /d format:raw cachemode:unsafe discard:besteffort",
        "run",
        "part-init /dev/sda mbr",
        "part-add /dev/sda primary 2048 6143",
        "part-add /dev/sda primary 6144 137215",
        "part-set-bootable /dev/sda 1 true",
        "part-set-mbr-id /dev/sda 2 0x8e",
        "mkfs ext4 /dev/sda1",
        f"set-uuid /dev/sda1 {sample_image.BOOT_UUID}",
        "pvcreate /dev/sda2",
        "vgcreate atomicos /dev/sda2",
        "lvcreate-free root atomicos 100",
        "mkfs xfs /dev/atomicos/root",
        f"xfs-admin /dev/atomicos/root uuid:{sample_image.ROOT_UUID}",
        "mount /dev/atomicos/root /",
        "mkdir /boot",
        "mount /dev/sda1 /boot",
        "tar-in /r.tar / xattrs:true acls:true",
        "tar-in /b.tar /boot xattrs:true acls:true",
        "fstrim /",
        "fstrim /boot",
        "umount-all",
        "shutdown",
    ]


def test_the_key_follows_the_archives_state_and_nothing_else_of_the_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = tmp_path / "ostree"
    fake.write_text("#!/bin/sh\necho 2022.7\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    keys = []
    for state, home in ((b"one", "/a"), (b"two", "/a"), (b"one", "/b")):
        monkeypatch.setattr(sample_image.apt_sources, "state_of", lambda _, s=state: [s])
        monkeypatch.setenv("HOME", home)
        keys.append(artefacts.key_of(sample_image.inputs()))
    assert keys[0] == keys[2] != keys[1]


def test_too_little_space_is_said_before_the_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(dib, "check_machine", lambda *_: None)
    monkeypatch.setattr(sample_image.shutil, "disk_usage", lambda _: Usage(0, 0, GIB * 3 // 2))
    with pytest.raises(Error) as caught:
        sample_image.build(tmp_path)
    assert str(caught.value) == (
        f"building the sample image needs 8 GiB, and {tmp_path} has 1.5 GiB free"
        " (set XDG_CACHE_HOME to a directory on a larger file system)"
    )
    assert list(tmp_path.iterdir()) == []


def test_who_is_not_root_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(dib.os, "geteuid", lambda: 1000)
    with pytest.raises(Error) as caught:
        sample_image.build(tmp_path)
    assert str(caught.value) == (
        "building the sample image needs root: it works in a chroot"
        " (run this as root; what root built, everybody can use)"
    )


def test_a_failed_step_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(work: Path) -> None:
        (work / "half").mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(sample_image, "check_machine", lambda _: None)
    monkeypatch.setattr(sample_image, "tree", fail)
    with pytest.raises(KeyboardInterrupt):
        sample_image.build(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_day_of_the_build_is_the_elements() -> None:
    text = (ELEMENT / "environment.d" / "05-atomic-host.bash").read_text()
    assert f"SOURCE_DATE_EPOCH:-{sample_image.SOURCE_DATE_EPOCH}}}" in text


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root file system in small, with what builds leave behind, after `ostree/tree`."""
    root = tmp_path / "root"
    for name in (
        *("dev", "etc/apt/sources.list.d", "etc/dib-manifests", "etc/ssh", "home", "lost+found"),
        *("mnt", "opt", "root", "srv", "tmp", "usr/lib/systemd", "usr/local/bin", "usr/lib/locale"),
        *("usr/share/doc/bash", "usr/share/man/man1", "usr/lib/tmpfiles.d", "run/lock", "media"),
        *("var/cache/apt", "var/lib/dpkg", "var/lib/keeps/this", "var/lib/ucf", "var/log", "boot"),
    ):
        (root / name).mkdir(parents=True)
    for name, text in {
        "etc/apt/sources.list.d/default.list": "deb http://mirror.test bookworm main",
        "etc/fstab": "LABEL=cloudimg-rootfs / ext4 defaults 0 1",
        "etc/hostname": "builder",
        "etc/machine-id": "0123456789abcdef0123456789abcdef",
        "etc/passwd-": "root:x:0:0::/root:/bin/sh",
        "etc/shadow": "root:*:20777:0:99999:7:::\nsshd:!:20777::::::\n",
        "etc/ssh/ssh_host_rsa_key": "secret",
        "etc/ssh/sshd_config": "UsePAM yes",
        "root/.profile": "umask 022",
        "usr/local/bin/dib-init-system": "echo systemd",
        "usr/share/doc/bash/README": "long",
        "usr/share/doc/bash/copyright": "GPL",
        "var/cache/apt/pkgcache.bin": "x",
        "var/lib/dpkg/lock": "",
        "var/lib/dpkg/status": "Package: bash",
        "var/lib/dpkg/status-old": "Package: bash",
        "var/lib/ucf/registry": "x",
        "var/log/dpkg.log": "today",
    }.items():
        (root / name).write_text(text)
    (root / "var/lib/keeps/link").symlink_to("this")
    (root / "usr/lib/systemd/systemd").touch(mode=0o755)
    subprocess.run(
        [ELEMENT / "ostree" / "tree", root],
        check=True,
        env={"PATH": os.defpath, "SOURCE_DATE_EPOCH": "86400000"},
    )
    return root


def test_the_tree_has_ostrees_shape(root: Path) -> None:
    links = {path.name: str(path.readlink()) for path in root.iterdir() if path.is_symlink()}
    assert links == {
        "home": "var/home",
        "media": "run/media",
        "mnt": "var/mnt",
        "opt": "var/opt",
        "ostree": "sysroot/ostree",
        "root": "var/roothome",
        "srv": "var/srv",
        "tmp": "sysroot/tmp",
    }
    directories = {path.name for path in root.iterdir() if not path.is_symlink()}
    # /proc and /sys: diskimage-builder's tar has neither, the initramfs mounts both
    assert directories == {"boot", "dev", "proc", "run", "sys", "sysroot", "usr", "var"}
    assert not any((root / "var").iterdir())
    assert (root / "usr/local").readlink() == Path("../var/usrlocal")


def test_var_is_a_recipe(root: Path) -> None:
    """What packages put into /var comes back at the first boot; what the build left does not."""
    owner = f"{(root / 'usr').owner()} {(root / 'usr').group()}"
    lines = (root / "usr/lib/tmpfiles.d/atomic-host-var.conf").read_text().splitlines()
    assert lines[0].startswith("#")
    assert lines[1:] == [
        f"d /var/home 755 {owner} -",
        "L /var/lib/dpkg - - - - ../../usr/lib/sysimage/dpkg",
        f"d /var/lib/keeps 755 {owner} -",
        "L /var/lib/keeps/link - - - - this",
        f"d /var/lib/keeps/this 755 {owner} -",
        f"d /var/mnt 755 {owner} -",
        f"d /var/opt 755 {owner} -",
        f"d /var/roothome 755 {owner} -",
        f"C /var/roothome/.profile 644 {owner} -",
        f"d /var/srv 755 {owner} -",
        f"d /var/usrlocal 755 {owner} -",
        *(
            f"d /var/usrlocal/{name} 755 {owner} -"
            for name in ("bin", "etc", "lib", "sbin", "share")
        ),
    ]
    assert (root / "usr/share/factory/var/roothome/.profile").read_text() == "umask 022"


def test_nothing_of_one_machine_or_one_day_is_in_the_tree(root: Path) -> None:
    etc = root / "usr/etc"
    assert {str(path.relative_to(etc)) for path in etc.rglob("*") if not path.is_dir()} == {
        *("hostname", "hosts", "machine-id", "resolv.conf", "shadow"),
        "ssh/sshd_config",
    }
    assert (etc / "machine-id").read_text() == ""
    assert (etc / "hostname").read_text() == "localhost\n"
    assert (etc / "shadow").read_text() == "root:*:1000:0:99999:7:::\nsshd:!:1000::::::\n"
    assert [path.name for path in (root / "usr/lib/sysimage/dpkg").iterdir()] == ["status"]
    assert [path.name for path in (root / "usr/share/doc").rglob("*")] == ["bash", "copyright"]


def test_a_directory_without_a_system_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        [ELEMENT / "ostree" / "tree", tmp_path],
        capture_output=True,
        text=True,
        env={"PATH": os.defpath, "SOURCE_DATE_EPOCH": "0"},
    )
    assert done.returncode == 1
    assert done.stderr == f"{tmp_path} holds no root file system with systemd\n"


@pytest.fixture
def two_builds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Builds that only commit what `commits` holds for them; `listing-<commit>` is its content."""
    programs = tmp_path / "bin"
    programs.mkdir()
    ostree = programs / "ostree"
    ostree.write_text(f'#!/bin/sh\nfor last; do :; done\ncat {tmp_path}/listing-"$last"\n')
    ostree.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sample_image, "check_machine", lambda _: None)
    monkeypatch.setattr(sample_image, "tree", lambda _: None)
    commits = iter(("one", "two"))
    monkeypatch.setattr(sample_image, "deploy", lambda _: next(commits))
    return tmp_path


def test_two_different_builds_are_told_apart_by_file(two_builds: Path) -> None:
    same = "-00644 0 0 5 aaa /usr/bin/same\nl00777 0 0 0 bbb /usr/bin/link -> same\n"
    (two_builds / "listing-one").write_text(f"d00755 0 0 0 d1 d2 /usr\n{same}-00644 0 0 1 c /a\n")
    (two_builds / "listing-two").write_text(
        f"d00755 0 0 0 d3 d4 /usr\n{same.replace('-> same', '-> other')}-00644 0 0 1 d /a\n"
    )
    with pytest.raises(Error) as caught:
        sample_image.check_reproducible()
    assert str(caught.value) == (
        "two builds gave two ostree commits; 2 files differ: /a, /usr/bin/link"
    )
    assert list((two_builds / "cache" / "atomic-baremetal").iterdir()) == []


def test_two_equal_builds_are_one_commit(two_builds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (two_builds / "listing-one").write_text("d00755 0 0 0 d1 d2 /usr\n")
    monkeypatch.setattr(sample_image, "deploy", lambda _: "one")
    assert sample_image.check_reproducible() == "one"
