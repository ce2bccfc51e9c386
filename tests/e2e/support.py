"""Run commands of the environment and ask nodes, for the end-to-end tests."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent
LAB = "e2e"
IMAGE_NAME = "debian-atomic"


def say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def run(
    *argv: str | Path,
    timeout_s: float = 120,
    ok: bool = True,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command of the environment in the lab's world; stderr is shown, stdout returned.

    :param env: variables beside this process's own.
    """
    words = [str(word) for word in argv]
    program = BIN / words[0]
    began = time.monotonic()
    done = subprocess.run(
        [str(program) if program.exists() else words[0], *words[1:]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env={**os.environ, **(env or {})},
    )
    say(f"{' '.join(words)[:150]}: status {done.returncode}, {time.monotonic() - began:.1f} s")
    if done.stderr:
        print(done.stderr, end="", flush=True)
    if ok:
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done


def run_json(*argv: str | Path, timeout_s: float = 120) -> Any:
    return json.loads(run(*argv, "-f", "json", timeout_s=timeout_s).stdout)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def wait_for(
    what: str, check: Callable[[], Any], *, timeout_s: float, interval_s: float = 2
) -> Any:
    """Call check until it returns something true; fail with what it returned last."""
    deadline = time.monotonic() + timeout_s
    while True:
        seen = check()
        if seen:
            return seen
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s:g} s, last saw {seen!r}"
        time.sleep(interval_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    private: Path
    public: Path


def order(key: Key, *, name: str, count: int, wait_s: int) -> list[str | Path]:
    """Word the seed's command: so many nodes with the sample image."""
    what = ["--flavor", "baremetal", "--image", IMAGE_NAME, "--count", str(count), "--name", name]
    return ["provision", "nodes", *what, "--ssh-key", key.public, "--wait", str(wait_s)]


class Shell:
    """Ask a node over `provision ssh`."""

    def __init__(self, key: Key) -> None:
        self._key = key

    def try_(
        self, node: str, command: str, timeout_s: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a command there, whatever comes of it; 255 also when a dying host never answers."""
        ask = ["provision", "ssh", "-i", self._key.private, node, "--", command]
        try:
            return run(*ask, ok=False, timeout_s=timeout_s)
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(ask, 255, "", f"no answer within {timeout_s:g} s")

    def __call__(self, node: str, command: str) -> str:
        done = self.try_(node, command)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def boot_id(self, node: str) -> str | None:
        done = self.try_(node, "cat /proc/sys/kernel/random/boot_id")
        return done.stdout.strip() if done.returncode == 0 else None

    def wait_for_boot(self, node: str, *, after: str, timeout_s: float = 600) -> None:
        """Wait until the node answers from another boot than the one given."""
        began = time.monotonic()
        wait_for(
            f"{node} is back",
            lambda: (now := self.boot_id(node)) and now != after,
            timeout_s=timeout_s,
            interval_s=5,
        )
        say(f"{node} is back after {time.monotonic() - began:.0f} s")
