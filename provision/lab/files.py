"""Write small files so that they are complete or absent."""

import os
from pathlib import Path


def write(path: Path, text: str, *, mode: int = 0o600) -> bool:
    """Write a file beside its place and rename it; say whether that changed anything."""
    if path.exists() and path.read_text() == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    beside.touch(mode)
    with beside.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    return True
