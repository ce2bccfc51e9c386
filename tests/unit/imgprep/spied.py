"""Run imgprep on images and tell what it ran: `python -m tests.unit.imgprep.spied DIRECTORY`.

Each image of the current directory is given to each command in a process of its own, which may use
2 seconds of processor and 256 MB of memory and notes whatever would start another program. Prints a
list of JSON objects.
"""

import json
import os
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

from imgprep import cli

CPU_S = 2
MEMORY_BYTES = 256_000_000
STARTS = (
    *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork"),
    *("os.forkpty", "os.startfile", "pty.spawn"),
)
COMMANDS = (["inspect"], ["atomic-to-pxe", "-o", "bundle"], ["atomic-to-pxe", "--dry-run"])


def child(arguments: list[str], said: int, started: int) -> None:
    """Run one command; its output goes to `said`, what it starts to `started`."""
    sys.argv = ["imgprep", *arguments]
    os.dup2(said, 1)
    os.dup2(said, 2)

    def note(event: str, values: tuple[Any, ...]) -> None:
        if event in STARTS:
            os.write(started, f"{event} {values[:2]!r}\n".encode())

    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    sys.addaudithook(note)
    cli.main()


def spy(arguments: list[str]) -> dict[str, Any]:
    """Run one command in a process of its own."""
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as started:
        pid = os.fork()
        if pid == 0:
            status = 70  # a traceback
            try:
                child(arguments, said.fileno(), started.fileno())
            except SystemExit as end:
                status = int(end.code or 0)
            except BaseException:
                sys.excepthook(*sys.exc_info())
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        _, status, used = os.wait4(pid, 0)
        return {
            "arguments": arguments,
            "status": os.waitstatus_to_exitcode(status),
            "said": (said.seek(0), said.read().decode())[1],
            "started": (started.seek(0), started.read().decode())[1],
            "cpu_s": used.ru_utime + used.ru_stime,
            "rss_bytes": used.ru_maxrss * 1024,
        }


if __name__ == "__main__":
    images = sorted(path.name for path in Path().iterdir())
    print(json.dumps([spy([*command, image]) for image in images for command in COMMANDS]))
