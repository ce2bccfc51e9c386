"""Pack what goes to a node."""

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.services.host import Install
from provision.services.model import Registry
from provision.services.node import delivery
from provision.services.node.delivery import DeliveryError

NAMES = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,20}", fullmatch=True)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def unpack(stream: bytes) -> dict[str, tuple[bytes | None, int]]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(stream)) as tar:
        for member in tar:
            assert (member.uid, member.gid, member.uname, member.mtime) == (0, 0, "root", 315532800)
            file = tar.extractfile(member)
            found[member.name] = (file.read() if file else None, member.mode)
    return found


def test_everything_lies_where_the_scripts_look_for_it() -> None:
    what = Install(
        project="p",
        units={"web": "text é\n"},
        configs={"web": {"abc": {"my.cnf": (b"\0\xff", 0o440)}}},
        secrets={"p-s-0123456789abcdef": b"secret"},
        registries={"r:5000": Registry(ca=b"PEM"), "s": Registry(verify=False)},
    )
    stream = delivery.pack(what)
    found = unpack(stream)
    assert list(found)[-1] == "complete"
    insecure = b'[[registry]]\nlocation = "s"\ninsecure = true\n'
    assert found == {
        "registries": (None, 0o700),
        "registries/ca/r:5000": (b"PEM", 0o644),
        "registries/verified/50-provision-services-r_5000.conf": (b"", 0o644),
        "registries/insecure/50-provision-services-s.conf": (insecure, 0o644),
        "secrets": (None, 0o700),
        "secrets/p-s-0123456789abcdef": (b"secret", 0o600),
        "services": (None, 0o700),
        "services/web/unit": ("text é\n".encode(), 0o600),
        "services/web/config/abc": (None, 0o555),
        "services/web/config/abc/my.cnf": (b"\0\xff", 0o440),
        "complete": (b"", 0o600),
    }
    assert delivery.pack(what) == stream


@given(NAMES, TEXT, st.binary(), st.binary(min_size=1))
def test_bytes_arrive_as_they_are(name: str, text: str, config: bytes, secret: bytes) -> None:
    what = Install(
        project=name,
        units={name: text},
        configs={name: {name: {name: (config, 0o444)}}},
        secrets={name: secret},
    )
    found = unpack(delivery.pack(what))
    assert found[f"services/{name}/unit"][0] == text.encode()
    assert found[f"services/{name}/config/{name}/{name}"][0] == config
    assert found[f"secrets/{name}"][0] == secret


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".lock", "-x", "A", "a/b", "a b", "a\n", "a\0", "é", "²", "$(id)", "x" * 129],
)
def test_a_name_that_is_none_is_refused(name: str) -> None:
    hint = (
        "names are lower-case letters, digits, '_', '.' and '-', and begin with a letter or digit; "
        "at most 128 characters"
    )
    cases = {
        "project": Install(project=name),
        "service": Install(project="p", units={name: ""}),
        "config directory": Install(project="p", configs={"s": {name: {}}}),
        "config": Install(project="p", configs={"s": {"d": {name: (b"", 0o444)}}}),
        "secret": Install(project="p", secrets={name: b"x"}),
    }
    for kind, what in cases.items():
        with pytest.raises(DeliveryError) as refused:
            delivery.pack(what)
        assert str(refused.value) == f"{kind} {name!r} cannot be brought to a node ({hint})"


@pytest.mark.parametrize("name", ["", "a/b", "..", "-a:1", "a:b", "a:1:2", 'a"', "a\n", "[::1"])
def test_a_registry_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(DeliveryError) as refused:
        delivery.pack_registries({name: Registry()})
    assert str(refused.value) == f"{name!r} is not a registry (write HOST or HOST:PORT)"


@pytest.mark.parametrize("size", [0, 512_000])
def test_a_secret_that_podman_does_not_take_is_refused(size: int) -> None:
    with pytest.raises(DeliveryError) as refused:
        delivery.pack(Install(project="p", secrets={"s": b"x" * size}))
    assert str(refused.value) == f"secret s has {size} bytes (podman takes 1 to 511999)"


def test_what_cannot_be_carried_is_refused() -> None:
    with pytest.raises(DeliveryError) as refused:
        delivery.pack(Install(project="p", units={"web": "a\0b"}))
    assert str(refused.value) == "the unit of service web has a NUL in it"
    large = {"s": {"d": {"c": (bytes(64 * 2**20 + 1), 0o444)}}}
    with pytest.raises(DeliveryError) as refused:
        delivery.pack(Install(project="p", configs=large))
    assert str(refused.value) == (
        "configs and secrets have 67108865 bytes together (at most 67108864 are brought to a node "
        "at once; data belongs in volumes)"
    )


def test_a_secret_is_in_no_text() -> None:
    what = Install(project="p", secrets={"s": b"hunter2"}, units={"web": "a\0b"})
    assert "hunter2" not in repr(what)
