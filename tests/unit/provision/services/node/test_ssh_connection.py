"""Try the connection to nodes against a server that can be told how to fail."""

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import paramiko
import pytest

from provision.services.host import HostError
from provision.services.node.ssh_connection import Login, SshConnection

HOST_KEYS = {"rsa": paramiko.RSAKey.generate(2048), "ecdsa": paramiko.ECDSAKey.generate()}
MY_KEY = paramiko.ECDSAKey.generate()
Command = Callable[[paramiko.Channel, bytes], None]


def reply(channel: paramiko.Channel, _: bytes) -> None:
    """Send back what comes in."""
    while part := channel.recv(2**16):
        channel.sendall(part)
    channel.sendall_stderr(b"done\n")
    channel.send_exit_status(3)
    channel.close()


def hang(channel: paramiko.Channel, _: bytes) -> None:
    """Say a little, and then nothing."""
    channel.sendall(b"1234")


def drop(channel: paramiko.Channel, _: bytes) -> None:
    """Be cut off."""
    channel.sendall(b"1234")
    time.sleep(0.1)
    channel.get_transport().close()


def refuse(channel: paramiko.Channel, _: bytes) -> None:
    """End without reading what comes in."""
    time.sleep(0.1)  # sshd answers the request before its command ends
    channel.sendall_stderr(b"sudo: a password is required\n")
    channel.send_exit_status(1)
    channel.close()


def flood(channel: paramiko.Channel, _: bytes) -> None:
    """Never end."""
    with contextlib.suppress(Exception):  # whatever paramiko makes of a client that left
        while True:
            channel.sendall(bytes(2**20))


@dataclass
class Server(paramiko.ServerInterface):
    """An ssh server that keeps count."""

    command: Command = reply
    takes: paramiko.PKey | None = MY_KEY
    connections: int = 0
    commands: list[bytes] = field(default_factory=list)
    transports: list[paramiko.Transport] = field(default_factory=list)

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        good = username == "ops" and key == self.takes
        return paramiko.AUTH_SUCCESSFUL if good else paramiko.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self.commands.append(command)
        threading.Thread(target=self.command, args=(channel, command), daemon=True).start()
        return True

    def serve(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                self.connections += 1
                # in a thread of its own: one that went away must not keep the next one waiting
                threading.Thread(target=self.welcome, args=(connection,), daemon=True).start()

    def welcome(self, connection: socket.socket) -> None:
        transport = paramiko.Transport(connection)
        self.transports.append(transport)
        transport.set_log_channel("provision.services.node.ssh_connection.transport")
        for key in HOST_KEYS.values():
            transport.add_server_key(key)
        with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
            transport.start_server(server=self)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


@pytest.fixture
def server(listener: socket.socket) -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.serve, args=(listener,), daemon=True)
    thread.start()
    yield made
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()
    for transport in made.transports:
        transport.close()


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    MY_KEY.write_private_key_file(str(tmp_path / "key"))
    return tmp_path / "key"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    return tmp_path / "home"


def public(kind: str) -> str:
    key = HOST_KEYS[kind]
    return f"{key.get_name()} {key.get_base64()}"


@contextlib.contextmanager
def connect(
    listener: socket.socket,
    *,
    host_key: str | None = None,
    identity: Path | None = None,
    user: str = "ops",
) -> Iterator[SshConnection]:
    login = Login(
        name="node-1",
        address="127.0.0.1",
        port=listener.getsockname()[1],
        user=user,
        host_key=public("ecdsa") if host_key is None else host_key,
        identity=identity,
    )
    connection = SshConnection(login, connect_timeout_s=30)
    try:
        yield connection
    finally:
        connection.close()


def refusal(connection: SshConnection, *, timeout_s: float = 30, what: str = "observe") -> str:
    with pytest.raises(HostError) as refused:
        connection.run("x", b"", what=what, timeout_s=timeout_s)
    return str(refused.value)


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_bytes_go_there_and_back_over_one_connection(
    kind: str, server: Server, listener: socket.socket, identity: Path
) -> None:
    sent = bytes(range(256)) * 2**12
    with connect(listener, host_key=public(kind), identity=identity) as connection:
        for _ in range(2):
            done = connection.run("the command", sent, what="x", timeout_s=30)
            assert (done.status, done.output, done.last_words) == (3, sent, "done")
    assert (server.connections, server.commands) == (1, [b"the command"] * 2)


def test_a_lost_connection_is_made_again(
    server: Server, listener: socket.socket, identity: Path
) -> None:
    where = f"127.0.0.1 port {listener.getsockname()[1]}"
    with connect(listener, identity=identity) as connection:
        connection.run("x", b"", what="x", timeout_s=30)
        server.transports[0].close()
        time.sleep(0.2)
        connection.run("x", b"", what="x", timeout_s=30)
        assert server.connections == 2
        server.command = drop
        # what had arrived is no answer
        done = connection.run("x", b"", what="restart", timeout_s=30)
        assert (done.status, done.output) == (None, b"1234")
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        assert refusal(connection) == (
            f"node-1: no connection to {where}: connection refused (is it up, and its sshd?)"
        )


