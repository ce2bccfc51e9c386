import json
import platform
import sys
from pathlib import Path

import pytest

from imgprep import accelerator
from imgprep.accelerator import Accelerator

BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@pytest.fixture
def verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the verdict is kept, on a machine with a /dev/kvm that opens."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("LIBGUESTFS_BACKEND_SETTINGS", raising=False)
    monkeypatch.setattr(accelerator.os, "access", lambda _path, _mode: True)
    return tmp_path / "atomic-baremetal" / "appliance" / "accelerator.json"


def probe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, *, limit_s: float = 5
) -> Path:
    """Put a script in the place of the child process that tries KVM; it notes each run."""
    fake = tmp_path / "python"
    runs = tmp_path / "runs"
    fake.write_text(f'#!/bin/sh\necho "$*" >> {runs}\n{script}\n')
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    monkeypatch.setattr(accelerator, "PROBE_S", limit_s)
    return runs


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("exit 0", Accelerator.KVM),
        ("exit 1", Accelerator.TCG),
        ("kill -ABRT $$", Accelerator.TCG),
    ],
)
def test_kvm_is_tried_once_and_remembered(
    script: str,
    found: Accelerator,
    verdict: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs = probe(tmp_path, monkeypatch, script)
    assert [accelerator.accelerator(), accelerator.accelerator()] == [found, found]
    assert runs.read_text() == "-m imgprep.session\n"
    assert json.loads(verdict.read_text()) == {
        "accelerator": found,
        "boot_id": BOOT_ID,
        "kernel": platform.release(),
    }


def test_a_kvm_that_hangs_is_no_kvm(
    verdict: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe(tmp_path, monkeypatch, "exec sleep 60", limit_s=0.3)
    assert accelerator.accelerator() is Accelerator.TCG


@pytest.mark.parametrize(
    "known",
    [
        "",
        "[]",
        '{"accelerator": "tcg"}',
        '{"accelerator": "other", "boot_id": "x"}',
        '{"accelerator": "tcg", "boot_id": "another boot", "kernel": "x"}',
    ],
)
def test_another_boots_verdict_is_not_believed(
    known: str, verdict: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdict.parent.mkdir(parents=True)
    verdict.write_text(known)
    probe(tmp_path, monkeypatch, "exit 0")
    assert accelerator.accelerator() is Accelerator.KVM


def test_a_verdict_that_cannot_be_kept_is_one(
    verdict: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    verdict.parent.parent.write_text("in the way")
    runs = probe(tmp_path, monkeypatch, "exit 1")
    assert [accelerator.accelerator() for _ in range(2)] == [Accelerator.TCG] * 2
    assert len(runs.read_text().splitlines()) == 2
    assert "the answer cannot be kept: " in caplog.text


def test_what_the_user_set_is_honoured(verdict: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBGUESTFS_BACKEND_SETTINGS", "force_kvm")
    assert accelerator.accelerator() is None


def test_without_kvm_nothing_is_tried(
    verdict: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    runs = probe(tmp_path, monkeypatch, "exit 0")
    monkeypatch.setattr(accelerator.os, "access", lambda _path, _mode: False)
    with caplog.at_level("INFO"):
        assert accelerator.accelerator() is Accelerator.TCG
    assert not runs.exists()
    assert caplog.messages == [
        "no usable KVM here: the appliance is emulated, which takes some seconds longer"
    ]
