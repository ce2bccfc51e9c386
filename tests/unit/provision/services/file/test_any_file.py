"""Any bytes are a project or a FileError: never another exception, never a wait."""

import random
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from provision.services.file import compose
from tests.unit.provision.services.file.loading import load
from tests.unit.provision.services.file.test_compose import ENVIRON, PEM, WHOLE

FILES = {"a.cnf": b"x", "key": b"k", "ca.pem": PEM}
PIECES = (
    *WHOLE.split(),
    *"{}[],:&*!|>'\"%@`#-?\n \t~",
    "\n  ", "\n    ", "\n- ", ": ", "<<: ", "&a ", "*a", "---\n", "...\n", "!!str ", "%YAML 1.1\n",
    "$$", "$", "\\", "\x00", "\x07", "\x85", "\u2028", "\ufeff", "\U0001f600", "9" * 30, "null",
    "1.10",
)  # fmt: skip


def loads(data: bytes) -> bool:
    try:
        load(data, files=FILES, environ=ENVIRON)
    except compose.FileError as error:
        assert str(error)
        return False
    return True


@settings(deadline=None)  # a busy machine is no failure
@given(st.binary(max_size=200))
@example(b"\xef\xbb\xbf")
@example(b"\xff\xfea\x00")
@example(b'"\\x0')
@example(b"%TAG ! tag:\n--- !x y")
@example(b"? ? ? ?")
@example(b"services: &a {*a : *a}")
@example(b"services: {web: {image: *a, <<: &a {}}}")
def test_any_bytes(data: bytes) -> None:
    loads(data)


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.sampled_from(PIECES), max_size=60).map("".join))
def test_any_row_of_pieces(text: str) -> None:
    loads(text.encode())


@settings(deadline=None)  # a busy machine is no failure
@given(st.data())
def test_a_good_file_with_some_of_it_replaced(data: st.DataObject) -> None:
    text = WHOLE
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 12)))
        text = text[:start] + data.draw(st.sampled_from(PIECES)) + text[end:]
    loads(text.encode())


def values() -> st.SearchStrategy[str]:
    """Values in YAML's flow style, any of which may be where it is not expected."""
    scalars = st.sampled_from(
        [
            "~",
            "1",
            "-1",
            "1.5",
            "x",
            '""',
            "true",
            "/x",
            "data",
            "db",
            "1g",
            "5s",
            "'a:b'",
            "[]",
            "{}",
        ]
    )
    return st.recursive(
        scalars,
        lambda inner: (
            st.lists(inner, max_size=3).map(lambda ones: f"[{', '.join(ones)}]")
            | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3).map(
                lambda ones: "{" + ", ".join(f"{key}: {one}" for key, one in ones.items()) + "}"
            )
        ),
        max_leaves=6,
    )


KEYS = (
    "type", "source", "target", "read_only", "bind", "propagation", "test", "interval", "disable",
    "condition", "restart", "x-provision", "host", "hosts", "labels", "uid", "mode", "published",
    "host_ip", "permissions", "file", "content", "environment", "db", "A", "registries", "ca",
)  # fmt: skip
ALL_KEYS = (
    "image", "command", "entrypoint", "environment", "labels", "volumes", "tmpfs", "network_mode",
    "ports", "pid", "ipc", "cgroup", "privileged", "cap_add", "cap_drop", "devices", "read_only",
    "user", "hostname", "working_dir", "mem_limit", "shm_size", "pids_limit", "stop_signal",
    "stop_grace_period", "healthcheck", "depends_on", "configs", "secrets", "x-provision",
)  # fmt: skip


@settings(deadline=None)  # a busy machine is no failure
@given(st.sampled_from(ALL_KEYS), values())
def test_any_value_of_any_key_of_a_service(key: str, value: str) -> None:
    image = "" if key == "image" else "image: r.example/web, "
    loads(f"services: {{web: {{{image}{key}: {value}}}, db: {{image: r.example/db}}}}".encode())


@settings(deadline=None)  # a busy machine is no failure
@given(
    st.sampled_from(["name", "services", "volumes", "configs", "secrets", "x-provision"]), values()
)
def test_any_value_of_any_key_of_the_top(key: str, value: str) -> None:
    services = "" if key == "services" else "services: {web: {image: r.example/web}}\n"
    loads(f"{services}{key}: {value}\n".encode())


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b"{" * 100_000,
        b"- " * 50_000,
        b"? " * 50_000,
        b"a: &a " * 20_000,
        b"&a" * 50_000,
        b"'" + b"x" * 300_000,
        b'"' + b"\\\n" * 50_000,
        b"services: {web: {image: " + b"x" * 300_000 + b"}}",
        b"services:\n" + b"".join(b" s%d: {image: r.example/x}\n" % n for n in range(2000)),
        b"services:\n"
        + b"".join(b" s%d: {image: r.ex/x, depends_on: [s%d]}\n" % (n, n + 1) for n in range(1500))
        + b" s1500: {image: r.ex/x, depends_on: [s0]}\n",
    ],
    ids=lambda data: data[:12].decode(),
)
def test_a_large_file_takes_no_long_time(data: bytes) -> None:
    before = time.process_time()
    loads(data)
    assert time.process_time() - before < 8


def test_a_good_file_is_good() -> None:
    assert loads(WHOLE.encode())
    mixed = list(WHOLE)
    random.Random(1).shuffle(mixed)  # noqa: S311
    assert not loads("".join(mixed).encode())
