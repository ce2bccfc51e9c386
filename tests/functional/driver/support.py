"""Small helpers of the driver's functional tests."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

CI = bool(os.environ.get("CI"))


def need(*programs: str) -> None:
    """Skip on a laptop, fail in CI, when a program is missing."""
    missing = [name for name in programs if shutil.which(name, path=search_path()) is None]
    if os.geteuid() != 0:
        missing.append("root")
    if missing:
        (pytest.fail if CI else pytest.skip)(f"needs {', '.join(missing)}")


def search_path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def run(*argv: str, **options: Any) -> str:
    """Run a program of the test's own set-up."""
    return subprocess.run(
        argv, check=True, capture_output=True, text=True, timeout=60, **options
    ).stdout


def wait_for(condition: Callable[[], bool], what: str, limit_s: float = 20) -> None:
    """Wait for something of the test's set-up."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not in {limit_s} s")
        time.sleep(0.05)


def listens(port: int) -> bool:
    """Tell whether somebody listens on a port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
