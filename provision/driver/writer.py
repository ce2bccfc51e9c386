"""Write an image to an iSCSI target, and look into an image, with qemu-img.

qemu speaks iSCSI by itself (libiscsi): the conductor needs no kernel initiator, and no privilege.
The image's format is always given: what an image says of itself is never asked.
"""

import contextlib
import dataclasses
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ironic.common import exception, utils
from oslo_concurrency import processutils
from oslo_config import cfg

from provision.driver import conf as _conf  # noqa: F401  (registers [iscsi])
from provision.driver.iscsi_target import LOGICAL_UNIT, Target

CONF = cfg.CONF

PROBE_LIMIT_S = 60
# libiscsi gives a request up after this long. A disk's longest retries are shorter.
REQUEST_LIMIT_S = 300
_PROBED_BYTES = 1 << 20
_TIMED_OUT = 124  # timeout(1)
_LVM_LABEL_SECTORS = 4
_SECTOR_BYTES = 512


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a base holds. filesystem_uuid: None when it is no plain file system with a UUID."""

    lvm: bool
    filesystem_uuid: str | None


def virtual_size_bytes(path: Path, disk_format: str) -> int:
    """Measure an image as a machine would see it."""
    report = _run(PROBE_LIMIT_S, "qemu-img", "info", "-f", disk_format, "--output=json", str(path))
    return int(json.loads(report)["virtual-size"])


def probe(path: Path, disk_format: str) -> Content:
    """Look at the first MiB of a base: LVM2 physical volume, or file system with a UUID."""
    with tempfile.TemporaryDirectory(dir=CONF.tempdir) as directory:
        head = Path(directory) / "head"
        size = f"count={_PROBED_BYTES // 4096}"
        arguments = ("bs=4096", size, f"if={path}", f"of={head}")
        _run(PROBE_LIMIT_S, "qemu-img", "dd", "-f", disk_format, "-O", "raw", *arguments)
        if is_lvm(head.read_bytes()):
            return Content(lvm=True, filesystem_uuid=None)
        # Some of libblkid's checks want the whole size: the rest is a hole.
        os.truncate(head, virtual_size_bytes(path, disk_format))
        # 2: nothing that it knows.
        options = ("-p", "-u", "filesystem", "-s", "UUID", "-o", "value")
        uuid = _run(PROBE_LIMIT_S, "blkid", *options, str(head), codes=(0, 2)).strip()
    return Content(lvm=False, filesystem_uuid=uuid or None)


def is_lvm(head: bytes) -> bool:
    """Tell whether bytes are the beginning of an LVM2 physical volume.

    The label lies in one of the first four sectors (lvm2, lib/label/label.h).
    """
    sectors = (head[n * _SECTOR_BYTES :] for n in range(_LVM_LABEL_SECTORS))
    return any(s.startswith(b"LABELONE") and s[24:32] == b"LVM2 001" for s in sectors)


@contextlib.contextmanager
def session(target: Target) -> Iterator["Session"]:
    """Hold the target's password in a private file for the time of the context."""
    with tempfile.TemporaryDirectory(dir=CONF.tempdir) as directory:  # mode 0700
        secret = Path(directory) / "chap"
        descriptor = os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(target.password)
        yield Session(target, Path(directory))


class Session:
    """Writes to one target."""

    def __init__(self, target: Target, directory: Path) -> None:
        self._target = target
        self._directory = directory

    def write_image(
        self, path: Path, disk_format: str, *, start_bytes: int, size_bytes: int
    ) -> None:
        """Write an image's allocated ranges into a range of the disk that reads as zeros.

        :param size_bytes: of the range; at least the image's virtual size.
        :raises InstanceDeployFailure: with qemu-img's own words, or after [iscsi]write_timeout.
        """
        secret = ("--object", f"secret,id=chap,file={self._directory / 'chap'}")
        # Holes are not written: --target-is-zero holds because the ramdisk zeroed the range.
        how = ("-n", "--target-is-zero", "-W", "-m", "8", "-t", "none")
        where = f"driver=raw,offset={start_bytes},size={size_bytes},{self._options()}"
        _run(
            CONF.iscsi.write_timeout,
            *("qemu-img", "convert", *secret, *how, "-f", disk_format, str(path)),
            *("--target-image-opts", where),
        )

    def write_bytes(self, content: bytes, *, start_bytes: int) -> None:
        """Write bytes at a place of the disk that reads as zeros."""
        path = self._directory / "content"
        path.write_bytes(content)
        self.write_image(path, "raw", start_bytes=start_bytes, size_bytes=len(content))

    def _options(self) -> str:
        """Describe the target to qemu."""
        target = self._target
        options = {
            "driver": "iscsi",
            "transport": "tcp",
            "portal": target.portal,
            "target": target.iqn,
            "lun": LOGICAL_UNIT,
            "user": target.user,
            "password-secret": "chap",
            "timeout": REQUEST_LIMIT_S,
        }
        return ",".join(f"file.{key}={value}" for key, value in options.items())


def _run(limit_s: int, *argv: str, codes: tuple[int, ...] = (0,)) -> str:
    """Run a program with limits of time and memory, and return its standard output.

    :raises InstanceDeployFailure: says the program, and its own last words.
    """
    memory = processutils.ProcessLimits(
        address_space=CONF.disk_utils.image_convert_memory_limit << 20
    )
    options: dict[str, Any] = {"prlimit": memory, "check_exit_code": list(codes)}
    # qemu and libiscsi keep an arena a thread otherwise, which counts against the limit.
    environment = {**os.environ, "LC_ALL": "C", "MALLOC_ARENA_MAX": "3"}
    limited = ("timeout", "--kill-after=10", str(limit_s), *argv)
    try:
        stdout, _ = utils.execute(*limited, env_variables=environment, **options)
    except processutils.ProcessExecutionError as error:
        program = " ".join(argv[:2]) if argv[0] == "qemu-img" else argv[0]
        words = " ".join((error.stderr or error.stdout or "").split()) or "no message"
        reason = f"{program} failed with status {error.exit_code}: {words}"
        if error.exit_code == _TIMED_OUT:
            reason = f"{program} was not done in {limit_s} s"
        elif "Unknown driver 'iscsi'" in words or "Unknown protocol 'iscsi'" in words:
            reason += " (this conductor's qemu-img lacks iSCSI: Debian has it in qemu-block-extra)"
        raise exception.InstanceDeployFailure(reason=reason) from error
    return str(stdout)
