from pathlib import Path

import pytest

from imgprep import plan, progress


@pytest.mark.parametrize(
    ("image", "name"),
    [
        (
            "a/Fedora-Cloud-Atomic-20141203-21.x86_64.qcow2",
            "Fedora-Cloud-Atomic-20141203-21.x86_64",
        ),
        ("disk.raw", "disk"),
        ("x.qcow2.xz", "x"),
        ("plain", "plain"),
        (".raw", ""),
    ],
)
def test_name_of(image: str, name: str) -> None:
    assert plan.name_of(Path(image)) == name


@pytest.mark.parametrize(
    ("number_bytes", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (975_000_000, "975.0 MB"),
        (6_500_122_624, "6.5 GB"),
    ],
)
def test_sizes_in_words(number_bytes: int, words: str) -> None:
    assert progress.size(number_bytes) == words


def test_progress_off_a_terminal_is_a_line_now_and_then(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with caplog.at_level("INFO"), progress.counted("copying", total_bytes=2000) as show:
        show(1)
        now = 11.0
        show(500)
        now = 12.0
        show(1000)
    assert caplog.messages == [
        "copying (2.0 kB) ...",
        "copying: 500 B of 2.0 kB",
        "copying: 12.0 s",
    ]
