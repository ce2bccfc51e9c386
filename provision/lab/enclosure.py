"""Run a program with the lab's directories in the place of the system's.

libvirtd run by root has fixed directories (/run/libvirt, /var/lib/libvirt, /etc/libvirt, ...), sshd
a fixed /etc/shadow. A libvirtd that the host already has must not notice the lab, nor the lab it.
So each of the lab's programs that touches them gets a mount namespace of its own (unshare, before
this module starts) in which the lab's directories are mounted over those. The mounts go with their
last process.

Arguments: SOURCE TARGET pairs, then `--`, then the program and its own arguments.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from atomic_baremetal.command import run


def main(words: Sequence[str]) -> None:
    """Mount each source over its target, then become the program."""
    split = words.index("--")
    pairs, program = words[:split], words[split + 1 :]
    for source, target in zip(pairs[::2], pairs[1::2], strict=True):
        if Path(source).is_dir():
            # some are made at boot by systemd-tmpfiles, which not every machine runs
            Path(target).mkdir(parents=True, exist_ok=True)
        run("mount", "--bind", source, target, timeout_s=20)
    os.execvp(program[0], list(program))  # noqa: S606 - becoming the program is the point


if __name__ == "__main__":
    main(sys.argv[1:])
