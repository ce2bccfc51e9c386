"""Run imgprep and kill it, as kill -9 does, at one chosen point of its work.

A point is an event and how often it has to happen: `os.rename run-*/bundle 1`. Events are what
Python audits (files, directories, programs started) and each call into libguestfs. With `+SECONDS`
at its end the kill comes so much later: in the middle of a call that takes long. `A|B` is what
comes first of two.

    python killed.py POINT IMGPREP-ARGUMENT...
    python killed.py record:FILE IMGPREP-ARGUMENT...      write all events into FILE, kill nothing
"""

import os
import re
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import guestfs

RANDOM = re.compile(r"(run-|imgprep-|new-|tmp|accelerator\.json\.)[a-z0-9_]{8}")
STARRED = r"\1*"
FILES = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree", "ctypes.dlsym")
PLACES = ("imgprep/run-", "/.out.imgprep", "/appliance/saved/")
OTHER = ("fcntl.flock", "tempfile.mkdtemp")


class Points:
    """Count events and do what was asked for at one of them."""

    def __init__(self, wanted: str) -> None:
        self._seen: Counter[str] = Counter()
        self._record = wanted.removeprefix("record:") if wanted.startswith("record:") else None
        points, _, delay = wanted.partition("+")
        self._wanted = points.split("|")
        self._delay_s = float(delay or 0)
        self._events: list[str] = []
        self._busy = threading.local()

    def hit(self, event: str) -> None:
        """Take note of an event, and kill this process if it is the one."""
        self._seen[event] += 1
        point = f"{event} {self._seen[event]}"
        if self._record is not None:
            self._events.append(point)
        elif point in self._wanted and self._delay_s:
            threading.Timer(self._delay_s, kill).start()
        elif point in self._wanted:
            kill()

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take note of what Python audits, of our own doings alone."""
        if event == "subprocess.Popen":
            words = [word for word in arguments[1] if not str(word).startswith(("-", "json:"))]
            program = next(word for word in words if word in ("qemu-img", "qemu-io"))
            self.hit(f"start {program} {words[words.index(program) + 1]}")
        elif event in OTHER:
            self.hit(event)
        elif event == "socket.connect" and str(arguments[1]).endswith("/monitor"):
            self.hit("connect monitor")
        elif event in FILES:
            name = str(arguments[1] if event == "ctypes.dlsym" else arguments[0])
            if event in ("os.remove", "os.rmdir") and arguments[1] != -1:
                self.hit(f"{event} {RANDOM.sub(STARRED, name)} below")
            if name == "renameat2" or name.endswith("/out") or any(one in name for one in PLACES):
                last = "/".join(name.split("/")[-2:])
                self.hit(f"{event} {RANDOM.sub(STARRED, last)}")

    def finish(self) -> None:
        """Write down what was seen."""
        if self._record is not None:
            Path(self._record).write_text("\n".join(self._events) + "\n")


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def noted(points: Points, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        points.hit(f"guestfs.{name}")
        return method(*arguments, **options)

    call.__name__ = name
    return call


def main() -> None:
    points = Points(sys.argv[1])
    for name, method in vars(guestfs.GuestFS).items():
        if callable(method) and not name.startswith("_"):
            setattr(guestfs.GuestFS, name, noted(points, name, method))
    sys.addaudithook(points.audit)
    from imgprep import cli

    sys.argv[:2] = ["imgprep"]
    try:
        cli.main()
    finally:
        points.finish()


if __name__ == "__main__":
    main()
