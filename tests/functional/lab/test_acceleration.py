"""KVM counts as working only when a guest has booted; the judge is tried on one that does."""

import logging
import os
from pathlib import Path

import pytest

from provision.lab import acceleration

KERNELS = sorted(Path("/boot").glob("vmlinuz-*"))


@pytest.mark.skipif(not KERNELS and "CI" not in os.environ, reason="no kernel in /boot")
def test_a_guest_that_gets_to_the_end_of_its_boot_is_proof() -> None:
    assert acceleration.boots(KERNELS[-1], "tcg", limit_s=60)


@pytest.fixture
def no_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(acceleration, "DEVICE", tmp_path / "kvm")
    path = tmp_path / "kernel"
    path.write_text("no kernel\n")
    return path


def test_without_the_device_nothing_is_tried(
    no_kernel: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="provision"):
        assert not acceleration.kvm_works(no_kernel)
    assert caplog.messages == [
        f"no KVM here ({tmp_path / 'kvm'} cannot be opened): the machines are emulated, and slow"
    ]
    assert not (tmp_path / "cache").exists()


def test_a_device_without_a_guest_is_no_proof_and_tried_once(
    no_kernel: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    acceleration.DEVICE.touch()
    with caplog.at_level(logging.INFO, logger="provision"):
        assert not acceleration.kvm_works(no_kernel)
        assert not acceleration.kvm_works(no_kernel)
    (verdict,) = (tmp_path / "cache" / "atomic-baremetal" / "kvm").iterdir()
    fails = f"KVM runs no guest here: the machines are emulated, and slow ({verdict})"
    assert caplog.messages == ["trying whether KVM works (up to 20 s, once)", fails, fails]
    # the same verdict the other way round is believed as well
    verdict.write_text("works\n")
    assert acceleration.kvm_works(no_kernel)
