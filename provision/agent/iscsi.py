"""Export the node's root disk over iSCSI, for the time of one deployment.

Runs inside the deploy ramdisk, as an extension of ironic-python-agent. The conductor (deploy
interface ``iscsi``) calls, in this order:

``iscsi.zero``                 make the places that will be read back as zeros really hold zeros;
``iscsi.start_iscsi_target``   offer the disk, to one address, behind a one-time password;
``iscsi.stop_iscsi_target``    stop that, and have the kernel read the new partition table;
``iscsi.write_config_drive``   add the config drive's partition.

Every command may be repeated: a conductor that lost an answer asks again.

Glossary. *Target*: the iSCSI server, here tgtd, a user-space program. *Initiator*: its client.
*Portal*: address and port that the target listens on. *IQN*: a target's name. *CHAP*: a login
in which the password itself never crosses the network.
"""

import hashlib
import hmac
import ipaddress
import os
import re
import time
from collections.abc import Mapping
from typing import Any

from ironic_python_agent import errors, hardware, partition_utils, utils
from ironic_python_agent.extensions import base
from oslo_concurrency import processutils
from oslo_log import log

LOG = log.getLogger(__name__)

# A control socket of our own: a tgtd that the ramdisk's distribution started is not ours to stop.
CONTROL_SOCKET = "/run/ironic-iscsi.sock"
TARGET_ID = "1"
LOGICAL_UNIT = "1"
ANSWER_LIMIT_S = 10

_IQN = re.compile(r"iqn\.\d{4}-\d{2}\.[a-z0-9.-]+(:[a-z0-9.:-]+)?")
_NONCE = re.compile(r"[0-9a-f]{32,}")
_USER = re.compile(r"[A-Za-z0-9_-]{1,32}")


def chap_password(agent_token: str, nonce: str) -> str:
    """Derive the target's password from what the agent and the conductor both know.

    Neither side sends it. The agent logs the arguments of its commands, so they carry the nonce
    alone. The conductor's copy of this function is in provision/driver/iscsi_target.py.

    :returns: 32 hexadecimal digits (128 bits).
    """
    message = f"iscsi-chap:{nonce}".encode()
    return hmac.new(agent_token.encode(), message, hashlib.sha256).hexdigest()[:32]


