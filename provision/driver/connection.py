"""Run virsh on a libvirt host over ssh.

The host's key must be in the node's ``ssh_known_hosts_file``; an unknown or changed one ends the
connection before any credential is sent.
"""

import contextlib
import dataclasses
import shlex
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import paramiko
from ironic.common import exception
from oslo_config import cfg
from oslo_log import log

from provision.driver import conf as _conf  # noqa: F401  (registers [ssh])

LOG = log.getLogger(__name__)
CONF = cfg.CONF

PROPERTIES = {
    "ssh_address": "Host name or IP address of the libvirt host. Required.",
    "ssh_port": "Port of its sshd. Optional, 22.",
    "ssh_username": "User to log in as; may run virsh. Required.",
    "ssh_password": "Password of the user. Required, unless ssh_key_filename is given.",
    "ssh_key_filename": "Private key file on the conductor. Required, unless ssh_password is.",
    "ssh_known_hosts_file": "File on the conductor that holds the host's key, as ssh's known_hosts "
    "does. Required.",
    "ssh_domain": "Name or UUID of the node's libvirt domain. Required.",
    "ssh_libvirt_uri": "libvirt's connection URI on that host. Optional, qemu:///system.",
}
_REQUIRED = ("ssh_address", "ssh_username", "ssh_known_hosts_file", "ssh_domain")

_slots: dict[tuple[str, int], threading.BoundedSemaphore] = {}
_slots_lock = threading.Lock()


class HypervisorError(exception.DriverOperationError):
    """The libvirt host could not be reached, or did not do what it was asked."""

    _msg_fmt = "libvirt host %(host)s: %(reason)s"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to reach a node's libvirt host. The password is in no text made of this."""

    address: str
    port: int
    username: str
    password: str | None = dataclasses.field(repr=False)
    key_filename: str | None
    known_hosts_file: str
    domain: str
    libvirt_uri: str

    @property
    def host(self) -> str:
        """Name the host in messages."""
        return f"{self.username}@{self.address}:{self.port}"


def access(node: Any) -> Access:
    """Read a node's driver_info.

    :raises MissingParameterValue: names every key that is missing.
    :raises InvalidParameterValue: a value that cannot be right, or a file that is not there.
    """
    info: Mapping[str, Any] = node.driver_info
    missing = [key for key in _REQUIRED if not info.get(key)]
    if not info.get("ssh_password") and not info.get("ssh_key_filename"):
        missing.append("ssh_password or ssh_key_filename")
    if missing:
        raise exception.MissingParameterValue(
            f"Node {node.uuid} lacks in its driver_info: {', '.join(missing)}"
        )
    if info.get("ssh_password") and info.get("ssh_key_filename"):
        raise exception.InvalidParameterValue(
            f"Node {node.uuid}: driver_info has both ssh_password and ssh_key_filename; give one"
        )
    for key in ("ssh_known_hosts_file", "ssh_key_filename"):
        if info.get(key) and not Path(info[key]).is_file():
            raise exception.InvalidParameterValue(
                f"Node {node.uuid}: driver_info/{key}: no such file on the conductor: {info[key]}"
            )
    return Access(
        address=str(info["ssh_address"]),
        port=_port(node),
        username=str(info["ssh_username"]),
        password=info.get("ssh_password"),
        key_filename=info.get("ssh_key_filename"),
        known_hosts_file=str(info["ssh_known_hosts_file"]),
        domain=_domain(node),
        libvirt_uri=str(info.get("ssh_libvirt_uri") or "qemu:///system"),
    )


def _port(node: Any) -> int:
    """Read ssh_port."""
    value = node.driver_info.get("ssh_port", 22)
    try:
        port = int(value)
    except (TypeError, ValueError):
        port = 0
    if not 0 < port < 65536:
        raise exception.InvalidParameterValue(
            f"Node {node.uuid}: driver_info/ssh_port is not a port: {value!r}"
        )
    return port


def _domain(node: Any) -> str:
    """Read ssh_domain; virsh would take a leading dash for an option."""
    domain = str(node.driver_info["ssh_domain"])
    if domain.startswith("-") or not domain.isprintable():
        raise exception.InvalidParameterValue(
            f"Node {node.uuid}: driver_info/ssh_domain is not a domain's name: {domain!r}"
        )
    return domain


