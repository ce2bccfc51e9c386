import gzip
import lzma
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgprep import unpacked_kernel


def elf(*notes: tuple[bytes, int]) -> bytes:
    """Write an ELF file with one segment of notes."""
    content = b"".join(
        struct.pack("<III", len(name), 8, kind)
        + name.ljust(-(-len(name) // 4) * 4, b"\0")
        + b"\1" * 8
        for name, kind in notes
    )
    header = b"\x7fELF\x02\x01".ljust(32, b"\0") + struct.pack("<Q", 64)
    header = header.ljust(54, b"\0") + struct.pack("<HH", 56, 1)
    segment = struct.pack("<IIQQQQ", 4, 0, 120, 0, 0, len(content)).ljust(56, b"\0")
    return header.ljust(64, b"\0") + segment + content


def bz_image(payload: bytes, *, version: int = 0x020F) -> bytes:
    """Write a kernel image with one sector of set-up and 32 bytes before the payload."""
    head = bytearray(2 * 512)
    head[0x1F1] = 1
    head[0x202:0x208] = b"HdrS" + version.to_bytes(2, "little")
    head[0x248:0x250] = struct.pack("<II", 32, len(payload))
    return bytes(head) + bytes(32) + payload + b"what follows"


KERNEL = elf((b"Linux\0", 1), (b"Xen\0", 5), (b"Xen\0", 18))


@pytest.mark.parametrize("pack", [lzma.compress, gzip.compress])
def test_a_kernel_is_unpacked(pack: object) -> None:
    packed = pack(KERNEL)  # type: ignore[operator]
    # the kernel's build puts its unpacked size behind it
    assert unpacked_kernel.unpack(bz_image(packed + b"\0\1\2\3")) == KERNEL


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"text" * 1000,
        bz_image(lzma.compress(KERNEL), version=0x0207),
        bz_image(b"\x28\xb5\x2f\xfd zstd"),
        bz_image(lzma.compress(KERNEL)[:50]),
        bz_image(lzma.compress(elf((b"Xen\0", 5), (b"GNU\0", 18)))),  # no PVH entry
        bz_image(lzma.compress(b"no ELF file")),
    ],
)
def test_what_cannot_be_used_is_left(packed: bytes) -> None:
    assert unpacked_kernel.unpack(packed) is None


@given(st.binary(max_size=400))
def test_any_payload_is_unpacked_or_left(payload: bytes) -> None:
    assert unpacked_kernel.unpack(bz_image(payload)) is None
    unpacked_kernel.unpack(bz_image(lzma.compress(KERNEL[:64] + payload, preset=0)))


def test_what_was_unpacked_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    packed = bz_image(lzma.compress(KERNEL))
    first = unpacked_kernel.cached(packed)
    assert first is not None
    assert first.read_bytes() == KERNEL
    monkeypatch.setattr(unpacked_kernel, "unpack", lambda packed: pytest.fail("unpacked again"))
    assert unpacked_kernel.cached(packed) == first
    monkeypatch.setattr(unpacked_kernel, "unpack", lambda packed: None)
    assert unpacked_kernel.cached(b"another") is None


def test_runs_that_unpack_at_the_same_time_keep_out_of_each_others_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    packed = bz_image(lzma.compress(KERNEL))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(unpacked_kernel.cached, [packed] * 16))
    (path,) = set(found)
    assert path is not None
    assert [one.read_bytes() for one in path.parent.iterdir()] == [KERNEL]
