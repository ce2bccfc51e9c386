"""Pack what a node is to get into one tar stream: the only way that data travels to a node.

The stream holds, and node/*.sh read:

    registries/ca/HOST:PORT                     certificates to trust for a registry
    registries/insecure/FILE                    a drop-in for containers-registries.conf(5)
    registries/verified/FILE                    a drop-in that has to go, if it is there
    secrets/NAME                                by podman's name of it
    services/SERVICE/unit
    services/SERVICE/config/DIGEST/CONFIG
    complete                                    last: without it the stream was cut off

The same Install always makes the same bytes.
"""

import io
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from atomic_baremetal.errors import Error
from provision.services.host import Install
from provision.services.model import Registry

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*", re.ASCII)
REGISTRY = re.compile(r"([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?", re.ASCII)
LONGEST_NAME = 128
LARGEST_SECRET_BYTES = 511_999  # podman takes less than 512000, and refuses an empty one
LARGEST_BYTES = 64 * 2**20  # it passes through the node's memory
LONG_AGO = 315532800  # 1980: tar complains of anything near the epoch's beginning


class DeliveryError(Error):
    """Something that cannot be brought to a node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    path: str
    content: bytes | None  # None: a directory
    mode: int


def pack(what: Install) -> bytes:
    """Make the tar stream of an installation.

    :raises DeliveryError: a name, a secret's size, or all of it together cannot be carried.
    """
    check_name("project", what.project)
    files = [*_registries(what.registries), *_secrets(what.secrets), *_services(what)]
    return _tar(files)


def pack_registries(registries: Mapping[str, Registry]) -> bytes:
    """Make the tar stream that sets up registries alone.

    :raises DeliveryError: a name that is none.
    """
    return _tar(list(_registries(registries)))


def check_name(kind: str, name: str) -> None:
    """Refuse a name that is not one of ours: it becomes the name of files and units.

    :raises DeliveryError: with the kind of name.
    """
    if len(name) > LONGEST_NAME or not NAME.fullmatch(name):
        raise DeliveryError(
            f"{kind} {name!r} cannot be brought to a node",
            hint="names are lower-case letters, digits, '_', '.' and '-', and begin with a letter "
            f"or digit; at most {LONGEST_NAME} characters",
        )


def drop_in(registry: str) -> str:
    """Name the drop-in that makes a registry insecure."""
    return f"50-provision-services-{registry.replace(':', '_')}.conf"


def _registries(registries: Mapping[str, Registry]) -> Iterator[_File]:
    for name, registry in sorted(registries.items()):
        if not REGISTRY.fullmatch(name):
            raise DeliveryError(f"{name!r} is not a registry", hint="write HOST or HOST:PORT")
        if registry.ca is not None:
            yield _File(path=f"registries/ca/{name}", content=registry.ca, mode=0o644)
        text = b"" if registry.verify else _insecure(name)
        state = "verified" if registry.verify else "insecure"
        yield _File(path=f"registries/{state}/{drop_in(name)}", content=text, mode=0o644)


def _insecure(name: str) -> bytes:
    # nothing in a registry's name needs to be escaped in TOML
    return f'[[registry]]\nlocation = "{name}"\ninsecure = true\n'.encode()


def _secrets(secrets: Mapping[str, bytes]) -> Iterator[_File]:
    for name, content in sorted(secrets.items()):
        check_name("secret", name)
        if not 0 < len(content) <= LARGEST_SECRET_BYTES:
            raise DeliveryError(
                f"secret {name} has {len(content)} bytes",
                hint=f"podman takes 1 to {LARGEST_SECRET_BYTES}",
            )
        yield _File(path=f"secrets/{name}", content=content, mode=0o600)


def _services(what: Install) -> Iterator[_File]:
    for service in sorted({*what.units, *what.configs}):
        check_name("service", service)
        if service in what.units:
            text = _text(service, what.units[service])
            yield _File(path=f"services/{service}/unit", content=text, mode=0o600)
        for digest, configs in sorted(what.configs.get(service, {}).items()):
            check_name("config directory", digest)
            directory = f"services/{service}/config/{digest}"
            yield _File(path=directory, content=None, mode=0o555)
            for name, (content, mode) in sorted(configs.items()):
                check_name("config", name)
                yield _File(path=f"{directory}/{name}", content=content, mode=mode & 0o777)


def _text(service: str, text: str) -> bytes:
    if "\0" in text:
        raise DeliveryError(f"the unit of service {service} has a NUL in it")
    return text.encode()


def _tar(files: list[_File]) -> bytes:
    size = sum(len(file.content or b"") for file in files)
    if size > LARGEST_BYTES:
        raise DeliveryError(
            f"configs and secrets have {size} bytes together",
            hint=f"at most {LARGEST_BYTES} are brought to a node at once; data belongs in volumes",
        )
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for directory in ("registries", "secrets", "services"):
            tar.addfile(_member(_File(path=directory, content=None, mode=0o700)))
        for file in [*files, _File(path="complete", content=b"", mode=0o600)]:
            tar.addfile(_member(file), io.BytesIO(file.content or b""))
    return stream.getvalue()


def _member(file: _File) -> tarfile.TarInfo:
    member = tarfile.TarInfo(file.path)
    member.type = tarfile.DIRTYPE if file.content is None else tarfile.REGTYPE
    member.size = len(file.content or b"")
    member.mode = file.mode
    member.mtime = LONG_AGO
    member.uname = member.gname = "root"
    return member