class Virsh:
    """One connection to a libvirt host."""

    def __init__(self, client: paramiko.SSHClient, access: Access) -> None:
        self._client = client
        self._access = access

    def __call__(self, command: str, *arguments: str, stdin: str | None = None) -> str:
        """Run one virsh command and return its standard output.

        :param stdin: text for its standard input; never logged, a domain's XML has passwords.
        :raises HypervisorError: with virsh's own message, or after [ssh]command_timeout seconds.
        """
        line = shlex.join(
            ["env", "LC_ALL=C", "virsh", "-q", "-c", self._access.libvirt_uri, command, *arguments]
        )
        LOG.debug("%s: %s", self._access.host, line)
        try:
            status, stdout, stderr = self._run(line, stdin)
        except TimeoutError as error:
            raise self._error(
                f"virsh {command} did not answer in {CONF.ssh.command_timeout} s"
            ) from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise self._error(f"connection lost during virsh {command}: {error}") from error
        if status != 0:
            words = stderr.strip().removeprefix("error: ") or f"exit status {status}"
            raise self._error(f"virsh {command} failed: {' '.join(words.split())}")
        return stdout

    def _run(self, line: str, stdin: str | None) -> tuple[int, str, str]:
        """Run a shell line; every read has the time limit."""
        limit_s = CONF.ssh.command_timeout
        transport = self._client.get_transport()
        if transport is None:
            raise EOFError("closed")
        channel = transport.open_session(timeout=limit_s)
        with contextlib.closing(channel):
            channel.settimeout(limit_s)
            channel.exec_command(line)
            channel.sendall((stdin or "").encode())
            channel.shutdown_write()
            stdout = channel.makefile("rb").read().decode(errors="replace")
            stderr = channel.makefile_stderr("rb").read().decode(errors="replace")
            if not channel.status_event.wait(limit_s):
                raise TimeoutError
            return channel.recv_exit_status(), stdout, stderr

    def _error(self, reason: str) -> HypervisorError:
        """Name the host in an error."""
        return HypervisorError(host=self._access.host, reason=reason)


@contextlib.contextmanager
def connect(access: Access) -> Iterator[Virsh]:
    """Connect to a libvirt host; at most [ssh]max_connections at a time to each.

    :raises HypervisorError: no free slot, no connection, a host key that is not the expected one,
        or a login that was refused.
    """
    slot = _slot(access)
    if not slot.acquire(timeout=CONF.ssh.connect_timeout):
        raise HypervisorError(
            host=access.host,
            reason=f"all {CONF.ssh.max_connections} connections ([ssh]max_connections) were busy "
            f"for {CONF.ssh.connect_timeout} s",
        )
    try:
        client = paramiko.SSHClient()
        with contextlib.closing(client):
            _open(client, access)
            yield Virsh(client, access)
    finally:
        slot.release()


def _slot(access: Access) -> threading.BoundedSemaphore:
    """Find the counter of a host's connections."""
    with _slots_lock:
        return _slots.setdefault(
            (access.address, access.port), threading.BoundedSemaphore(CONF.ssh.max_connections)
        )


def _open(client: paramiko.SSHClient, access: Access) -> None:
    """Connect and log in, with the one credential that the node names."""
    limit_s = CONF.ssh.connect_timeout
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    try:
        client.load_host_keys(access.known_hosts_file)
        client.connect(
            access.address,
            port=access.port,
            username=access.username,
            password=access.password,
            key_filename=access.key_filename,
            timeout=limit_s,
            banner_timeout=limit_s,
            auth_timeout=limit_s,
            channel_timeout=limit_s,
            allow_agent=False,
            look_for_keys=False,
        )
    except paramiko.BadHostKeyException as error:
        raise HypervisorError(
            host=access.host,
            reason=f"its host key is not the one in {access.known_hosts_file}: somebody may be in "
            "between, or the host was installed anew",
        ) from error
    except paramiko.AuthenticationException as error:
        kind = "password" if access.password else f"key {access.key_filename}"
        raise HypervisorError(host=access.host, reason=f"login refused ({kind})") from error
    except paramiko.SSHException as error:
        reason = str(error)
        if "not found in known_hosts" in reason:
            reason = f"its host key is not in {access.known_hosts_file}"
        raise HypervisorError(host=access.host, reason=reason) from error
    except (OSError, EOFError) as error:
        raise HypervisorError(host=access.host, reason=f"cannot connect: {error}") from error
