import hashlib
import os
from pathlib import Path

import pytest

from imgprep import checksum
from imgprep.precheck import ImageError

CONTENT = b"not an image at all"
GOOD = hashlib.sha256(CONTENT).hexdigest()
OTHER = "0" * 64


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "x"
    path.write_bytes(CONTENT)
    return path


@pytest.mark.parametrize(
    "wanted",
    [
        f"sha256:{GOOD}",
        f"SHA256:{GOOD.upper()}",
        f"sha384:{hashlib.sha384(CONTENT).hexdigest()}",
        f"sha512:{hashlib.sha512(CONTENT).hexdigest()}",
    ],
)
def test_a_good_checksum(wanted: str, path: Path) -> None:
    checksum.verify(path, wanted)


@pytest.mark.parametrize("wanted", ["md5:00", "sha256", "sha256:00", f"sha512:{GOOD}", "", ":"])
def test_what_is_no_checksum(wanted: str, path: Path) -> None:
    with pytest.raises(ImageError) as error:
        checksum.verify(path, wanted)
    assert str(error.value) == (
        f"not a checksum: {wanted!r} (ALGO:HEX, with sha256, sha384 or sha512)"
    )


def test_another_content(path: Path) -> None:
    with pytest.raises(ImageError) as error:
        checksum.verify(path, f"sha256:{OTHER}")
    assert str(error.value) == (
        f"{path} has another checksum: sha256:{GOOD} (wanted sha256:{OTHER})"
    )


def test_what_is_no_file_is_left_to_the_check_of_the_image(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "nothing", "."):
        checksum.verify(tmp_path / name, f"sha256:{OTHER}")
