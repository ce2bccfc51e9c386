"""Say where files go (XDG base directories)."""

import os
from pathlib import Path

NAME = "atomic-baremetal"


def cache() -> Path:
    """Return the directory of what can be made again: built images, verdicts on this machine."""
    return _base("XDG_CACHE_HOME", ".cache") / NAME


def state() -> Path:
    """Return the directory of what only this tool knows: labs, runs, pinned host keys."""
    return _base("XDG_STATE_HOME", ".local/state") / NAME


def _base(variable: str, default: str) -> Path:
    # a relative value is to be ignored, says the specification
    given = Path(os.environ.get(variable, ""))
    return given if given.is_absolute() else Path.home() / default