def test_another_host_key_than_the_pinned_one_is_refused_before_anybody_logs_in(
    server: Server, listener: socket.socket, identity: Path
) -> None:
    where = f"127.0.0.1 port {listener.getsockname()[1]}"
    other = paramiko.ECDSAKey.generate()
    pinned = f"{other.get_name()} {other.get_base64()}"
    hint = "(somebody may be in between, or it was installed anew)"
    with connect(listener, host_key=pinned, identity=identity) as connection:
        assert refusal(connection) == (
            f"node-1: {where} shows another host key than the pinned one {hint}"
        )
    ed25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIS/IQnMnMkVaXfJuS/Vi97nibjITzIg0VNUBnPRvswO"
    with connect(listener, host_key=ed25519, identity=identity) as connection:
        assert refusal(connection) == (
            f"node-1: {where} has no ssh-ed25519 host key, but one is pinned {hint}"
        )
    with connect(listener, host_key="none", identity=identity) as connection:
        assert (
            refusal(connection) == "node-1: its pinned host key is of a kind nobody knows: 'none'"
        )
    assert not any(transport.is_authenticated() for transport in server.transports)


def test_who_is_refused_is_told_what_was_tried(
    server: Server, listener: socket.socket, identity: Path, home: Path
) -> None:
    where = f"127.0.0.1 port {listener.getsockname()[1]}"
    hint = "(name a key file, or load its key into the agent)"
    server.takes = None
    with connect(listener, identity=identity) as connection:
        assert refusal(connection) == (
            f"node-1: nobody could log in as ops at {where}: it refused every key "
            f"(tried: {identity}) {hint}"
        )
    with connect(listener) as connection:
        assert refusal(connection) == (
            f"node-1: nobody could log in as ops at {where}: no key to log in with {hint}"
        )
    (home / ".ssh" / "id_rsa").write_text("no key at all")
    MY_KEY.write_private_key_file(str(home / ".ssh" / "id_ecdsa"))
    with connect(listener, user="root") as connection:
        assert f"(tried: {home}/.ssh/id_ecdsa)" in refusal(connection)
    server.takes = MY_KEY
    with connect(listener) as connection:
        assert connection.run("x", b"", what="x", timeout_s=30).status == 3


def test_a_key_file_that_is_none_is_named(
    server: Server, listener: socket.socket, tmp_path: Path
) -> None:
    assert server.connections == 0
    with connect(listener, identity=tmp_path / "none") as connection:
        assert refusal(connection) == (
            f"node-1: key file {tmp_path / 'none'} cannot be used: no such file or directory"
        )


def test_an_encrypted_key_without_an_agent_is_no_key(
    server: Server, listener: socket.socket, tmp_path: Path
) -> None:
    file = tmp_path / "locked"
    MY_KEY.write_private_key_file(str(file), password="secret")
    with connect(listener, identity=tmp_path / "locked") as connection:
        assert "no key to log in with" in refusal(connection)
    file.unlink()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", file], check=True)
    with connect(listener, identity=file) as connection:
        assert "no key to log in with" in refusal(connection)
    assert server.connections == 2


def test_what_does_not_speak_ssh_is_given_up_on(listener: socket.socket, identity: Path) -> None:
    where = f"127.0.0.1 port {listener.getsockname()[1]}"
    with connect(listener, identity=identity) as connection:
        began = time.monotonic()
        connection._limit_s = 0.5
        said = refusal(connection)
        assert time.monotonic() - began < 5
    assert said == f"node-1: no ssh at {where}: no answer"


def test_a_command_that_hangs_is_given_up_on_and_says_what_arrived(
    server: Server, listener: socket.socket, identity: Path
) -> None:
    server.command = hang
    with connect(listener, identity=identity) as connection:
        assert refusal(connection, timeout_s=0.5, what="pull") == (
            "node-1: pull did not end within 0.5 seconds; 4 bytes of its answer had arrived"
        )
        server.command = reply
        assert connection.run("x", b"again", what="x", timeout_s=30).output == b"again"


def test_a_command_that_does_not_read_is_heard(
    server: Server, listener: socket.socket, identity: Path
) -> None:
    server.command = refuse
    with connect(listener, identity=identity) as connection:
        done = connection.run("x", bytes(2**23), what="x", timeout_s=30)
    assert (done.status, done.last_words) == (1, "sudo: a password is required")


def test_an_answer_without_end_is_cut(
    server: Server,
    listener: socket.socket,
    identity: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("provision.services.node.ssh_connection.LARGEST_ANSWER_BYTES", 2**21)
    server.command = flood
    with connect(listener, identity=identity) as connection:
        assert refusal(connection, timeout_s=30) == "node-1: observe: its answer does not end"
