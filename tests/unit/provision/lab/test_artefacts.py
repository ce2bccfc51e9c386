"""The cache: what a key depends on, and that an artefact is complete or absent."""

import fcntl
import logging
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest

from atomic_baremetal import paths
from atomic_baremetal.errors import Error
from provision.lab import artefacts


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return paths.cache()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "element"
    (top / "install.d").mkdir(parents=True)
    (top / "install.d" / "50-a").write_text("echo a\n")
    (top / "README").write_text("read me\n")
    return top


def write_result(target: Path) -> None:
    (target / "result").write_text("built")


def never(_: Path) -> None:
    raise AssertionError("built again")


class TestKey:
    def test_same_inputs_same_key_wherever_they_lie(self, tree: Path, tmp_path: Path) -> None:
        before = artefacts.key_of([tree])
        moved = tree.rename(tmp_path / "elsewhere")
        os.utime(moved / "README", (1, 1))
        assert artefacts.key_of([moved]) == before

    @pytest.mark.parametrize(
        "change",
        [
            lambda top: (top / "README").write_text("read me!\n"),
            lambda top: (top / "README").rename(top / "README.rst"),
            lambda top: (top / "README").rename(top / "install.d" / "README"),
            lambda top: (top / "README").chmod(0o755),
            lambda top: (top / "README").unlink(),
            lambda top: (top / "more").write_text(""),
            lambda top: (top / "link").symlink_to("README"),
        ],
        ids=["content", "name", "directory", "executable", "removed", "added", "link"],
    )
    def test_a_change_in_a_tree_changes_it(self, tree: Path, change) -> None:
        before = artefacts.key_of([tree])
        change(tree)
        assert artefacts.key_of([tree]) != before

    def test_a_link_counts_with_its_target(self, tree: Path) -> None:
        keys = set()
        for target in ("README", "install.d"):
            (tree / "link").unlink(missing_ok=True)
            (tree / "link").symlink_to(target)
            keys.add(artefacts.key_of([tree]))
        assert len(keys) == 2

    def test_pythons_caches_and_a_umask_do_not_count(self, tree: Path) -> None:
        before = artefacts.key_of([tree])
        (tree / "__pycache__").mkdir()
        (tree / "__pycache__" / "a.pyc").write_bytes(b"\0")
        (tree / "README").chmod(0o600)
        assert artefacts.key_of([tree]) == before

    def test_borders_between_inputs_count(self, tree: Path) -> None:
        readme = tree / "README"
        inputs: list[list[artefacts.Input]] = [
            ["ab", "c"],
            ["a", "bc"],
            ["abc"],
            ["abc", ""],
            [b"abc"],
            [],
            [readme],
            [readme.read_bytes()],
            [readme.read_text()],
            [tree],
            [readme, tree / "install.d"],
        ]
        assert len({artefacts.key_of(these) for these in inputs}) == len(inputs)

    def test_a_missing_file_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(Error) as caught:
            artefacts.key_of([tmp_path / "none"])
        assert str(caught.value) == f"{tmp_path}/none: no such file or directory"


class TestCached:
    def test_it_is_built_once(self, cache: Path) -> None:
        first = artefacts.cached("thing", ["1"], write_result)
        assert (first / "result").read_text() == "built"
        assert first == cache / "thing" / artefacts.key_of(["1"])
        assert artefacts.cached("thing", ["1"], never) == first
        assert artefacts.cached("thing", ["2"], write_result) != first

    @pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, Error("no")])
    def test_a_failed_build_leaves_nothing(self, cache: Path, failure) -> None:
        def fail(target: Path) -> None:
            write_result(target)
            raise failure

        with pytest.raises(failure if isinstance(failure, type) else type(failure)):
            artefacts.cached("thing", ["1"], fail)
        assert [path.name for path in (cache / "thing").iterdir()] == [".lock"]
        assert (artefacts.cached("thing", ["1"], write_result) / "result").exists()

    def test_what_it_says(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO):
            path = artefacts.cached("thing", ["1"], write_result)
            artefacts.cached("thing", ["1"], never)
        assert caplog.messages == [
            "thing: building",
            f"thing: built in 0 s: {path}",
            f"thing: already built: {path}",
        ]


KILLED = """
    import sys, time
    from pathlib import Path
    from provision.lab import artefacts

    def build(target: Path) -> None:
        (target / "half").write_text("half")
        print("half done", flush=True)
        time.sleep(60)

    artefacts.cached("thing", ["other"], build)
"""


def test_a_killed_builders_remains_are_removed_by_the_next(cache: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KILLED)], stdout=subprocess.PIPE, text=True
    ) as builder:
        assert builder.stdout
        assert builder.stdout.readline() == "half done\n"
        builder.send_signal(signal.SIGKILL)
        builder.wait(10)
    left = cache / "thing" / (artefacts.key_of(["other"]) + artefacts.BUILDING)
    assert (left / "half").exists()

    artefacts.cached("thing", ["mine"], write_result)

    assert not left.exists()


@pytest.fixture
def held_lock(cache: Path) -> Iterator[Event]:
    """Hold the lock of `thing` as another builder would, until the event is set."""
    (cache / "thing").mkdir(parents=True)
    with (cache / "thing" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        free = Event()

        def release() -> None:
            free.wait(10)
            ready = cache / "thing" / artefacts.key_of(["1"])
            ready.mkdir()
            fcntl.flock(lock, fcntl.LOCK_UN)

        other = Thread(target=release)
        other.start()
        yield free
        free.set()
        other.join()


def test_a_second_builder_waits_says_so_and_takes_the_firsts_result(
    held_lock: Event, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def hear(message: str, *arguments: object) -> None:
        said.append(message % arguments)
        if "waiting" in message:
            held_lock.set()  # only now the first one finishes: without waiting, `never` is called

    monkeypatch.setattr(artefacts.LOG, "info", hear)
    path = artefacts.cached("thing", ["1"], never)
    assert path == cache / "thing" / artefacts.key_of(["1"])
    assert said == ["thing: another process is building one; waiting for it"]
