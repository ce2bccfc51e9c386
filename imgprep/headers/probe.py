"""Say which formats qemu would see in the first bytes of a disk, were it left to guess.

Ours is never left to guess. But a base that begins with the header of an image format is a trap for
the next program that opens it, and a raw image that does so is no honest disk.

Source: the bdrv_probe functions of QEMU 7.2, block/*.c; they get the first 512 bytes.
"""

import re

PROBED_BYTES = 512
MAGICS = {
    "qcow2": (b"QFI\xfb",),  # qcow, too
    "qed": (b"QED\0",),
    "vmdk": (b"KDMV", b"COWD"),
    "vhdx": (b"vhdxfile",),
    "vpc": (b"conectix",),
    "luks": (b"LUKS\xba\xbe",),
    "parallels": (b"WithoutFreeSpace", b"WithouFreSpacExt"),
    "bochs": (b"Bochs Virtual HD Image",),
    "cloop": (b"#!/bin/sh\n#V2.0 Format",),
}
VDI_MAGIC_AT, VDI_MAGIC = 0x40, bytes.fromhex("7f10dabe")
# comments and blank lines, then a line that says the version: a VMDK's descriptor
VMDK_TEXT = re.compile(rb"(?:#[^\n]*\n|[ \r]*\n)*version=", re.IGNORECASE)
VMDK_COMMENT = b"# disk descriptorfile"


def formats(head: bytes) -> list[str]:
    """List the formats that the first bytes of a disk look like, sorted; empty for a plain disk.

    :param head: 512 bytes or more, fewer when there are no more.
    """
    head = head[:PROBED_BYTES]
    found = {name for name, magics in MAGICS.items() if head.startswith(magics)}
    if head[VDI_MAGIC_AT:].startswith(VDI_MAGIC):
        found.add("vdi")
    if VMDK_TEXT.match(head) or head.lower().startswith(VMDK_COMMENT):
        found.add("vmdk")
    return sorted(found)
