"""Load a file of services from a text, as tests want it."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from provision.services.file import compose
from provision.services.model import Project, Service


def load(
    text: str | bytes,
    *,
    files: Mapping[str, bytes] | None = None,
    environ: Mapping[str, str] | None = None,
    name: str = "shop.yaml",
) -> Project:
    """Load a file that lies in a directory with others; its own errors call it by its name."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, name)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        for other, content in (files or {}).items():
            Path(directory, other).write_bytes(content)
        try:
            return compose.load(path, environ=environ or {})
        except compose.FileError as error:
            error.message = error.message.replace(f"{directory}/", "")
            error.further = tuple(one.replace(f"{directory}/", "") for one in error.further)
            raise


def refusal(text: str | bytes, **others: object) -> str:
    """Return the whole text of the error that a file is refused with."""
    with pytest.raises(compose.FileError) as caught:
        load(text, **others)  # type: ignore[arg-type]
    return str(caught.value)


def service(keys: str, **others: object) -> Service:
    """Load a file with one service, `web`, of which these lines are the keys besides its image."""
    return load(one_service(keys), **others).services["web"]  # type: ignore[arg-type]


def one_service(keys: str) -> str:
    """Write a file in which line 5 begins the keys of its service `web`."""
    lines = "".join(f"    {line}\n" for line in keys.splitlines())
    return (
        "volumes: {data: {}}\nservices:\n  db: {image: r.example/db:1, healthcheck: {test: x}}\n"
        f"  web:\n{lines}    image: r.example/web:1\n"
        'configs: {my.cnf: {content: "a=1"}}\nsecrets: {pw: {environment: PW}}\n'
    )
