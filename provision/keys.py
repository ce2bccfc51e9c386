"""Make ssh host keys, and read the operator's public key.

A private host key lives in memory and on the node's config drive, nowhere else.
"""

import base64
import binascii
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from atomic_baremetal.errors import Error

HOST_KEY_TYPE = "ssh-ed25519"
LONGEST_BYTES = 20_000  # a 16384-bit RSA key has 2,800
TYPES = (
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)
DEFAULT_FILES = ("id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub")


class KeyFileError(Error):
    """A file that does not hold one ssh public key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostKey:
    """Hold a host's key pair in OpenSSH's formats.

    :ivar public: `ssh-ed25519 BASE64`, without a comment.
    :ivar private: kept out of repr(), so that no log or traceback shows it.
    """

    public: str
    private: str = field(repr=False)


def new_host_key() -> HostKey:
    """Make an Ed25519 key pair for a host."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return HostKey(public=public.decode(), private=private.decode())


def default_public_key_file(home: Path) -> Path:
    """Find the public key that ssh itself would use first.

    :raises KeyFileError: there is none.
    """
    for name in DEFAULT_FILES:
        if (path := home / ".ssh" / name).is_file():
            return path
    raise KeyFileError(
        f"there is no ssh public key in {home / '.ssh'}",
        hint="make one with ssh-keygen, or name one with --ssh-key",
    )


def private_key_of(public_key_file: Path) -> Path | None:
    """Find the private key beside a public one, FILE.pub; None: there is none, an agent has it."""
    private = public_key_file.with_suffix("")
    return private if public_key_file.suffix == ".pub" and private.is_file() else None


def read_public_key(path: Path) -> str:
    """Read a file that holds one OpenSSH public key; return its line.

    The content of a wrong file is not shown.

    :raises KeyFileError: it cannot be read, or holds something else.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LONGEST_BYTES + 1)
    except OSError as error:
        raise KeyFileError(f"cannot read the ssh key {path}: {error.strerror}") from error
    if b"PRIVATE KEY" in data:
        raise KeyFileError(
            f"{path} is a private key", hint=f"give the public one: {path.with_suffix('.pub')}"
        )
    lines = [
        line
        for line in data.decode("utf-8", errors="replace").splitlines()
        if line.strip() and not line.startswith("#")
    ]
    if len(lines) != 1 or len(data) > LONGEST_BYTES or not _is_public_key(lines[0]):
        raise KeyFileError(
            f"{path} does not hold one ssh public key",
            hint=f"one line like '{HOST_KEY_TYPE} AAAA... you@there'",
        )
    return lines[0].strip()


def _is_public_key(line: str) -> bool:
    """Tell whether a line is TYPE BASE64 [COMMENT] of one type (RFC 4253 section 6.6)."""
    words = line.split(maxsplit=2)
    if len(words) < 2 or words[0] not in TYPES or not line.isprintable():
        return False
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (binascii.Error, ValueError):
        return False
    name = words[0].encode()
    return blob.startswith(len(name).to_bytes(4, "big") + name) and len(blob) > len(name) + 4 + 32
