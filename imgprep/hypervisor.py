"""Have libguestfs start qemu our way: through `imgprep.start_qemu`, with what that is to do."""

import json
import os
import platform
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from atomic_baremetal import durable, paths
from imgprep import qemu_img, start_qemu, unpacked_kernel
from imgprep.precheck import ImageFormat


@contextmanager
def instead_of(
    qemu: str, appliance: Path, *, saving: Path | None = None, resuming: Path | None = None
) -> Iterator[Path | None]:
    """Give what to start in the place of qemu while the context lasts; None to start qemu itself.

    :param appliance: the directory that libguestfs boots from; it need not be there yet.
    :param saving: a directory to make ready for the appliance to be saved in.
    :param resuming: a directory that an appliance was saved in, to go on with it.
    """
    if platform.machine() != "x86_64" or shutil.which("setpriv") is None:
        yield None
        return
    try:
        file = (appliance / "kernel").open("rb")
    except OSError:
        yield None  # the appliance is being built for the first time
        return
    with file:
        unpacked = unpacked_kernel.cached(file.read(unpacked_kernel.LIMIT_BYTES))
        if unpacked is None:
            yield None
            return
        if saving is not None:
            root = appliance / "root"
            qemu_img.create_overlay(saving / start_qemu.ROOT, of=root, of_format=ImageFormat.RAW)
        os.environ[start_qemu.SETTINGS] = json.dumps(
            {
                "qemu": qemu,
                "packed": f"/proc/{os.getpid()}/fd/{file.fileno()}",
                "unpacked": str(unpacked),
                "saving": saving and str(saving),
                "resuming": resuming and str(resuming),
            }
        )
        script = paths.cache() / "appliance" / "qemu"
        words = shlex.join([sys.executable, "-I", "-S", start_qemu.__file__])
        durable.write(script, f'#!/bin/sh\nexec {words} "$@"\n', mode=0o700)
        yield script
