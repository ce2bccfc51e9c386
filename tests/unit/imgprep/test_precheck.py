from pathlib import Path

import pytest

from imgprep import precheck
from imgprep.precheck import ImageError, ImageFormat, Source
from tests.fixtures.image_headers import qcow2, raw


def test_formats_that_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    qcow2().write(Path("a"))
    raw(size_bytes=1 << 20).write(Path("b.qcow2"))  # the name says nothing
    assert precheck.check(Path("a")) == Source(
        path=tmp_path / "a", format=ImageFormat.QCOW2, virtual_size_bytes=1 << 20
    )
    assert precheck.check(Path("b.qcow2")) == Source(
        path=tmp_path / "b.qcow2", format=ImageFormat.RAW, virtual_size_bytes=1 << 20
    )


def test_what_is_no_file(tmp_path: Path) -> None:
    for path, said in (
        (tmp_path / "no", f"{tmp_path}/no: no such file"),
        (tmp_path, f"{tmp_path} is a directory (name the image file in it)"),
        (Path("/dev/null"), "/dev/null is not a regular file (copy it into a file first)"),
    ):
        with pytest.raises(ImageError) as error:
            precheck.check(path)
        assert str(error.value) == said
