"""The parsers that see an image's bytes, each as a function of bytes that must not fail.

What a parser refuses it refuses with our own Error; any other exception is a bug, and so is a
result that does not hold what the parser promises.
"""

import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from atomic_baremetal import kernel_arguments
from atomic_baremetal.errors import Error
from imgprep import (
    bls,
    bundle,
    deployment,
    fstab,
    grub_cfg,
    partition_table,
    precheck,
    sectors,
    syslinux,
)
from imgprep.bls import Entry
from imgprep.headers import probe, vhdx
from tests.fixtures import hostile
from tests.fixtures.image_headers import Image

# of the 64 KiB that it goes over byte by byte, most inputs change none
vhdx.crc32c = lru_cache(256)(vhdx.crc32c)  # type: ignore[assignment]
HEX = "ab" * 32
OSTREE = f"ostree=/ostree/boot.0/os/{HEX}/0"
TREE = f"/ostree/deploy/os/deploy/{HEX}.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A parser.

    :param run: raises nothing but AssertionError, and that is a bug.
    :param seeds: what a search for other inputs starts from.
    :param share: of all inputs, by weight.
    :param piece: the most inputs in one search: what takes longer for each has fewer.
    :param words: what the parser looks for.
    :param largest: one input of the largest size that the parser is ever given, made to be slow.
    """

    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    share: int
    piece: int = 70_000
    words: tuple[str, ...] = ()
    largest: tuple[bytes, ...] = ()


def _check_entry(entry: Entry) -> None:
    assert all(word.isprintable() for word in entry.arguments)
    assert kernel_arguments.split(" ".join(entry.arguments)) == list(entry.arguments)
    for look in (
        lambda: deployment.bootcsum_of(entry),
        lambda: deployment.check_version_link(entry, deployment.version_link_of(entry) + ".1"),
        lambda: deployment.tree_of(entry, TREE),
        lambda: deployment.places_in_boot(entry.linux or ""),
    ):
        _refusing(look)
    deployment.kernel_version_of(entry.linux or "", bootcsum=HEX)
    deployment.subvolume_of(entry.arguments)


def _refusing(function: Callable[[], object]) -> object:
    try:
        return function()
    except Error as error:
        assert len(str(error)) < 100_000
        return None


def _two_texts(data: bytes) -> tuple[str, str]:
    head, _, rest = data.decode(errors="surrogateescape").partition("\0")
    return head, rest


def run_bls(data: bytes) -> None:
    """Read a boot entry: its file's name, a NUL, its text."""
    name, text = _two_texts(data)

    def read() -> None:
        entry = bls.parse(name, text)
        assert not any("$" in word for word in entry.arguments)
        _check_entry(entry)
        assert len(bls.boot_order([entry, bls.parse(name[::-1], "")])) == 2

    _refusing(read)


def run_grub_cfg(data: bytes) -> None:
    """Read a grub.cfg."""

    def read() -> None:
        for entry in grub_cfg.parse("grub.cfg", data.decode(errors="replace")):
            _check_entry(entry)

    _refusing(read)


def run_syslinux(data: bytes) -> None:
    """Read a syslinux.cfg."""

    def read() -> None:
        for entry in syslinux.parse("syslinux.cfg", data.decode(errors="replace")):
            _check_entry(entry)

    _refusing(read)


def run_fstab(data: bytes) -> None:
    """Edit an fstab: what is left and what was removed are all there was, in order."""
    edited = fstab.without_boot(data, in_base=["UUID=1-1", "/dev/mapper/a-b"])
    kept, removed = iter(edited.content.split(b"\n")), iter(edited.removed)
    left = next(kept)
    for line in data.split(b"\n"):
        if line == left:
            left = next(kept, None)
        else:
            assert next(removed) == line.rstrip(b"\r\n")
    assert next(removed, None) is None
    assert left in (None, b"")  # a last line that was removed leaves the end of the one before it
    assert fstab.without_boot(edited.content, in_base=["UUID=1-1", "/dev/mapper/a-b"]) == (
        fstab.Edited(content=edited.content, removed=())
    )


def run_kernel_arguments(data: bytes) -> None:
    """Split and edit a kernel command line."""
    text = data.decode(errors="surrogateescape")

    def read() -> None:
        words = kernel_arguments.split(text)
        assert kernel_arguments.split(" ".join(words)) == words
        assert kernel_arguments.edit(words, append=["a=1"], delete=words[:1])[-1] == "a=1"

    _refusing(read)
    _refusing(lambda: kernel_arguments.edit([], append=[text], delete=[text]))


