"""Keep one ssh connection to a node, and verify the host key that is pinned for it, always.

The key exchange offers the pinned key's type and no other, so a node cannot come with a second key;
nothing is ever learned from a node.
"""

import contextlib
import logging
import math
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import paramiko
from paramiko.pkey import PublicBlob, UnknownKeyType

from provision.services.host import HostError
from provision.services.node.answers import plain

LOG = logging.getLogger(__name__)
KEEPALIVE_S = 15
DEAD_AFTER_S = 60  # without an answer from the node's kernel
LARGEST_ANSWER_BYTES = 64 * 2**20
RSA = ["rsa-sha2-512", "rsa-sha2-256"]  # what an ssh-rsa key signs with today
DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
# how paramiko says that a private key file has a passphrase, or is none
LOCKED = (paramiko.PasswordRequiredException, TypeError)
UNUSABLE = (OSError, ValueError, paramiko.SSHException, UnknownKeyType)
# its threads report every broken connection; what matters of it is in our errors
TRANSPORT_LOG = "provision.services.node.ssh_connection.transport"
logging.getLogger(TRANSPORT_LOG).setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """How to reach a node and who logs in.

    :ivar host_key: `TYPE BASE64`, what the node has to prove it has.
    :ivar identity: private key file to use alone; None: the agent's keys and the default files.
    """

    name: str
    address: str
    port: int
    user: str
    host_key: str
    identity: Path | None = None

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return f"{self.address} port {self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a command on a node ended; `status` None: nobody knows, the connection was lost."""

    status: int | None
    output: bytes
    errors: bytes

    @property
    def last_words(self) -> str:
        """The last line of its errors."""
        text = plain(self.errors.decode(errors="replace")).strip()
        return text.splitlines()[-1].strip() if text else ""