class ISCSIExtension(base.BaseAgentExtension):
    """The commands ``iscsi.*`` of the agent."""

    @base.async_command("zero")
    def zero(self, *, head_bytes: int, tail_bytes: int) -> dict[str, Any]:
        """Make the first and the last bytes of the root disk read as zeros.

        The conductor then writes only what its image has allocated. The head covers the partition
        table and the root partition; the tail covers what lies at the end of a disk and would
        speak for it again: a backup GPT, RAID metadata, a former lease's config drive.

        Asynchronous: on a disk without offload the kernel writes every byte, which outlasts the
        time that the agent's HTTP server gives a synchronous command.

        :param head_bytes: multiple of 1 MiB.
        :param tail_bytes: multiple of 1 MiB.
        :returns: device, size_bytes, sector_size_bytes, seconds.
        :raises CommandExecutionError: the disk is too small, or could not be zeroed.
        """
        started = time.monotonic()
        self._tear_down()
        device = _root_device()
        size_bytes = _size_bytes(device)
        head_bytes, tail_bytes = int(head_bytes), int(tail_bytes)
        if min(head_bytes, tail_bytes) < 0 or head_bytes + tail_bytes > size_bytes:
            raise errors.CommandExecutionError(
                f"disk {device} of {size_bytes} bytes is too small: the image needs {head_bytes}, "
                f"the end of the disk {tail_bytes} more"
            )
        sector_size_bytes = int(_run("blockdev", "--getss", device))
        tail_start_bytes = (size_bytes - tail_bytes) // sector_size_bytes * sector_size_bytes
        _zero(device, 0, head_bytes)
        _zero(device, tail_start_bytes, size_bytes - tail_start_bytes)
        return {
            "device": device,
            "size_bytes": size_bytes,
            "sector_size_bytes": sector_size_bytes,
            "seconds": round(time.monotonic() - started, 1),
        }

    @base.sync_command("start_iscsi_target")
    def start_iscsi_target(
        self,
        *,
        iqn: str,
        portal_address: str,
        portal_port: int,
        initiator_address: str,
        chap_user: str,
        chap_nonce: str,
    ) -> dict[str, Any]:
        """Offer the root disk as logical unit 1 of a fresh target.

        A target left by a former attempt is torn down first.

        :param portal_address: the agent's own address, the only one listened on.
        :param initiator_address: the only address that may log in.
        :param chap_nonce: see :func:`chap_password`.
        :returns: iqn, device, size_bytes.
        :raises InvalidCommandParamsError: an argument that is not what its name says.
        :raises CommandExecutionError: no agent token, or tgtd does not start.
        """
        portal = _portal(portal_address, portal_port)
        _check_arguments(iqn, initiator_address, chap_user, chap_nonce)
        token = getattr(self.agent, "agent_token", None)
        if not token:
            raise errors.CommandExecutionError(
                "the agent has no token, so there is no secret to protect the disk's export with"
            )
        device = _root_device()
        size_bytes = _size_bytes(device)
        self._tear_down()
        try:
            _run("tgtd", "--iscsi", f"portal={portal}", env=_environment())
            _wait_for_answer(True)
            _check_portal(portal)
            _create_target(iqn, device, chap_user, chap_password(token, chap_nonce))
            # Last, because a target without an address bound to it accepts nobody.
            _tgtadm("bind", "target", "--tid", TARGET_ID, "-I", initiator_address)
        except errors.CommandExecutionError:
            self._tear_down()
            raise
        return {"iqn": iqn, "device": device, "size_bytes": size_bytes}

    @base.sync_command("stop_iscsi_target")
    def stop_iscsi_target(self) -> dict[str, Any]:
        """Stop the export, flush the disk and read its partition table again.

        :returns: device.
        :raises CommandExecutionError: tgtd does not stop, or the kernel keeps the old table.
        """
        self._tear_down()
        device = _root_device()
        _run("sync")
        _run("blockdev", "--flushbufs", device)
        _run("partprobe", device, attempts=5)
        return {"device": device}

    @base.async_command("write_config_drive")
    def write_config_drive(self, *, configdrive: str, node_uuid: str) -> dict[str, Any]:
        """Write the config drive into a partition of its own, labelled config-2.

        The argument's name is one that the agent leaves out of its log.

        :param configdrive: gzipped and base64-encoded content, or a URL of it.
        :returns: device.
        :raises DeploymentError: from the agent's own code, which does the work.
        """
        device = _root_device()
        partition_utils.create_config_drive_partition(node_uuid, device, configdrive)
        _run("sync")
        return {"device": device}

    def _tear_down(self) -> None:
        """End our tgtd, with whoever is logged in; do nothing when there is none."""
        if not _answers():
            return
        # 22: no such target: a start that failed half way.
        _tgtadm("delete", "target", "--tid", TARGET_ID, "--force", codes=(0, 22))
        _tgtadm("delete", "system")
        _wait_for_answer(False)


def _create_target(iqn: str, device: str, user: str, password: str) -> None:
    """Create the target, its logical unit and its account; nobody may connect yet.

    tgtadm takes the password only as an argument, and has no file or standard input for it. In
    the ramdisk only the agent and root's own daemons could read it there, and for milliseconds;
    it is one deployment's. oslo masks it in logs and errors by the option's name.
    """
    _tgtadm("new", "target", "--tid", TARGET_ID, "--targetname", iqn)
    _tgtadm("new", "account", "--user", user, "--password", password)
    _tgtadm("bind", "account", "--tid", TARGET_ID, "--user", user)
    _tgtadm("new", "logicalunit", "--tid", TARGET_ID, "--lun", LOGICAL_UNIT, "-b", device)


def _check_portal(portal: str) -> None:
    """Make sure that tgtd listens: it says nothing and goes on when the port is taken.

    :raises CommandExecutionError: nobody listens.
    """
    if f"Portal: {portal}," not in _tgtadm("show", "portal"):
        raise errors.CommandExecutionError(f"tgtd cannot listen on {portal}: is the port taken?")


