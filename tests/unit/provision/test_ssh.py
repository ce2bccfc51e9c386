"""The ssh command, and the probe against servers that misbehave."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import paramiko
import pytest

from provision.keys import new_host_key
from provision.known_hosts import KnownHosts
from provision.node import Node
from provision.ssh import Answer, SSHError, argv, become, probe, target


def test_the_whole_command(tmp_path: Path) -> None:
    assert argv(
        address="192.0.2.11",
        port=2022,
        user="root",
        alias="uuid-1",
        known_hosts=Path("/a b/known_hosts"),
        identity=Path("/key"),
        command=("uname", "-a; id"),
    ) == [
        "ssh",
        *("-o", "HostKeyAlias=uuid-1"),
        *("-o", 'UserKnownHostsFile="/a b/known_hosts"'),
        *("-o", "GlobalKnownHostsFile=/dev/null"),
        *("-o", "StrictHostKeyChecking=yes"),
        *("-o", "CheckHostIP=no"),
        *("-o", "UpdateHostKeys=no"),
        *("-o", "VerifyHostKeyDNS=no"),
        *("-o", "HostKeyAlgorithms=ssh-ed25519"),
        *("-o", "IdentitiesOnly=yes", "-i", "/key"),
        *("-p", "2022", "-l", "root", "--", "192.0.2.11", "uname", "-a; id"),
    ]


def test_nobody_is_connected_to_without_a_pin(tmp_path: Path) -> None:
    hosts = KnownHosts(tmp_path / "known_hosts")
    node = Node(uuid="u", name="node-1", provision_state="active", address="192.0.2.1")
    for given, error in (
        (None, "a is not deployed: it has no node (what is there: provision list)"),
        (
            Node(uuid="u", name="node-1", provision_state="cleaning"),
            "a is not deployed: node node-1 is 'cleaning' (what is there: provision list)",
        ),
        (
            node,
            f"no host key of a is pinned in {hosts.path} (it was not deployed from here, so it "
            "cannot be verified)",
        ),
    ):
        with pytest.raises(SSHError) as raised:
            target("a", given, hosts)
        assert str(raised.value) == error
    hosts.pin("u", "ssh-ed25519 AAAA")
    assert target("a", node, hosts).address == "192.0.2.1"
    with pytest.raises(SSHError, match="no address is known for node node-1"):
        target("a", Node(uuid="u", name="node-1", provision_state="active"), hosts)


def test_no_ssh_client() -> None:
    with pytest.raises(SSHError) as raised:
        become(["no-such-ssh", "x"])
    assert str(raised.value) == (
        "no-such-ssh: no such program (install OpenSSH's client: openssh-client)"
    )


@contextmanager
def server(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """Listen on a port; answer one connection in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(10)


def ssh_server(key: paramiko.PKey) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        transport = paramiko.Transport(connection)
        transport.set_log_channel("silent")
        transport.add_server_key(key)
        with contextlib.suppress(paramiko.SSHException, EOFError):
            transport.start_server(server=paramiko.ServerInterface())
        transport.join(5)
        transport.close()

    return answer


def key_pair(path: Path) -> tuple[paramiko.PKey, str]:
    key = new_host_key()
    path.write_text(key.private)
    return paramiko.Ed25519Key(filename=str(path)), key.public


def test_the_pinned_key_is_verified_and_another_is_not(tmp_path: Path) -> None:
    key, public = key_pair(tmp_path / "key")
    with server(ssh_server(key)) as port:
        found = probe("127.0.0.1", port, host_key=public, timeout_s=5)
    assert found.answer is Answer.VERIFIED
    with server(ssh_server(key)) as port:
        found = probe("127.0.0.1", port, host_key=new_host_key().public, timeout_s=5)
    assert (found.answer, found.saw) == (
        Answer.WRONG_KEY,
        f"127.0.0.1 port {port} shows another host key than the pinned one",
    )


def test_a_host_with_another_kind_of_key_is_not_the_one(tmp_path: Path) -> None:
    with server(ssh_server(paramiko.ECDSAKey.generate())) as port:
        found = probe("127.0.0.1", port, host_key=new_host_key().public, timeout_s=5)
    assert (found.answer, found.saw) == (
        Answer.WRONG_KEY,
        f"127.0.0.1 port {port} has no ssh-ed25519 host key, but one is pinned",
    )


@pytest.mark.parametrize(
    ("answer", "saw"),
    [
        (lambda connection: None, "error reading ssh protocol banner"),
        (
            lambda connection: connection.sendall(b"HTTP/1.0 400\r\n\r\n" * 300),
            "indecipherable protocol version",
        ),
        (lambda connection: connection.recv(1) and connection.recv(9999), "banner"),
    ],
)
def test_what_is_not_ssh_is_not_yet(
    answer: Callable[[socket.socket], None], saw: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with server(answer) as port:
        found = probe("127.0.0.1", port, host_key=new_host_key().public, timeout_s=0.5)
    assert found.answer is Answer.NOT_YET
    assert saw in found.saw
    assert capfd.readouterr() == ("", "")


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert probe("127.0.0.1", port, host_key="x").saw == "connection refused"
