"""A call into the appliance ends in time, and fails in words of ours."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from atomic_baremetal.errors import Error
from imgprep import machine
from imgprep.machine import Machine
from imgprep.precheck import ImageError
from imgprep.qemu_img import NoSpaceError


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def test_a_session_has_an_end(pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = threading.Event()
    monkeypatch.setattr(machine, "SESSION_S", 0.1)
    # ending its machine is what lets a call of libguestfs return
    monkeypatch.setattr(machine, "_kill_qemu", hanging.set)
    with pytest.raises(ImageError) as error:
        Machine(pool).call(hanging.wait, 60)
    assert str(error.value) == (
        "the appliance was not done within 0.1 seconds and was ended"
        " (a damaged or hostile file system can do that)"
    )
    assert hanging.is_set()


@pytest.mark.parametrize(
    ("raised", "type_", "said"),
    [
        (
            RuntimeError("mount: no\n such   thing\nThis usually means that ..."),
            ImageError,
            "the appliance failed: mount: no such thing (--debug shows more)",
        ),
        (
            RuntimeError("guestfs_launch failed"),
            ImageError,
            "libguestfs' appliance does not start: guestfs_launch failed"
            " (run libguestfs-test-tool to see why)",
        ),
        (
            RuntimeError("write: No space left on device"),
            NoSpaceError,
            "the disk is full (free some space and try again)",
        ),
        (
            UnicodeDecodeError("utf-8", b"a\xff", 1, 2, "invalid"),
            ImageError,
            r"a name in the image is no UTF-8: 'a\\xff'",
        ),
    ],
)
def test_its_failures_are_worded(
    raised: Exception, type_: type[Error], said: str, pool: ThreadPoolExecutor
) -> None:
    def fail() -> None:
        raise raised

    with pytest.raises(type_) as error:
        Machine(pool).call(fail)
    assert str(error.value) == said