def run_ostree_link(data: bytes) -> None:
    """Judge an ostree= argument and where its links lead."""
    link, resolved = _two_texts(data)
    entry = Entry(
        file_name="e",
        number=1,
        title="",
        linux=link,
        initrds=(),
        arguments=(f"ostree={link}",),
        variables=(),
    )
    _refusing(lambda: deployment.bootcsum_of(entry))
    _refusing(lambda: deployment.check_version_link(entry, resolved))
    _refusing(lambda: deployment.places_in_boot(link))
    tree = _refusing(lambda: deployment.tree_of(entry, resolved))
    if isinstance(tree, deployment.Tree):
        assert "/" not in tree.stateroot and tree.stateroot not in (".", "..")
        assert resolved == f"/ostree/deploy/{tree.stateroot}/deploy/" + resolved.rpartition("/")[2]


def _file(content: bytes, size_bytes: int | None = None) -> int:
    descriptor = os.memfd_create("fuzz")
    os.write(descriptor, content)
    os.truncate(descriptor, len(content) if size_bytes is None else size_bytes)
    return descriptor


def _path(descriptor: int) -> Path:
    return Path(f"/proc/self/fd/{descriptor}")


def run_manifest(data: bytes) -> None:
    """Load a bundle's manifest."""
    descriptor = _file(data)
    try:
        found = _refusing(lambda: bundle.load(_path(descriptor)))
    finally:
        os.close(descriptor)
    if isinstance(found, bundle.Bundle):
        assert all("/" not in file.file for file in found.manifest.files)
        assert found.manifest.kernel_cmdline.isprintable()
        found.manifest.to_json()


def run_partition_table(data: bytes) -> None:
    """Read a partition table; the first byte says the sector size, eight more the disk's."""
    sector = 4096 if data[:1] == b"4" else 512
    disk = int.from_bytes(data[1:9].ljust(8, b"\0")) % (1 << 43)
    table = partition_table.parse(data[9:], sector_size_bytes=sector, disk_size_bytes=disk)
    if table is not None:
        end = 0
        for one in table.extents:
            assert end < one.start_bytes < one.start_bytes + one.size_bytes <= disk
            end = one.start_bytes + one.size_bytes - 1
    found = sectors.detect(lambda at, size: data[9 + at :][:size], disk_size_bytes=disk)
    assert found in sectors.SIZES_BYTES


def run_precheck(data: bytes) -> None:
    """Check an image file, written as `packed` writes it."""
    descriptor = unpacked(data)
    try:
        source = _refusing(lambda: precheck.check(_path(descriptor)))
        head = os.pread(descriptor, 1 << 20, 0)
    finally:
        os.close(descriptor)
    if isinstance(source, precheck.Source):
        assert 0 < source.virtual_size_bytes <= precheck.VIRTUAL_SIZE_LIMIT_BYTES
        if source.format == "qcow2":
            assert not any(head[8:16]) and not any(head[32:36])  # backing file, encryption
        elif source.format == "vmdk":
            assert b"parentfilenamehint" not in head[512:].partition(b"\0")[0].lower()
        assert set(probe.formats(head)) <= {str(source.format)} - {"raw"}


RECORD = struct.Struct(">QH")
FLAGS_AND_SIZE = struct.Struct(">BQ")
REPAIRED = 1
PART_BYTES = 4096
SIZE_LIMIT_BYTES = 1 << 45
VHD_CHECKSUMS = ((0, 512, 64), (512, 1024, 36))
VHDX_CHECKSUMS = ((64 << 10, 4 << 10), (128 << 10, 4 << 10), (192 << 10, 64 << 10))


def packed(image: Image, *, flags: int = 0) -> bytes:
    """Write an image in few bytes: flags, its size, then offset, length and content of each part.

    With the flag REPAIRED the checksums in it are put right, which chance would not do.
    """
    parts = []
    for offset, content in image.parts.items():
        for start in range(0, len(content), PART_BYTES):
            part = content[start : start + PART_BYTES].rstrip(b"\0")
            parts += [RECORD.pack(offset + start, len(part)) + part] if part else []
    return FLAGS_AND_SIZE.pack(flags, image.size_bytes) + b"".join(parts)


