"""A file is complete or absent."""

from pathlib import Path

from atomic_baremetal.durable import write


def test_writing_the_same_is_no_change(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    assert write(path, "text")
    assert not write(path, "text")
    assert write(path, "other")
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["b"]
