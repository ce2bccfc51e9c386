"""Read which registries are to be trusted by which certificates."""

from collections.abc import Sequence
from pathlib import Path

from atomic_baremetal.errors import Error
from provision.services.model import Registry


class RegistryError(Error):
    """An option that does not say whom to trust."""


def read_all(options: Sequence[str]) -> dict[str, Registry]:
    """Read options HOST:PORT=FILE.

    :raises RegistryError: one has another form, or its file holds no certificate.
    """
    found = {}
    for option in options:
        name, equals, path = option.partition("=")
        if not equals or not name or not path:
            raise RegistryError(
                f"--registry-ca {option!r} is not HOST:PORT=FILE",
                hint="like registry.lab:5000=ca.crt",
            )
        found[name] = read(Path(path))
    return found


def read(path: Path) -> Registry:
    """Read the certificates of a registry from a file.

    :raises RegistryError: it cannot be read, or holds none.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RegistryError(f"cannot read {path}: {error.strerror}") from error
    if b"-----BEGIN CERTIFICATE-----" not in content:
        raise RegistryError(f"{path} holds no certificate in PEM form")
    return Registry(ca=content)