def unpacked(data: bytes) -> int:
    """Open a file in memory that holds what `packed` wrote, or whatever such bytes come to."""
    flags, size = FLAGS_AND_SIZE.unpack(data[: FLAGS_AND_SIZE.size].ljust(FLAGS_AND_SIZE.size))
    size %= SIZE_LIMIT_BYTES
    descriptor = _file(b"", size)
    position = FLAGS_AND_SIZE.size
    while position + RECORD.size <= len(data) and size:
        offset, length = RECORD.unpack_from(data, position)
        position += RECORD.size
        offset %= size
        os.pwrite(descriptor, data[position : position + length][: size - offset], offset)
        position += length
    if flags & REPAIRED:
        _repair(descriptor)
    return descriptor


def _repair(descriptor: int) -> None:
    start = os.pread(descriptor, 8, 0)
    if start == b"conectix":
        for at, length, checksum_at in VHD_CHECKSUMS:
            content = os.pread(descriptor, length, at)
            content = content[:checksum_at] + bytes(4) + content[checksum_at + 4 :]
            right = ~sum(content) & 0xFFFF_FFFF
            if len(content) == length:
                os.pwrite(descriptor, right.to_bytes(4), at + checksum_at)
    elif start == b"vhdxfile":
        for at, length in VHDX_CHECKSUMS:
            content = os.pread(descriptor, length, at)
            content = content[:4] + bytes(4) + content[8:]
            if len(content) == length:
                os.pwrite(descriptor, vhdx.crc32c(content).to_bytes(4, "little"), at + 4)


GRUB = f"""set timeout=1
if [ -s $prefix/grubenv ]; then load_env; fi
set default="0"
submenu 'more' {{
menuentry 'a "b"' --class x {{
  linux16 /ostree/vmlinuz-6.1 root=UUID=0-0 "{OSTREE}" $ignition_firstboot 'a b="c"' \\
    x
  initrd /a /b ; # end
}}
}}
"""
SYSLINUX = f"""DEFAULT b
LABEL a
  MENU DEFAULT
  KERNEL /vmlinuz-6.1
  APPEND initrd=/a,/b root=/dev/sda1 {OSTREE} "x y"
LABEL b
  LINUX /vmlinuz
  INITRD /c
"""
BLS = (
    f"ostree-2-os+3-1.conf\0title a\nversion 1\noptions a {OSTREE} $x rootflags=subvol=/a\n"
    "linux /vmlinuz-6\ninitrd /a /b\n"
)
FSTAB = (
    b"# x\nUUID=1-1 / xfs defaults 0 0\nUUID=2-2\t/boot ext4 defaults 0 0\r\n"
    b"/dev/sda1 /\\142oot/efi vfat bind\nLABEL=x //boot/. a\ntmpfs /tmp tmpfs"
)
MANIFEST = (
    b'{"schema": 1, "name": "x", "source": {"file": "x", "format": "raw", "virtual_size_bytes": 1},'
    b'"kernel": {"file": "k", "size_bytes": 1, "sha256": ""}, "ramdisk": {"file": "r",'
    b'"size_bytes": 1, "sha256": ""}, "base": {"file": "b", "size_bytes": 1, "sha256": "",'
    b'"format": "raw", "virtual_size_bytes": 1, "content": "filesystem"}, "kernel_cmdline": "a b",'
    b'"deployment": {"stateroot": "s", "checksum": "", "serial": 0, "bootcsum": "",'
    b'"kernel_version": "6"}}'
)
LINK = f"/ostree/boot.0/os/{HEX}/0\0{TREE}".encode()
TABLES = tuple(
    b"5" + (2 << 20).to_bytes(8) + image.parts[0] + image.parts.get(512, b"").ljust(4096, b"\0")
    for image in (hostile.GOOD["raw"][0], hostile.GOOD["raw-gpt"][0])
)
MENU_BYTES, FSTAB_BYTES, MANIFEST_BYTES = 256 << 10, 256 << 10, 1 << 20  # what is read at most


def run_control(data: bytes) -> None:
    """Fail on a word that chance alone does not find: shows that a search would find a fault."""
    text = data.decode(errors="replace")
    if text[:1] == "f" and text[1:2] == "u" and text[2:3] == "z" and text[3:4] == "z":
        raise KeyError(text)


