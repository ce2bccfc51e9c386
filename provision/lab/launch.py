"""Become one of the lab's services: leave a record of the process, then turn into the program.

Who starts a process and then writes down its number can be interrupted in between, and some
programs (sshd) wipe the environment in which the lab's mark is. So the process itself writes the
record, before it becomes the program: until then it bears the mark, from then on it is on record.

libvirtd run by root has fixed directories (/run/libvirt, /var/lib/libvirt, /etc/libvirt, ...), sshd
a fixed /etc/shadow. A libvirtd that the host already has must not notice the lab, nor the lab it.
So each of the lab's programs that touches them gets a mount namespace of its own (unshare, before
this module starts) in which the lab's directories are mounted over those. The mounts go with their
last process.

Arguments: where the record goes, the service's fingerprint, SOURCE TARGET pairs to mount, `--`, and
the program with its own arguments.
"""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from atomic_baremetal.command import run
from atomic_baremetal.durable import write
from provision.lab.processes import Record, identify


def main(words: Sequence[str]) -> None:
    """Mount each source over its target, record this process, become the program."""
    split = words.index("--")
    (record, fingerprint, *pairs), program = words[:split], words[split + 1 :]
    for source, target in zip(pairs[::2], pairs[1::2], strict=True):
        if Path(source).is_dir():
            # some are made at boot by systemd-tmpfiles, which not every machine runs
            Path(target).mkdir(parents=True, exist_ok=True)
        run("mount", "--bind", source, target, timeout_s=20)
    process = identify(os.getpid())
    assert process is not None  # noqa: S101 - it is this one
    found = Record(process=process, fingerprint=fingerprint)
    write(Path(record), json.dumps(asdict(found)) + "\n")
    # what this command's caller had open (a lock, a pipe) must not stay open as long as the service
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.execvp(program[0], list(program))  # noqa: S606 - becoming the program is the point


if __name__ == "__main__":
    main(sys.argv[1:])
