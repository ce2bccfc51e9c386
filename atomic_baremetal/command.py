"""Run other programs: the one place of both command lines that starts them.

Every command is logged so that it can be pasted into a shell (docs/debugging.rst), and a failure
says in exact words what became of it: not found, killed by which signal, over its time, or which
exit status and last words.
"""

import logging
import os
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from atomic_baremetal.errors import CommandError

LOG = logging.getLogger(__name__)
LAST_WORDS = 3  # lines of stderr that an error carries


def run(
    *argv: str | Path,
    timeout_s: float,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    ok: Sequence[int] = (0,),
    hint: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return it, with stdout and stderr as text.

    :param argv: program and arguments; never a shell, never a secret (stdin or a file takes it).
    :param timeout_s: seconds; the program is killed when they have passed.
    :param env: added to this process's environment.
    :param ok: the exit statuses that are no error.
    :param hint: what to do when the program is missing or fails; for the error's reader.
    :raises CommandError: not found, killed, over its time, or an exit status that is not in ok.
    """
    words = [str(word) for word in argv]
    LOG.debug("+ %s", shlex.join(words))
    try:
        done = subprocess.run(
            words,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            env={**os.environ, **env} if env else None,
            cwd=cwd,
            check=False,
        )
    except FileNotFoundError as error:
        raise CommandError(
            f"{words[0]}: no such program", hint=hint or "install it: see bindep.txt"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(
            f"{words[0]} did not end within {timeout_s:g} seconds and was killed", hint=hint
        ) from error
    if done.returncode not in ok:
        raise CommandError(explain(words, done.returncode, done.stderr or done.stdout), hint=hint)
    return done


def explain(words: Sequence[str], returncode: int, said: str) -> str:
    """Word the end of a failed program: its name, how it ended, its last words."""
    if returncode < 0:
        try:
            how = f"was killed by {signal.Signals(-returncode).name}"
        except ValueError:
            how = f"was killed by signal {-returncode}"
    else:
        how = f"failed with status {returncode}"
    last = "; ".join(
        line.strip() for line in said.strip().splitlines()[-LAST_WORDS:] if line.strip()
    )
    return f"{words[0]} {how}" + (f": {last}" if last else "")
