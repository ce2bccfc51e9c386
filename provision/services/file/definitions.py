"""Read what a file defines besides its services: volumes, configs, secrets, registries.

Contents of files are raw bytes. No error shows any content.

Source: compose-spec.io, 07-volumes, 08-configs, 09-secrets.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from provision.services.file import unhandled, values
from provision.services.file.fields import Field
from provision.services.file.yaml_file import shown
from provision.services.model import Registry

LARGEST_CONFIG_BYTES = 10_000_000
LARGEST_SECRET_BYTES = 511_999  # podman's own limit
CERTIFICATE = b"-----BEGIN CERTIFICATE-----"


def read_file(path: Path, *, most: int) -> bytes:
    """Read a regular file.

    :param most: of its bytes, one more is read at the most.
    :raises OSError: there is none, or it is a directory or device.
    """
    if not path.is_file():
        path.stat()
        raise OSError(0, "not a regular file")
    with path.open("rb") as file:
        return file.read(most + 1)


def volume(field: Field) -> None:
    """Take a named volume, which has nothing but its name."""
    if not field.is_nothing():
        field.keys((), unhandled=unhandled.VOLUME)


def config(field: Field, directory: Path) -> bytes:
    """Return the content of a config.

    :param directory: what the names of files are relative to.
    """
    keys = field.keys(("file", "content"), unhandled=unhandled.CONFIG)
    if len(keys) != 1:
        field.fail("has to have a file or a content" + (", not both" if keys else ""))
    if "content" in keys:
        return keys["content"].text(as_written=True).encode()
    return _file(keys["file"], directory, LARGEST_CONFIG_BYTES)


def secret(field: Field, directory: Path, environ: Mapping[str, str]) -> bytes:
    """Return the content of a secret; podman takes no empty one.

    :param directory: what the names of files are relative to.
    """
    keys = field.keys(("file", "environment"), unhandled=unhandled.SECRET)
    if len(keys) != 1:
        field.fail("has to have a file or an environment" + (", not both" if keys else ""))
    if "environment" in keys:
        name = keys["environment"].read(values.variable)
        if (text := environ.get(name)) is None:
            keys["environment"].fail(f"the environment has no variable {shown(name)}")
        content = os.fsencode(text)
    else:
        content = _file(keys["file"], directory, LARGEST_SECRET_BYTES)
    if not 0 < len(content) <= LARGEST_SECRET_BYTES:
        field.fail(f"a secret has 1 to {LARGEST_SECRET_BYTES} bytes; this one has {len(content)}")
    return content


def registries(field: Field, directory: Path) -> dict[str, Registry]:
    """Return how registries are reached, by HOST[:PORT]."""
    found = {}
    for name, key, value in field.entries():
        with field.problems.gathered():
            key.judged(lambda name=name: values.registry(name))  # type: ignore[misc]
            found[name] = _registry(value, directory)
    return found


def _registry(field: Field, directory: Path) -> Registry:
    keys = field.keys(("ca", "tls_verify"))
    verify = "tls_verify" not in keys or keys["tls_verify"].boolean()
    if "ca" not in keys:
        return Registry(verify=verify)
    if not verify:
        keys["ca"].fail("a certificate to trust, and tls_verify: false")
    ca = _file(keys["ca"], directory, LARGEST_CONFIG_BYTES)
    if CERTIFICATE not in ca:
        keys["ca"].fail("the file has no certificate in PEM")
    return Registry(ca=ca)


def _file(field: Field, directory: Path, most: int) -> bytes:
    path = directory / os.path.expanduser(field.text(as_written=True))  # noqa: PTH111 - never raises
    try:
        content = read_file(path, most=most)
    except OSError as error:
        field.fail(f"cannot read {str(path)!r}: {error.strerror}")
    if len(content) > most:
        field.fail(f"{str(path)!r} is larger than {most} bytes")
    return content
