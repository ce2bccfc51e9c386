"""Compare an image file with its published checksum, before anything reads what is in it."""

import hashlib
import re
from pathlib import Path

from imgprep import progress
from imgprep.precheck import ImageError

ALGORITHMS = {"sha256": 64, "sha384": 96, "sha512": 128}  # with the digits of each
CHUNK_BYTES = 1 << 20


def verify(image: Path, wanted: str) -> None:
    """Compare an image file with a published checksum.

    What is not a regular file is left to the check of the image, which says what it is.

    :param wanted: `ALGO:HEX`, as in `sha256:9f86...`.
    :raises ImageError: not of that form, an algorithm that is unknown here, or another content.
    """
    algorithm, _, value = wanted.partition(":")
    algorithm, value = algorithm.lower(), value.strip().lower()
    digits = ALGORITHMS.get(algorithm)
    if digits is None or not re.fullmatch(f"[0-9a-f]{{{digits}}}", value):
        raise ImageError(
            f"not a checksum: {wanted!r}", hint="ALGO:HEX, with sha256, sha384 or sha512"
        )
    if not image.is_file():
        return
    found = _digest(image, algorithm)
    if found != value:
        raise ImageError(
            f"{image} has another checksum: {algorithm}:{found}", hint=f"wanted {algorithm}:{value}"
        )


def _digest(image: Path, algorithm: str) -> str:
    digest = hashlib.new(algorithm)
    doing = "comparing the image with its checksum"
    try:
        total = image.stat().st_size
        with image.open("rb") as file, progress.counted(doing, total_bytes=total) as show:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
                show(file.tell())
    except OSError as error:
        raise ImageError(f"{image} cannot be read: {error.strerror}") from error
    return digest.hexdigest()
