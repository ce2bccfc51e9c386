"""Say which hosts there are to run services on, and which of them are meant.

They come from a file (`--hosts FILE`), or from whoever calls: the command line hands in the
deployed nodes of the cloud. A host is trusted by its key, and by nothing else.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from atomic_baremetal.errors import Error
from provision.services.model import Registry

KEYS = ("address", "port", "user", "host_key", "labels")


class HostsError(Error):
    """Hosts that are not described well enough to be reached, or that are not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A host that can be reached and verified.

    :ivar host_key: `TYPE BASE64`.
    :ivar user: to log in as; None: as the command says.
    :ivar labels: sorted by name; placement looks at them.
    """

    name: str
    address: str
    host_key: str
    port: int = 22
    user: str | None = None
    labels: tuple[tuple[str, str], ...] = ()


def read(path: Path) -> tuple[Target, ...]:
    """Read a file of hosts, in its order::

        hosts:
          NAME: {address: ADDRESS, host_key: TYPE BASE64, port: 22, user: root, labels: {K: V}}

    :raises HostsError: it cannot be read, or something in it is missing, unknown or of no use.
    """
    try:
        data = yaml.safe_load(path.read_text())
    except OSError as error:
        raise HostsError(f"cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise HostsError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict) or set(data) != {"hosts"} or not isinstance(data["hosts"], dict):
        raise HostsError(f"{path}: one key `hosts` is wanted, with a mapping of hosts by name")
    if not data["hosts"]:
        raise HostsError(f"{path} names no host")
    return tuple(_target(path, name, fields) for name, fields in data["hosts"].items())


def _target(path: Path, name: Any, fields: Any) -> Target:
    where = f"{path}: host {name}"
    if not isinstance(name, str) or not name.isprintable() or not name.strip():
        raise HostsError(f"{path}: {name!r} is no host name", hint="put it in quotes")
    if not isinstance(fields, dict):
        raise HostsError(f"{where}: a mapping is wanted, with {', '.join(KEYS)}")
    if unknown := [str(key) for key in fields if key not in KEYS]:
        raise HostsError(f"{where}: unknown key {unknown[0]!r}", hint=f"there is {', '.join(KEYS)}")
    for key in ("address", "host_key"):
        if not isinstance(fields.get(key), str) or not fields[key].strip():
            raise HostsError(f"{where}: `{key}` is missing")
    port = fields.get("port", 22)
    if not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536:
        raise HostsError(f"{where}: `port` is a number from 1 to 65535, not {port!r}")
    user = fields.get("user")
    if user is not None and not isinstance(user, str):
        raise HostsError(f"{where}: `user` is a name, not {user!r}")
    return Target(
        name=name,
        address=fields["address"].strip(),
        host_key=_host_key(where, fields["host_key"]),
        port=port,
        user=user,
        labels=labels(where, fields.get("labels")),
    )


def labels(where: str, found: Any) -> tuple[tuple[str, str], ...]:
    """Read a host's labels: a mapping of texts, or nothing at all.

    :param where: begins the error.
    :raises HostsError: it is something else.
    """
    if found is None:
        return ()
    if not isinstance(found, Mapping) or not all(
        isinstance(word, str) for pair in found.items() for word in pair
    ):
        raise HostsError(f"{where}: `labels` is a mapping of texts", hint="put numbers in quotes")
    return tuple(sorted(found.items()))


def _host_key(where: str, text: str) -> str:
    words = text.split()
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (IndexError, binascii.Error):
        blob = b""
    kind = words[0].encode()
    if not blob.startswith(len(kind).to_bytes(4, "big") + kind):
        raise HostsError(
            f"{where}: `host_key` is no ssh public key",
            hint="like 'ssh-ed25519 AAAA...'; the host has it in /etc/ssh/ssh_host_ed25519_key.pub",
        )
    return " ".join(words[:2])


def select(targets: Sequence[Target], patterns: Sequence[str]) -> tuple[Target, ...]:
    """Choose the targets that a pattern names; `!PATTERN` leaves out. No pattern: all of them.

    :raises HostsError: a pattern fits none, or nothing is left.
    """
    for pattern in patterns:
        if not any(fnmatchcase(one.name, pattern.removeprefix("!")) for one in targets):
            there = ", ".join(one.name for one in targets) or "none"
            raise HostsError(f"no host fits --on {pattern!r}", hint=f"there is: {there}")
    wanted = [one for one in patterns if not one.startswith("!")] or ["*"]
    unwanted = [one.removeprefix("!") for one in patterns if one.startswith("!")]
    chosen = tuple(
        one
        for one in targets
        if any(fnmatchcase(one.name, pattern) for pattern in wanted)
        and not any(fnmatchcase(one.name, pattern) for pattern in unwanted)
    )
    if not chosen:
        raise HostsError("--on leaves no host")
    return chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """What a cloud knows of hosts: what the caller of these commands hands in.

    :ivar targets: its deployed hosts, as far as they can be verified from here.
    :ivar registries: that its hosts can trust, by HOST:PORT.
    :ivar passed_over: why, for each deployed host that is not among the targets, by name.
    """

    targets: tuple[Target, ...]
    registries: Mapping[str, Registry] = field(default_factory=dict)
    passed_over: Mapping[str, str] = field(default_factory=dict)
