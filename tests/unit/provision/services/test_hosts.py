"""Read which hosts there are, choose among them, and ask many at once."""

import threading
import time
from pathlib import Path

import pytest

from provision.services import hosts, images, parallel, registries
from provision.services.host import HostError
from provision.services.hosts import HostsError, Target

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMBRhQjBYMlVIQK7bnhQNCDrJBmrg2XN6mhkGiNiwhjH"


def read(directory: Path, text: str) -> tuple[Target, ...]:
    file = directory / "hosts.yaml"
    file.write_text(text)
    return hosts.read(file)


def test_a_file_of_hosts(tmp_path: Path) -> None:
    text = f"""
    hosts:
      b: {{address: 192.0.2.2, host_key: {KEY} root@b, port: 2222, user: ops, labels: {{zone: a}}}}
      a: {{address: "::1", host_key: {KEY}}}
    """
    assert read(tmp_path, text) == (
        Target(
            name="b",
            address="192.0.2.2",
            host_key=KEY,
            port=2222,
            user="ops",
            labels=(("zone", "a"),),
        ),
        Target(name="a", address="::1", host_key=KEY),
    )


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[]", "FILE: one key `hosts` is wanted, with a mapping of hosts by name"),
        ("hosts: {}", "FILE names no host"),
        (
            "hosts: {1: {}}",
            "FILE: 1 is no host name (put it in quotes)",
        ),
        (
            "hosts: {a: x}",
            "FILE: host a: a mapping is wanted, with address, port, user, host_key, labels",
        ),
        (
            "hosts: {a: {adress: x}}",
            "FILE: host a: unknown key 'adress' (there is address, port, user, host_key, labels)",
        ),
        ("hosts: {a: {address: x}}", "FILE: host a: `host_key` is missing"),
        ("hosts: {a: {host_key: x}}", "FILE: host a: `address` is missing"),
        (
            "hosts: {a: {address: x, host_key: ssh-ed25519 aaaa}}",
            "FILE: host a: `host_key` is no ssh public key (like 'ssh-ed25519 AAAA...'; the host "
            "has it in /etc/ssh/ssh_host_ed25519_key.pub)",
        ),
        (
            f"hosts: {{a: {{address: x, host_key: {KEY}, port: '22'}}}}",
            "FILE: host a: `port` is a number from 1 to 65535, not '22'",
        ),
        (
            f"hosts: {{a: {{address: x, host_key: {KEY}, user: 0}}}}",
            "FILE: host a: `user` is a name, not 0",
        ),
        (
            f"hosts: {{a: {{address: x, host_key: {KEY}, labels: {{n: 1}}}}}}",
            "FILE: host a: `labels` is a mapping of texts (put numbers in quotes)",
        ),
    ],
)
def test_what_is_wrong_in_it_is_named(tmp_path: Path, text: str, error: str) -> None:
    with pytest.raises(HostsError) as raised:
        read(tmp_path, text)
    assert str(raised.value).replace(str(tmp_path / "hosts.yaml"), "FILE") == error


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(HostsError) as raised:
        hosts.read(tmp_path / "no")
    assert str(raised.value) == f"cannot read {tmp_path / 'no'}: No such file or directory"


TARGETS = [Target(name=name, address="x", host_key=KEY) for name in ("db-1", "db-2", "web-1")]


@pytest.mark.parametrize(
    ("patterns", "chosen"),
    [
        ([], ["db-1", "db-2", "web-1"]),
        (["db-*"], ["db-1", "db-2"]),
        (["web-1", "db-1"], ["db-1", "web-1"]),
        (["!db-1"], ["db-2", "web-1"]),
        (["db-*", "!*-1"], ["db-2"]),
    ],
)
def test_patterns_choose(patterns: list[str], chosen: list[str]) -> None:
    assert [one.name for one in hosts.select(TARGETS, patterns)] == chosen


@pytest.mark.parametrize(
    ("patterns", "error"),
    [
        (["x*"], "no host fits --on 'x*' (there is: db-1, db-2, web-1)"),
        (["db-1", "!x"], "no host fits --on '!x' (there is: db-1, db-2, web-1)"),
        (["db-1", "!db-*"], "--on leaves no host"),
    ],
)
def test_patterns_that_choose_none(patterns: list[str], error: str) -> None:
    with pytest.raises(HostsError) as raised:
        hosts.select(TARGETS, patterns)
    assert str(raised.value) == error


def test_not_more_at_once_than_asked_for() -> None:
    lock, now, most = threading.Lock(), [0], [0]

    def ask(number: int) -> int:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.01)
        with lock:
            now[0] -= 1
        if number % 5 == 0:
            raise HostError(f"{number} is gone")
        return number * 2

    found, failed = parallel.each({str(one): one for one in range(12)}, ask, at_once=3)
    assert found == {str(one): one * 2 for one in range(12) if one % 5}
    assert list(found) == [str(one) for one in range(12) if one % 5]
    assert {name: str(one) for name, one in failed.items()} == {
        "0": "0 is gone",
        "5": "5 is gone",
        "10": "10 is gone",
    }
    assert most == [3]


def test_a_bug_in_a_thread_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        parallel.each({"a": 0, "b": 1}, lambda one: 1 // one, at_once=2)


@pytest.mark.parametrize(
    ("image", "by_digest"),
    [
        ("r:5000/a/b:1", None),
        ("r/b", None),
        (f"r:5000/a/b@sha256:{'a' * 64}", f"r:5000/a/b@sha256:{'a' * 64}"),
        (f"r:5000/a/b:1.2@sha256:{'a' * 64}", f"r:5000/a/b@sha256:{'a' * 64}"),
        (f"r:5000/b@sha256:{'a' * 63}", None),
    ],
)
def test_names_by_digest(image: str, by_digest: str | None) -> None:
    assert images.by_digest(image) == by_digest


@pytest.mark.parametrize(
    ("image", "repository"), [("r:5000/a/b:1", "r:5000/a/b"), ("r:5000/b", "r:5000/b")]
)
def test_a_made_up_digest(image: str, repository: str) -> None:
    assert images.placeholder(image) == f"{repository}@{images.UNKNOWN}"


def test_registries_of_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "a=b.crt"
    file.write_bytes(b"-----BEGIN CERTIFICATE-----\n")
    found = registries.read_all([f"registry.lab:5000={file}"])
    assert {name: one.ca for name, one in found.items()} == {
        "registry.lab:5000": b"-----BEGIN CERTIFICATE-----\n"
    }
    for option, error in (
        ("x", "--registry-ca 'x' is not HOST:PORT=FILE (like registry.lab:5000=ca.crt)"),
        ("x=/no", "cannot read /no: No such file or directory"),
        ("x=/dev/null", "/dev/null holds no certificate in PEM form"),
    ):
        with pytest.raises(registries.RegistryError) as raised:
            registries.read_all([option])
        assert str(raised.value) == error
