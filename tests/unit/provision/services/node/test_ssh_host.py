"""Try what a host sends and makes of the answers; the node is a list of answers."""

import base64
from collections.abc import Callable
from typing import Any

import pytest

from atomic_baremetal.errors import Error
from provision.services.host import HostError, Install
from provision.services.model import Registry
from provision.services.node import ssh_host
from provision.services.node.ssh_connection import Done
from provision.services.node.ssh_host import SshHost

COMMAND = (
    'exec /bin/sh -c \'read -r size && script=$(dd bs="$size" count=1 iflag=fullblock '
    '2>/dev/null) && eval "$script"\''
)
HOSTILE = ("", "a b", "$(id)", "-rf", "../x", "a\nb", "A", "é")


class Node:
    """Answers in turn, and keeps what it was sent."""

    def __init__(self, *answers: Done) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, bytes, float]] = []

    def run(self, command: str, stdin: bytes, *, what: str, timeout_s: float) -> Done:
        self.asked.append((command, stdin, timeout_s))
        return self.answers.pop(0)

    def close(self) -> None:
        pass


def done(output: bytes = b"end\n", *, status: int | None = 0, errors: bytes = b"") -> Done:
    return Done(status=status, output=output, errors=errors)


def said(name: str, text: str) -> bytes:
    return f"{name} 0 {base64.b64encode(text.encode()).decode()} \n".encode()


def host(node: Node, **more: Any) -> SshHost:
    made = SshHost(name="node-1", address="10.0.0.1", host_key="ssh-ed25519 AAAA", **more)
    made._connection = node  # type: ignore[assignment]
    return made


def parameters(stdin: bytes) -> list[str]:
    """Take what was sent apart: the script is as long as its first line says."""
    size, _, rest = stdin.partition(b"\n")
    return rest[int(size) :].decode().splitlines()


def test_the_command_line_is_the_same_for_everything() -> None:
    node = Node(done(said("outcome", "up") + b"end\n"), done(), done(), done())
    with host(node, user="root") as one:
        assert one.restart("p", "web", timeout_s=7.2).ok
        one.tidy("p")
        one.remove("p", ["web", "db"], timeout_s=5)
        one.trust({"r:5000": Registry(verify=False)})
        assert one.round_trips == 4
    assert {command for command, _, _ in node.asked} == {COMMAND}
    who, *rest = parameters(node.asked[0][1])
    assert "@" in who
    assert rest == [
        "60",
        "/var/lib/provision-services",
        "/etc/containers/systemd",
        "/etc/systemd/system",
        "/run/provision-services",
        "/etc/containers",
        *("p", "web", "8", "2"),
    ]
    assert parameters(node.asked[2][1])[7:] == ["p", "5", "web", "db"]


def test_who_is_not_root_asks_sudo_without_a_password() -> None:
    node = Node(done(b"", status=1, errors=b"motd\nsudo: a password is required\n"))
    with pytest.raises(HostError) as refused:
        host(node, user="ops").tidy("p")
    assert str(refused.value) == "node-1: tidy failed with status 1: sudo: a password is required"
    assert node.asked[0][0] == COMMAND.replace("exec ", "exec sudo -n ")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            done(b"tex", status=None),
            "node-1: the connection was lost during tidy "
            "(run the command again: it goes on from what is there)",
        ),
        (done(b"", status=1), "node-1: tidy failed with status 1: it said nothing"),
        (done(b""), "node-1: its answer has no end"),
        (done(said("error", "cannot write /x") + b"end\n", status=1), "node-1: cannot write /x"),
    ],
)
def test_what_goes_wrong_names_the_node(answer: Done, message: str) -> None:
    with pytest.raises(HostError) as refused:
        host(Node(answer)).tidy("p")
    assert str(refused.value) == message


def test_what_a_verb_may_take_follows_from_its_time_limit() -> None:
    node = Node(*[done()] * 2)
    one = host(node, answer_timeout_s=100, lock_timeout_s=3)
    one.tidy("p")
    one.remove("p", ["web"], timeout_s=10)
    assert [limit_s for _, _, limit_s in node.asked] == [103, 133]


def test_nothing_to_do_is_no_round_trip() -> None:
    one = host(Node())
    one.trust({})
    assert one.pull([], timeout_s=5) == []
    one.remove("p", [], timeout_s=5)
    assert one.round_trips == 0


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_is_none_is_not_sent(name: str) -> None:
    node = Node()
    one = host(node)
    calls: list[Callable[[], Any]] = [
        lambda: one.observe(name),
        lambda: one.tidy(name),
        lambda: one.install(Install(project=name)),
        lambda: one.restart(name, "web", timeout_s=5),
        lambda: one.restart("p", name, timeout_s=5),
        lambda: one.stop("p", name, timeout_s=5),
        lambda: one.restore("p", name, swap=True, timeout_s=5),
        lambda: one.remove("p", ["web", name], timeout_s=5),
        lambda: one.logs("p", name, lines=5, timeout_s=5),
    ]
    if not name.isalpha():
        calls.append(lambda: one.pull([name], timeout_s=5))
    for call in calls:
        with pytest.raises(Error):
            call()
    assert (node.asked, one.round_trips) == ([], 0)


def test_the_scripts_parts_begin_with_the_common_one() -> None:
    for verb, parts in ssh_host.SCRIPTS.items():
        assert parts[0] == "common"
        assert parts[-1] == verb
        text = ssh_host.script(verb)
        assert text.isascii()
