"""Run the calls of libguestfs so that none of them can hang or outlive us."""

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from atomic_baremetal.errors import Error
from imgprep.precheck import ImageError
from imgprep.qemu_img import NO_SPACE, NoSpaceError

SESSION_S = 1800  # a file system made to hang its kernel must not hang us


class Machine:
    """Make all calls of one handle in one thread of its own.

    libguestfs keeps its errors by thread. And the main thread stays free: an interruption ends the
    machine at once instead of after the call, and a call that never returns has a limit.
    """

    def __init__(self, pool: Executor) -> None:
        self._pool = pool
        self.selected: str | None = None  # the disk that LVM sees, None for all
        self.mounted: tuple[object, object] | None = None  # as / and as /boot
        self._deadline = time.monotonic() + SESSION_S

    def call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Call a function of libguestfs.

        :raises ImageError: it failed, or the session has lasted too long.
        """
        return self.call_within(SESSION_S, function, *arguments, **options)

    def call_within(
        self, limit_s: float, function: Callable[..., Any], *arguments: Any, **options: Any
    ) -> Any:
        """Call a function of libguestfs that may take so long.

        :raises ImageError: it failed, or it or the session has lasted too long.
        """
        future = self._pool.submit(function, *arguments, **options)
        try:
            return future.result(min(limit_s, self._deadline - time.monotonic()))
        except RuntimeError as error:
            raise _translated(error) from error
        except UnicodeDecodeError as error:
            name = error.object.decode(errors="backslashreplace")
            raise ImageError(f"a name in the image is no UTF-8: {name!r}") from error
        except TimeoutError as error:
            _kill_qemu()
            raise ImageError(
                f"the appliance was not done within {limit_s:g} seconds and was ended",
                hint="a damaged or hostile file system can do that",
            ) from error
        except BaseException:
            _kill_qemu()
            raise

    def close(self, handle: Any) -> None:
        """Close a handle, which ends its machine if that still runs."""
        self._pool.submit(handle.close).result()


def _translated(error: RuntimeError) -> Error:
    # what follows is advice on how to debug libguestfs, ten lines of it
    said = " ".join(str(error).partition("This usually means")[0].split())
    if NO_SPACE in said:
        return NoSpaceError("the disk is full", hint="free some space and try again")
    if "guestfs_launch" in said:
        return ImageError(
            f"libguestfs' appliance does not start: {said}",
            hint="run libguestfs-test-tool to see why",
        )
    return ImageError(f"the appliance failed: {said}", hint="--debug shows more")


def _kill_qemu() -> None:
    """End our machine, also while it is launched: libguestfs tells its process id only then."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, _, rest = status.read_text().partition(" (")
        except OSError:
            continue  # it ended meanwhile
        name, _, fields = rest.rpartition(") ")
        if name.startswith("qemu-system") and int(fields.split()[1]) == os.getpid():
            os.kill(int(pid), signal.SIGKILL)
