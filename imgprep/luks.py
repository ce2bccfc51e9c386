"""Read what `--key` says: which key opens which encrypted partition of an image.

The same words as libguestfs' own tools: `ID:key:STRING` and `ID:file:FILE`, where ID is the device
as libguestfs names it (/dev/sda3), the UUID of the LUKS header, or `all`.

Source: guestfs-tools, "--key SELECTOR" in virt-inspector(1).
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from atomic_baremetal.errors import Error

DEVICE = re.compile(r"/dev/(?:[shv]d|xvd)a(?P<number>[0-9]{1,3})")
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
EVERY = "all"
KEY_LIMIT_BYTES = 8 << 10


class UnlockError(Error):
    """A `--key` that cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A passphrase and what it opens.

    :param identity: a device, a UUID in lower case, or `all`.
    :param passphrase: never shown, also not by repr().
    """

    identity: str
    passphrase: str = field(repr=False)

    def fits(self, *, partition: int, uuid: str) -> bool:
        """Tell whether this key was given for a partition; the image is the first disk, sda."""
        device = DEVICE.fullmatch(self.identity)
        if device:
            return int(device["number"]) == partition
        return self.identity in (EVERY, uuid.lower())


def parse(selector: str) -> Key:
    """Read a selector, and the file that it names.

    :raises UnlockError: not of that form, or the file cannot be read. Never shows the key.
    """
    identity, _, rest = selector.partition(":")
    kind, _, value = rest.partition(":")
    identity = _identity(identity)
    if kind == "clevis":
        raise UnlockError(
            f"--key {identity}:clevis is not handled",
            hint="the appliance has no network; give the passphrase in a file",
        )
    if kind not in ("key", "file") or not value:
        raise UnlockError(
            f"--key for {identity}: neither key:STRING nor file:FILE follows",
            hint="for instance /dev/sda3:file:passphrase.txt",
        )
    return Key(identity=identity, passphrase=value if kind == "key" else _first_line(Path(value)))


def _identity(text: str) -> str:
    if DEVICE.fullmatch(text) or text == EVERY:
        return text
    if UUID.fullmatch(text):
        return text.lower()
    # what was meant as ID may be the key itself
    raise UnlockError(
        "--key does not begin with a device, a UUID or `all`",
        hint="for instance /dev/sda3:file:passphrase.txt",
    )


def _first_line(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(KEY_LIMIT_BYTES + 1)
        line = content.partition(b"\n")[0].decode()
    except OSError as error:
        raise UnlockError(f"--key: {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UnlockError(f"--key: {path} holds no text") from error
    if not line or len(content) > KEY_LIMIT_BYTES:
        raise UnlockError(f"--key: {path} holds no passphrase in its first line")
    return line
