"""Take the mounts at /boot out of an fstab, and leave every other byte of it alone.

The machine that network-boots has no boot partition: systemd would wait 90 seconds for it and stop
in emergency mode. Lines are bytes, since nothing says that a comment in an fstab is UTF-8.

Source: fstab(5): six fields separated by blanks or tabs; blanks inside a field are written as
`\\040`.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

OCTAL = re.compile(rb"\\([0-7]{3})")
# how a line names a device; all else (bind mounts, tmpfs, overlay) names none
DEVICE_PREFIXES = (b"/dev/", b"UUID=", b"LABEL=", b"PARTUUID=", b"PARTLABEL=", b"ID=")


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    """An fstab after the edit.

    :param removed: the lines taken out, without their line ends.
    """

    content: bytes
    removed: tuple[bytes, ...]


def without_boot(content: bytes, *, in_base: Collection[str]) -> Edited:
    """Remove the lines that mount a partition outside of the base at /boot or below it.

    :param in_base: how a line could name a file system of the base: `UUID=...`, `LABEL=...`,
        `/dev/mapper/...`.
    """
    kept: list[bytes] = []
    removed: list[bytes] = []
    for line in _lines(content):
        if _mounts_at_boot(line) and _device(line) not in in_base and _names_device(line):
            removed.append(line.rstrip(b"\r\n"))
        else:
            kept.append(line)
    return Edited(content=b"".join(kept), removed=tuple(removed))


def _lines(content: bytes) -> list[bytes]:
    # bytes.splitlines would split at a lone carriage return, which ends no line of an fstab
    lines = content.split(b"\n")
    return [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def _fields(line: bytes) -> list[bytes]:
    stripped = line.strip(b" \t\r\n")
    return [] if stripped.startswith(b"#") else re.split(rb"[ \t]+", stripped)


def _unescaped(field: bytes) -> bytes:
    return OCTAL.sub(lambda match: bytes([int(match[1], 8) & 0xFF]), field)


def _mounts_at_boot(line: bytes) -> bool:
    fields = _fields(line)
    if len(fields) < 2:
        return False
    parts = [part for part in _unescaped(fields[1]).split(b"/") if part not in (b"", b".")]
    return fields[1].startswith(b"/") and parts[:1] == [b"boot"]


def _device(line: bytes) -> str:
    return _unescaped(_fields(line)[0]).replace(b'"', b"").decode(errors="replace")


def _names_device(line: bytes) -> bool:
    fields = _fields(line)
    options = fields[3].split(b",") if len(fields) > 3 else []
    return fields[0].startswith(DEVICE_PREFIXES) and not {b"bind", b"rbind"} & set(options)
