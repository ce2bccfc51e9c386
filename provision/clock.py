"""Tell and pass the time; a test passes it faster."""

import time
from typing import Protocol


class Clock(Protocol):
    """Measure seconds from any fixed point."""

    def now(self) -> float:
        """Return the seconds since that point."""

    def sleep(self, seconds: float) -> None:
        """Let so many seconds pass."""


class SystemClock:
    """Be the machine's own clock."""

    def now(self) -> float:
        """Return the monotonic clock's seconds."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)