class SshConnection:
    """One connection, opened when it is first needed and again when it was lost."""

    def __init__(self, login: Login, *, connect_timeout_s: float) -> None:
        """Take note of where to connect to; nothing happens yet.

        :param connect_timeout_s: for each of: TCP, banner, key exchange, one attempt to log in.
        """
        self._login = login
        self._limit_s = connect_timeout_s
        self._transport: paramiko.Transport | None = None

    def close(self) -> None:
        """End the connection, if there is one."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def run(self, command: str, stdin: bytes, *, what: str, timeout_s: float) -> Done:
        """Run a command in one channel: one round trip.

        :param what: names it in errors.
        :raises HostError: the node cannot be reached, or the command takes longer than it may.
        """
        deadline = time.monotonic() + timeout_s
        seen = "nothing"
        try:
            with contextlib.closing(self._session()) as channel:
                channel.settimeout(timeout_s)
                channel.exec_command(command)
                with contextlib.suppress(OSError):  # it may end without reading to the end
                    channel.sendall(stdin)
                    channel.shutdown_write()
                output = bytearray()
                for part in _parts(channel, deadline):
                    output += part
                    seen = f"{len(output)} bytes of its answer"
                    if len(output) > LARGEST_ANSWER_BYTES:
                        raise self._error(f"{what}: its answer does not end")
                return _done(channel, bytes(output), deadline)
        except TimeoutError as error:
            self.close()  # the channel is stuck: the next command gets a new connection
            raise self._error(
                f"{what} did not end within {timeout_s:g} seconds; {seen} had arrived"
            ) from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            self.close()
            raise self._error(f"the connection was lost during {what}: {_words(error)}") from error

    def _session(self) -> paramiko.Channel:
        """Open a channel, over a new connection when the one that was there is dead."""
        there = self._transport
        try:
            return self._open().open_session(timeout=self._limit_s)
        except (paramiko.SSHException, OSError, EOFError):
            if self._transport is not there:
                raise
            self.close()  # nothing was asked over it yet
            return self._open().open_session(timeout=self._limit_s)

    def _open(self) -> paramiko.Transport:
        if self._transport is None or not self._transport.is_active():
            self.close()
            self._transport = self._connect()
        return self._transport

    def _connect(self) -> paramiko.Transport:
        login = self._login
        LOG.debug("%s: connecting to %s as %s", login.name, login.place, login.user)
        try:
            connection = socket.create_connection((login.address, login.port), self._limit_s)
        except OSError as error:
            raise self._error(
                f"no connection to {login.place}: {_words(error)}",
                hint="is it up, and its sshd?",
            ) from error
        # an unplugged node is noticed by the kernel, not only at a command's time limit
        connection.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(DEAD_AFTER_S * 1000)
        )
        transport = paramiko.Transport(connection)
        transport.set_log_channel(TRANSPORT_LOG)
        # start_client has the limit; these would end the same wait in other words
        transport.banner_timeout = transport.handshake_timeout = 2 * self._limit_s
        transport.auth_timeout = self._limit_s
        try:
            self._verify(transport)
            self._log_in(transport)
        except BaseException:
            transport.close()
            connection.close()  # a transport that never started leaves it open
            raise
        transport.set_keepalive(KEEPALIVE_S)
        return transport

    def _verify(self, transport: paramiko.Transport) -> None:
        """Exchange keys, and go on with the pinned host key alone."""
        login = self._login
        kind = login.host_key.partition(" ")[0]
        try:
            transport.get_security_options().key_types = RSA if kind == "ssh-rsa" else [kind]
            transport.start_client(timeout=self._limit_s)
            if not transport.initial_kex_done:  # it returns when its time is up
                raise TimeoutError
            found = transport.get_remote_server_key()
        except ValueError as error:
            raise self._error(f"its pinned host key is of a kind nobody knows: {kind!r}") from error
        except paramiko.ssh_exception.IncompatiblePeer as error:
            raise self._error(
                f"{login.place} has no {kind} host key, but one is pinned",
                hint="somebody may be in between, or it was installed anew",
            ) from error
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise self._error(f"no ssh at {login.place}: {_words(error)}") from error
        if f"{found.get_name()} {found.get_base64()}" != login.host_key:
            raise self._error(
                f"{login.place} shows another host key than the pinned one",
                hint="somebody may be in between, or it was installed anew",
            )

    def _log_in(self, transport: paramiko.Transport) -> None:
        """Try the keys that OpenSSH would try, in its order."""
        tried = []
        reason = "no key to log in with"
        try:
            for label, key in self._keys():
                tried.append(label)
                try:
                    transport.auth_publickey(self._login.user, key)
                    return
                except paramiko.BadAuthenticationType as error:
                    reason = f"it takes {', '.join(error.allowed_types)} only"
                    break
                except paramiko.AuthenticationException:
                    reason = "it refused every key"
        except (paramiko.SSHException, EOFError, OSError) as error:
            reason = _words(error)
        raise self._error(
            f"nobody could log in as {self._login.user} at {self._login.place}: {reason}"
            + (f" (tried: {', '.join(tried)})" if tried else ""),
            hint="name a key file, or load its key into the agent",
        )

    def _keys(self) -> Iterator[tuple[str, paramiko.PKey]]:
        identity = self._login.identity
        if identity is not None:
            try:
                yield str(identity), paramiko.PKey.from_path(identity)
                return
            except LOCKED:
                pass  # the agent may have it open
            except UNUSABLE as error:
                raise self._error(f"key file {identity} cannot be used: {_words(error)}") from error
        wanted = _public_blob(identity) if identity is not None else None
        agent = paramiko.Agent()
        with contextlib.closing(agent):
            for key in agent.get_keys():
                if identity is None or key.asbytes() == wanted:
                    yield f"the agent's {key.comment or key.get_name()}", key
        for file in DEFAULT_KEYS if identity is None else ():
            path = Path.home() / ".ssh" / file
            # one that cannot be read, or needs a passphrase, is no error: another may do
            with contextlib.suppress(*LOCKED, *UNUSABLE):
                yield str(path), paramiko.PKey.from_path(path)

    def _error(self, message: str, hint: str | None = None) -> HostError:
        return HostError(f"{self._login.name}: {message}", hint=hint)


def _parts(channel: paramiko.Channel, deadline: float) -> Iterator[bytes]:
    """Receive output to its end.

    :raises TimeoutError: the deadline has passed.
    """
    while True:
        channel.settimeout(_left_s(deadline))
        part = channel.recv(2**16)
        if not part:
            return
        yield part


def _done(channel: paramiko.Channel, output: bytes, deadline: float) -> Done:
    errors = bytearray()
    channel.settimeout(_left_s(deadline))
    while part := channel.recv_stderr(2**16):
        errors += part
    if not channel.status_event.wait(_left_s(deadline)):
        raise TimeoutError
    status = channel.exit_status
    return Done(status=None if status < 0 else status, output=output, errors=bytes(errors))


def _left_s(deadline: float) -> float:
    left_s = deadline - time.monotonic()
    if left_s <= 0 or math.isnan(left_s):
        raise TimeoutError
    return left_s


def _public_blob(identity: Path) -> bytes | None:
    """Read the public half beside a private key file; None: there is none."""
    try:
        text = identity.with_name(f"{identity.name}.pub").read_text()
        blob: bytes = PublicBlob.from_string(text).key_blob
        return blob
    except (OSError, ValueError):
        return None


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer"
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (" ".join(plain(said).split()) or type(error).__name__).lower()
