import hashlib
import struct
from pathlib import Path

import pytest

from imgprep import precheck
from imgprep.precheck import ImageError, ImageFormat, Source


def qcow2(
    *, version: int = 3, backing_offset: int = 0, crypt: int = 0, incompatible: int = 0
) -> bytes:
    """Write the header of a qcow2 file of 1 MiB; docs/interop/qcow2.txt of QEMU."""
    header = struct.pack(
        ">4sIQIIQIIQQIIQ",
        *(b"QFI\xfb", version, backing_offset, 0, 16, 1 << 20, crypt, 1, 0x30000, 0x10000),
        *(1, 0, 0),
    )
    return (header + struct.pack(">QQQII", incompatible, 0, 0, 4, 104)).ljust(65536, b"\0")


def mbr(kind: int = 0x83) -> bytes:
    entry = bytes((0, 0, 2, 0, kind, 0, 2, 0)) + struct.pack("<II", 2048, 2048)
    return b"\0" * 446 + entry.ljust(64, b"\0") + b"\x55\xaa"


def test_formats_that_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a").write_bytes(qcow2())
    Path("b.qcow2").write_bytes(mbr().ljust(1 << 20, b"\0"))  # the name says nothing
    assert precheck.check(Path("a")) == Source(
        path=tmp_path / "a", format=ImageFormat.QCOW2, virtual_size_bytes=1 << 20
    )
    assert precheck.check(Path("b.qcow2")) == Source(
        path=tmp_path / "b.qcow2", format=ImageFormat.RAW, virtual_size_bytes=1 << 20
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (qcow2(backing_offset=512), "x is not safe to open: Image has a backing file"),
        (qcow2(incompatible=4), "x is not safe to open: Image has data_file set"),
        (qcow2(incompatible=1 << 20), "x is not safe to open: Unknown QCOW2 features found"),
        (qcow2(version=4), "x is not safe to open: Unsupported qcow2 version"),
        (qcow2(crypt=2), "x is encrypted (decrypt it with qemu-img convert first)"),
        (b"", "x: not a disk image (neither qcow2 nor a partition table)"),
        (b"hello", "x: not a disk image (neither qcow2 nor a partition table)"),
        (b"\0" * 9999, "x: not a disk image (neither qcow2 nor a partition table)"),
        (
            b"QED\0".ljust(4096, b"\0"),
            "x is a qed image (qcow2 and raw are read; convert it with qemu-img)",
        ),
        (
            b"vhdxfile".ljust(1 << 20, b"\0"),
            "x is a vhdx image (qcow2 and raw are read; convert it with qemu-img)",
        ),
    ],
)
def test_content_that_is_refused(
    content: bytes, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x").write_bytes(content)
    with pytest.raises(ImageError) as error:
        precheck.check(Path("x"))
    assert str(error.value) == said


def test_two_formats_at_once(tmp_path: Path) -> None:
    content = bytearray(qcow2())
    content[510:512] = b"\x55\xaa"
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(ImageError) as error:
        precheck.check(path)
    message = str(error.value)
    assert message in {
        f"{path} looks like two formats at once: Multiple formats detected: {formats}"
        for formats in ("qcow2,gpt", "gpt,qcow2")
    }


def test_what_is_no_file(tmp_path: Path) -> None:
    for path, said in (
        (tmp_path / "no", f"{tmp_path}/no: no such file"),
        (tmp_path, f"{tmp_path} is a directory (name the image file in it)"),
        (Path("/dev/null"), "/dev/null is not a regular file (copy it into a file first)"),
    ):
        with pytest.raises(ImageError) as error:
            precheck.check(path)
        assert str(error.value) == said


def test_checksums(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"x")
    good = hashlib.sha256(b"x").hexdigest()
    precheck.verify_checksum(path, f"sha256:{good}")
    precheck.verify_checksum(path, f"SHA256:{good.upper()}")
    precheck.verify_checksum(path, f"sha512:{hashlib.sha512(b'x').hexdigest()}")
    for wanted, said in (
        ("sha256:00", f"{path} has another checksum: sha256:{good} (wanted sha256:00)"),
        ("md5:00", "not a checksum: 'md5:00' (ALGO:HEX, with sha256, sha384 or sha512)"),
        ("sha256", "not a checksum: 'sha256' (ALGO:HEX, with sha256, sha384 or sha512)"),
    ):
        with pytest.raises(ImageError) as error:
            precheck.verify_checksum(path, wanted)
        assert str(error.value) == said
