"""Reach deployed hosts over ssh, and always verify the host key that was pinned for them.

Two ways: a probe that does no more than the key exchange (it needs no login, and proves that the
host has the private key), and OpenSSH's own client for people.
"""

import logging
import os
import socket
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NoReturn, Protocol

import paramiko

from atomic_baremetal.errors import Error
from provision.keys import HOST_KEY_TYPE
from provision.known_hosts import KnownHosts
from provision.node import ACTIVE, Node

LIMIT_S = 10.0  # of one probe; a machine under load takes seconds for its key exchange
AT_ONCE = 16


class SSHError(Error):
    """A host that cannot be reached over ssh in a trustworthy way."""


class Answer(StrEnum):
    """What a probe of a host found."""

    VERIFIED = "verified"
    NOT_YET = "not yet"
    WRONG_KEY = "wrong key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Hold the result of a probe; `saw` is for people."""

    answer: Answer
    saw: str


def probe(address: str, port: int, *, host_key: str, timeout_s: float = LIMIT_S) -> Probe:
    """Exchange keys with a host's ssh and compare its host key with the pinned one. Nobody logs in.

    :param host_key: `ssh-ed25519 BASE64`.
    """
    try:
        connection = socket.create_connection((address, port), timeout=timeout_s)
    except OSError as error:
        return Probe(answer=Answer.NOT_YET, saw=_words(error))
    transport = paramiko.Transport(connection)
    # its threads report every broken connection; while a machine boots that is no news
    transport.set_log_channel("provision.ssh.transport")
    logging.getLogger("provision.ssh.transport").setLevel(logging.CRITICAL)
    transport.banner_timeout = timeout_s
    try:
        transport.get_security_options().key_types = [HOST_KEY_TYPE]
        transport.start_client(timeout=timeout_s)
        found = transport.get_remote_server_key()
    except paramiko.ssh_exception.IncompatiblePeer:
        return Probe(
            answer=Answer.WRONG_KEY,
            saw=f"{address} port {port} has no {HOST_KEY_TYPE} host key, but one is pinned",
        )
    except (paramiko.SSHException, EOFError, OSError) as error:
        return Probe(answer=Answer.NOT_YET, saw=_words(error))
    finally:
        transport.close()
    if f"{found.get_name()} {found.get_base64()}" != host_key:
        return Probe(
            answer=Answer.WRONG_KEY,
            saw=f"{address} port {port} shows another host key than the pinned one",
        )
    return Probe(
        answer=Answer.VERIFIED, saw=f"the host key at {address} port {port} is the pinned one"
    )


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer"
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (" ".join(said.split()) or type(error).__name__).lower()


class Prober(Protocol):
    """Probe hosts without making anybody wait."""

    def ask(self, address: str, port: int, *, host_key: str) -> Probe | None:
        """Return the result of a finished probe, once; else None, and one runs."""


class BackgroundProber:
    """Be a Prober that runs each probe in a thread of a pool."""

    def __init__(self) -> None:
        """Make the pool; threads start with the first probes."""
        self._pool = ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="ssh-probe")
        self._running: dict[tuple[str, int, str], Future[Probe]] = {}

    def ask(self, address: str, port: int, *, host_key: str) -> Probe | None:
        """Return the result of a finished probe, once; else None, and one runs."""
        what = (address, port, host_key)
        running = self._running.get(what)
        if running is None:
            self._running[what] = self._pool.submit(probe, address, port, host_key=host_key)
            return None
        if not running.done():
            return None
        del self._running[what]
        return running.result()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Say where a host is, and under which alias its key is pinned."""

    address: str
    port: int
    alias: str


def target(name: str, node: Node | None, known_hosts: KnownHosts) -> Target:
    """Find out how to connect to a node.

    :param name: what the operator calls it.
    :param node: None: a claim without a node.
    :raises SSHError: nothing runs there, no address is known, or no host key is pinned.
    """
    if node is None or node.provision_state != ACTIVE:
        raise SSHError(
            f"{name} is not deployed: "
            + (f"node {node.label} is {node.provision_state!r}" if node else "it has no node"),
            hint="what is there: provision list",
        )
    if known_hosts.key(node.uuid) is None:
        raise SSHError(
            f"no host key of {name} is pinned in {known_hosts.path}",
            hint="it was not deployed from here, so it cannot be verified",
        )
    if node.address is None:
        raise SSHError(
            f"no address is known for node {node.label}",
            hint=f"openstack baremetal node set {node.label} --extra address=ADDRESS",
        )
    return Target(address=node.address, port=node.ssh_port, alias=node.uuid)


def argv(
    *,
    address: str,
    port: int,
    user: str,
    alias: str,
    known_hosts: Path,
    identity: Path | None = None,
    command: Sequence[str] = (),
) -> list[str]:
    """Write the OpenSSH command that connects to a host and trusts the pinned key alone."""
    options = {
        "HostKeyAlias": alias,
        "UserKnownHostsFile": f'"{known_hosts}"',  # quoted: a path may hold a space
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "CheckHostIP": "no",
        "UpdateHostKeys": "no",
        "VerifyHostKeyDNS": "no",
        "HostKeyAlgorithms": HOST_KEY_TYPE,
    }
    words = ["ssh", *(word for key, value in options.items() for word in ("-o", f"{key}={value}"))]
    if identity is not None:
        words += ["-o", "IdentitiesOnly=yes", "-i", str(identity)]
    return [*words, "-p", str(port), "-l", user, "--", address, *command]


def become(words: Sequence[str]) -> NoReturn:
    """Replace this process by a program: its exit status becomes ours.

    :raises SSHError: there is no such program.
    """
    try:
        os.execvp(words[0], list(words))  # noqa: S606 - no shell is the point
    except FileNotFoundError as error:
        raise SSHError(
            f"{words[0]}: no such program", hint="install OpenSSH's client: openssh-client"
        ) from error
