"""Say what failed, on what, and what to do next.

Library code raises; only :mod:`atomic_baremetal.cli` turns an error into a line on stderr and
an exit status.
"""

from collections.abc import Sequence


class Error(Exception):
    """Report a failure that the operator can act on.

    :param message: one sentence: what failed, on what.
    :param hint: what to do next; None when the message already says it.
    :param further: more that is wrong with the same thing, each a line of its own.
    """

    def __init__(
        self, message: str, *, hint: str | None = None, further: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.further = tuple(further)

    @property
    def lines(self) -> tuple[str, ...]:
        """What to show, line by line."""
        return (f"{self.message} ({self.hint})" if self.hint else self.message, *self.further)

    def __str__(self) -> str:
        return "\n".join(self.lines)


class CommandError(Error):
    """A program could not be run, was killed, ran out of time or failed."""


class CloudError(Error):
    """A service of the cloud refused, failed, or could not be reached."""