def _root_device() -> str:
    """Name the disk that the node's root device hints (or the agent's own guess) choose."""
    return str(hardware.dispatch_to_managers("get_os_install_device", permit_refresh=True))


def _size_bytes(device: str) -> int:
    """Measure a block device; its stat says 0."""
    descriptor = os.open(device, os.O_RDONLY)
    try:
        return os.lseek(descriptor, 0, os.SEEK_END)
    finally:
        os.close(descriptor)


def _zero(device: str, start_bytes: int, length_bytes: int) -> None:
    """Have the kernel write zeros, by the disk's own command for it where there is one.

    -z and not a plain discard: after a discard a disk may answer with anything.
    """
    if length_bytes:
        _run("blkdiscard", "-f", "-z", "-o", str(start_bytes), "-l", str(length_bytes), device)


def _portal(address: str, port: int) -> str:
    """Write an address and port as tgtd's option wants it."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError as error:
        raise errors.InvalidCommandParamsError(f"portal_address: {error}") from error
    if not 0 < int(port) < 65536:
        raise errors.InvalidCommandParamsError(f"portal_port: {port} is not a port")
    return f"[{parsed}]:{int(port)}" if parsed.version == 6 else f"{parsed}:{int(port)}"


def _check_arguments(iqn: str, initiator_address: str, chap_user: str, chap_nonce: str) -> None:
    """Refuse what tgtadm would read as something else ("ALL" is an address to it)."""
    try:
        ipaddress.ip_address(initiator_address)
    except ValueError as error:
        raise errors.InvalidCommandParamsError(f"initiator_address: {error}") from error
    checks = (("iqn", _IQN, iqn), ("chap_user", _USER, chap_user))
    for name, pattern, value in (*checks, ("chap_nonce", _NONCE, chap_nonce)):
        if not pattern.fullmatch(value):
            raise errors.InvalidCommandParamsError(f"{name}: not valid: {value!r}")


def _environment() -> dict[str, str]:
    """Point tgtd and tgtadm to our control socket."""
    return {**os.environ, "LC_ALL": "C", "TGT_IPC_SOCKET": CONTROL_SOCKET}


def _tgtadm(operation: str, mode: str, *options: str, codes: tuple[int, ...] = (0,)) -> str:
    """Give tgtd one order, through its control program."""
    argv = ("tgtadm", "--lld", "iscsi", "--op", operation, "--mode", mode, *options)
    return _run(*argv, env=_environment(), check_exit_code=list(codes))


def _answers() -> bool:
    """Tell whether a tgtd listens on our control socket."""
    argv = ("tgtadm", "--lld", "iscsi", "--op", "show", "--mode", "target")
    try:
        utils.execute(*argv, env_variables=_environment(), log_stdout=False)
    except processutils.ProcessExecutionError:
        return False
    return True


def _wait_for_answer(wanted: bool) -> None:
    """Wait until tgtd answers, or no longer does.

    :raises CommandExecutionError: after ANSWER_LIMIT_S seconds.
    """
    deadline = time.monotonic() + ANSWER_LIMIT_S
    while _answers() is not wanted:
        if time.monotonic() > deadline:
            verb = "start" if wanted else "stop"
            raise errors.CommandExecutionError(f"tgtd did not {verb} in {ANSWER_LIMIT_S} s")
        time.sleep(0.1)


def _run(*argv: str, env: Mapping[str, str] | None = None, **options: Any) -> str:
    """Run a program of the ramdisk and return what it wrote to standard output.

    :raises CommandExecutionError: says the program, its status and its own last words.
    """
    try:
        stdout, _ = utils.execute(
            *argv, env_variables=env or {**os.environ, "LC_ALL": "C"}, **options
        )
    except processutils.ProcessExecutionError as error:
        words = (error.stderr or error.stdout or "no message").strip()
        raise errors.CommandExecutionError(
            f"{argv[0]} failed with status {error.exit_code}: {words}"
        ) from None
    except FileNotFoundError:
        raise errors.CommandExecutionError(f"{argv[0]} is not in the ramdisk") from None
    return str(stdout)