# only for the test of the search itself
CONTROL = Target(run=run_control, seeds=(b"f",), share=0)
TARGETS: Mapping[str, Target] = {
    "precheck": Target(
        run=run_precheck,
        words=(
            "conectix",
            "vhdxfile",
            "cxsparse",
            "KDMV",
            "createType=",
            "parentFileNameHint=",
            "monolithicSparse",
            "streamOptimized",
            "SPARSE",
            "RW ",
            "\x01CD001",
            "koly",
            "regi",
            "metadata",
            "head",
            "QFIû",
            "QED\x00",
            "Uª",
        ),
        seeds=(
            *(packed(image, flags=REPAIRED) for image, _, _ in hostile.GOOD.values()),
            *(packed(one.image) for one in hostile.ALL if len(packed(one.image)) < 4096),
        ),
        share=5,
        piece=10_000,
    ),
    "bls": Target(
        run=run_bls,
        words=(
            "options ",
            "linux ",
            "initrd ",
            "version ",
            "title ",
            "$",
            "ostree=",
            "/ostree/boot.1/",
            ".conf",
            "+",
            "rootflags=subvol=",
            "devicetree ",
            "uki ",
        ),
        seeds=(BLS.encode(),),
        share=14,
        largest=(b"\0" + b"options a\n" * 6500, b"\0" + b"initrd /a\n" * 6500),
    ),
    "grub_cfg": Target(
        run=run_grub_cfg,
        words=(
            "menuentry ",
            "submenu ",
            "linux ",
            "linux16 ",
            "linuxefi ",
            "initrd ",
            "initrd16 ",
            "set default=",
            " {",
            "}\n",
            "$",
            "ostree=",
            "#",
            ";",
            "\\\n",
            "'",
            '"',
            ">",
        ),
        seeds=(GRUB.encode(),),
        share=11,
        largest=tuple(
            (unit * MENU_BYTES)[:MENU_BYTES]
            for unit in (
                b"menuentry x {\n",
                b"{ ",
                b"} ",
                b'"',
                b"\\",
                b"#\n",
                b"a ;",
                b"linux a\n",
            )
        ),
    ),
    "syslinux": Target(
        run=run_syslinux,
        words=(
            "label ",
            "LABEL ",
            "menu default",
            "menu label ",
            "default ",
            "kernel ",
            "linux ",
            "initrd ",
            "append ",
            "initrd=",
            "^",
            "ostree=",
        ),
        seeds=(SYSLINUX.encode(),),
        share=13,
        largest=tuple(
            (unit * MENU_BYTES)[:MENU_BYTES]
            for unit in (b"label a\nlinux b\n", b"append a ", b"\n")
        ),
    ),
    "fstab": Target(
        run=run_fstab,
        words=(
            "UUID=",
            "LABEL=",
            "/dev/",
            "/boot",
            "\\040",
            "bind",
            "PARTUUID=",
            "#",
            "/./boot",
            "//",
        ),
        seeds=(FSTAB,),
        share=14,
        largest=tuple(
            (unit * FSTAB_BYTES)[:FSTAB_BYTES]
            for unit in (b"\n", b"/dev/a /boot\n", b"\\040", b" ")
        ),
    ),
    "kernel_arguments": Target(
        run=run_kernel_arguments,
        words=("root=", "ostree=", '"', "=", "\x1b"),
        seeds=(f'root=/dev/sda1 {OSTREE} dyndbg="file a +p" x'.encode(),),
        share=14,
        largest=(b"a " * 32768, b'"' * 65536),
    ),
    "ostree_link": Target(
        run=run_ostree_link,
        words=("/ostree/", "boot.0", "boot.1", "/deploy/", ".0", "..", "/os/"),
        seeds=(LINK,),
        share=8,
        largest=(b"/" * 65536,),
    ),
    "manifest": Target(
        run=run_manifest,
        words=(
            '"schema"',
            '"kernel"',
            '"base"',
            '"file"',
            '"raw"',
            '"qcow2"',
            '"kernel_cmdline"',
            "../",
            "true",
            "1e999",
            "NaN",
            "\\ud800",
        ),
        seeds=(MANIFEST,),
        share=13,
        largest=tuple(
            (unit * MANIFEST_BYTES)[:MANIFEST_BYTES] for unit in (b"[", b'{"a":', b"9", b"\\u0000")
        ),
    ),
    "partition_table": Target(
        run=run_partition_table,
        words=("EFI PART", "Uª"),
        seeds=TABLES,
        share=8,
    ),
}
