"""Values of a file of services, each in its one normal form."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provision.services.file import values
from provision.services.file.values import Wrong
from provision.services.model import Port

GIB = 1024**3
HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("read", "text", "expected"),
    [
        (values.size_bytes, "1g", GIB),
        (values.size_bytes, "1G", GIB),
        (values.size_bytes, "1gb", GIB),
        (values.size_bytes, "1 GiB", GIB),
        (values.size_bytes, "1024m", GIB),
        (values.size_bytes, "1048576k", GIB),
        (values.size_bytes, "1073741824", GIB),
        (values.size_bytes, "1073741824b", GIB),
        (values.size_bytes, "0.5g", GIB // 2),
        (values.size_bytes, "1.5k", 1536),
        (values.size_bytes, "1t", 1024 * GIB),
        (values.duration_s, "0", 0.0),
        (values.duration_s, "0s", 0.0),
        (values.duration_s, "1m30s", 90.0),
        (values.duration_s, "90s", 90.0),
        (values.duration_s, "1.5m", 90.0),
        (values.duration_s, "1h5m30s20ms", 3930.02),
        (values.duration_s, "500us", 0.0005),
        (values.duration_s, "500µs", 0.0005),
        (values.integer, "-12", -12),
        (values.processes, "-1", -1),
        (values.words, "a 'b c' \"d\" e\\ f", ("a", "b c", "d", "e f")),
        (values.words, "", ()),
        (values.words, "''", ("",)),
        (values.words, "a && b > c # d", ("a", "&&", "b", ">", "c", "#", "d")),
        (values.absolute_path, "/", "/"),
        (values.absolute_path, "//a//./b/", "/a/b"),
        (values.user, "0", "0"),
        (values.user, "999:999", "999:999"),
        (values.user, "keystone:adm", "keystone:adm"),
        (values.user, "_x$", "_x$"),
        (values.numeric_id, "4294967294", 2**32 - 2),
        (values.host_name, "Web-1.example.org", "Web-1.example.org"),
        (values.pattern, "atomic-[0-9]?*", "atomic-[0-9]?*"),
        (values.stop_signal, "SIGTERM", "SIGTERM"),
        (values.stop_signal, "term", "SIGTERM"),
        (values.stop_signal, "15", "SIGTERM"),
        (values.stop_signal, "SIGRTMIN+3", "SIGRTMIN+3"),
        (values.stop_signal, "37", "SIGRTMIN+3"),
        (values.stop_signal, "RTMAX-27", "SIGRTMIN+3"),
        (values.stop_signal, "RTMIN", "SIGRTMIN"),
        (values.capability, "CAP_NET_ADMIN", "NET_ADMIN"),
        (values.capability, "net_admin", "NET_ADMIN"),
        (values.capability, "all", "ALL"),
        (values.device, "/dev/kvm", "/dev/kvm:/dev/kvm:rwm"),
        (values.device, "/dev/kvm:/dev/x", "/dev/kvm:/dev/x:rwm"),
        (values.device, "/dev/kvm:/dev/x:wr", "/dev/kvm:/dev/x:rw"),
        (values.mode, "0440", 0o440),
        (values.mode, "0o440", 0o440),
        (values.mode, "0755", 0o555),
        (values.image, "docker.io/library/redis", "docker.io/library/redis"),
        (values.image, "localhost/redis:7", "localhost/redis:7"),
        (values.image, "r.lab:5000/a/b-c__d:1.0_x", "r.lab:5000/a/b-c__d:1.0_x"),
        (values.image, f"r.lab/a@sha256:{HEX}", f"r.lab/a@sha256:{HEX}"),
        (values.address, "2001:DB8:0::1", "2001:db8::1"),
        (values.ports, "8080:80", (Port(published=8080, target=80),)),
        (
            values.ports,
            "127.0.0.1:53:53/UDP",
            (Port(published=53, target=53, protocol="udp", address="127.0.0.1"),),
        ),
        (values.ports, "[::1]:1:2", (Port(published=1, target=2, address="::1"),)),
        (values.ports, "::1:1:2", (Port(published=1, target=2, address="::1"),)),
        (
            values.ports,
            "80-81:90-91",
            (Port(published=80, target=90), Port(published=81, target=91)),
        ),
    ],
)
def test_a_value(read: Callable[[str], Any], text: str, expected: object) -> None:
    assert read(text) == expected


REFUSED = [
    (
        values.name,
        "a-z, 0-9, '_', '.' and '-', 63 at most, the first a letter or digit",
        {
            "Db": "'Db' is not a name",
            "": "'' is not a name",
            "-a": "'-a' is not a name",
            "..": "'..' is not a name",
            "a/b": "'a/b' is not a name",
            "a\n": "'a\\n' is not a name",
            "a" * 64: f"'{'a' * 64}' is not a name",
            "é": "'é' is not a name",
        },
    ),
    (
        values.variable,
        "letters, digits, '_', '.' and '-', first a letter or '_'",
        {
            "A B": "'A B' is not a name of an environment variable",
            "1A": "'1A' is not a name of an environment variable",
        },
    ),
    (
        values.label,
        "letters, digits, '_', '.', '/' and '-', first a letter or digit",
        {
            "a b": "'a b' is not a name of a label",
        },
    ),
    (
        values.integer,
        None,
        {
            "1.0": "'1.0' is not a whole number",
            "007": "'007' is not a whole number",
            "9" * 5000: f"'{'9' * 77}...' is not a whole number",
            "١": "'١' is not a whole number",
        },
    ),
    (
        values.positive,
        None,
        {
            "0": "0 is not above zero",
        },
    ),
    (
        values.processes,
        "-1 sets no limit",
        {
            "0": "0 is not a number of processes",
        },
    ),
    (
        values.size_bytes,
        "like 512m, 1g or 1073741824",
        {
            "1x": "'1x' is not a size",
            "-1g": "'-1g' is not a size",
            "1ib": "'1ib' is not a size",
            "1e9": "'1e9' is not a size",
        },
    ),
    (
        values.size_bytes,
        None,
        {
            "0.3k": "'0.3k' is not a whole number of bytes",
            "0": "'0' is not a size that can be had",
            "999999999t": "'999999999t' is not a size that can be had",
        },
    ),
    (
        values.duration_s,
        "write 30s for seconds",
        {
            "30": "'30' is not a time",
        },
    ),
    (
        values.duration_s,
        "like 30s or 1m30s",
        {
            "1d": "'1d' is not a time",
            "-1s": "'-1s' is not a time",
            "": "'' is not a time",
            "1s 2s": "'1s 2s' is not a time",
        },
    ),
    (
        values.duration_s,
        None,
        {
            "9999h": "'9999h' is longer than a year",
        },
    ),
    (
        values.some_time_s,
        "like 30s or 1m30s",
        {
            "0s": "'0s' is no time at all",
        },
    ),
    (
        values.words,
        "a list of words needs no quotes within quotes",
        {
            "a 'b": "the command cannot be split into words: no closing quotation",
            "a \\": "the command cannot be split into words: no escaped character",
        },
    ),
    (
        values.absolute_path,
        None,
        {
            "a": "'a' is not an absolute path",
            "": "'' is not an absolute path",
            "/a/../b": "'/a/../b' goes back up with '..'",
            "/" + "x" * 256: f"'/{'x' * 76}...' is longer than a path can be",
            "/x" * 2048: f"'{'/x' * 38}/...' is longer than a path can be",
            "/a\nb": "'/a\\nb' has a control character in it",
        },
    ),
    (
        values.target,
        None,
        {
            "//": "'/' is the container's own root",
        },
    ),
    (
        values.user,
        "names or numbers, as 999:999",
        {
            "a:b:c": "'a:b:c' is not USER or USER:GROUP",
            ":1": "':1' is not USER or USER:GROUP",
            "-u": "'-u' is not USER or USER:GROUP",
            "01": "'01' is not USER or USER:GROUP",
            "4294967295": "'4294967295' is not USER or USER:GROUP",
            "9" * 9000: f"'{'9' * 77}...' is not USER or USER:GROUP",
        },
    ),
    (
        values.numeric_id,
        None,
        {
            "-1": "-1 is not the number of a user or group",
        },
    ),
    (
        values.host_name,
        "letters, digits, '-' and '.', 64 at most",
        {
            "a_b": "'a_b' is not a host name",
            "-a": "'-a' is not a host name",
            "a..b": "'a..b' is not a host name",
            "a" * 65: f"'{'a' * 65}' is not a host name",
            "a." * 32 + "a": f"'{'a.' * 32}a' is not a host name",
        },
    ),
    (
        values.pattern,
        "like atomic-*",
        {
            "a b": "'a b' is not a pattern of host names",
        },
    ),
    (
        values.stop_signal,
        "like SIGTERM",
        {
            "SIGNO": "'SIGNO' is not a signal",
            "0": "'0' is not a signal",
            "65": "'65' is not a signal",
            "RTMIN+99": "'RTMIN+99' is not a signal",
        },
    ),
    (
        values.capability,
        "like NET_ADMIN; ALL is all of them",
        {
            "NET": "'NET' is not a capability",
        },
    ),
    (
        values.device,
        None,
        {
            "gpu": "'gpu' is not HOST_PATH[:CONTAINER_PATH[:rwm]]",
            "/a:/b:x": "'x' is not a set of the permissions r, w and m",
            "/a:/b:rr": "'rr' is not a set of the permissions r, w and m",
            "/a:/b:": "'' is not a set of the permissions r, w and m",
        },
    ),
    (
        values.mode,
        "in octal, with a leading 0, like 0440",
        {
            "440": "'440' is not a mode",
            "04755": "'04755' is not a mode",
        },
    ),
    (
        values.image,
        "docker.io/library/redis:7 is Docker Hub's",
        {
            "redis:7": "'redis:7' does not say which registry it is from",
        },
    ),
    (
        values.image,
        "docker.io/a/b is Docker Hub's",
        {
            "a/b": "'a/b' does not say which registry it is from",
        },
    ),
    (
        values.image,
        "REGISTRY/IMAGE:TAG",
        {
            "": "'' does not say which registry it is from",
            "r.lab/A": "'r.lab/A' is not the name of an image",
            "r.lab/a:": "'r.lab/a:' is not the name of an image",
            "r.lab/a b": "'r.lab/a b' is not the name of an image",
            "r.lab/a@sha256:1": "'r.lab/a@sha256:1' is not the name of an image",
        },
    ),
    (
        values.image,
        "docker.io/library/-v is Docker Hub's",
        {
            "-v": "'-v' does not say which registry it is from",
        },
    ),
    (
        values.image,
        "the digest alone is enough",
        {
            f"r.lab/a:1@sha256:{HEX}": f"'r.lab/a:1@sha256:{HEX[:60]}...' has a tag and a digest",
        },
    ),
    (
        values.registry,
        None,
        {
            "https://r.lab": "'https://r.lab' is not HOST or HOST:PORT of a registry",
        },
    ),
    (
        values.address,
        None,
        {
            "localhost": "'localhost' is not an IP address",
        },
    ),
    (
        values.ports,
        "PUBLISHED:TARGET, like 8080:80",
        {
            "80": "'80' does not say which port of the node it is",
        },
    ),
    (
        values.ports,
        "1 to 65535, or a range of them: 80-83",
        {
            "0:80": "'0' is not a port",
            "65536:80": "'65536' is not a port",
            "81-80:80": "'81-80' is not a port",
        },
    ),
    (
        values.ports,
        None,
        {
            "80-81:80": "2 ports of the node for 1 of the container",
            "80:80/sctp": "'sctp' is not tcp or udp",
            "80:80/": "'' is not tcp or udp",
            "x:80:80": "'x' is not an IP address",
            ":80:80": "'' is not an IP address",
        },
    ),
    (
        values.ports,
        "network_mode: host has them all",
        {
            "1-1001:1-1001": "1001 ports are more than the 1000 that are handled",
        },
    ),
]


@pytest.mark.parametrize(
    ("read", "text", "what", "hint"),
    [(read, text, what, hint) for read, hint, cases in REFUSED for text, what in cases.items()],
)
def test_not_a_value(read: Callable[[str], Any], text: str, what: str, hint: str | None) -> None:
    with pytest.raises(Wrong) as caught:
        read(text)
    assert (caught.value.what, caught.value.hint) == (what, hint)


@settings(deadline=None)  # a busy machine is no failure
@given(st.integers(1, 2**32), st.sampled_from(["k", "m", "g", "kb", "MiB"]))
def test_a_size_is_the_same_in_every_unit(amount: int, unit: str) -> None:
    factor = 1024 ** "xkmg".index(unit[0].lower())
    assert values.size_bytes(f"{amount}{unit}") == values.size_bytes(str(amount * factor))


@settings(deadline=None)  # a busy machine is no failure
@given(st.integers(0, 500), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_a_time_is_the_same_in_every_unit(hours: int, minutes: int, seconds: int, ms: int) -> None:
    whole = ((hours * 60 + minutes) * 60 + seconds) * 1000 + ms
    assert values.duration_s(f"{hours}h{minutes}m{seconds}s{ms}ms") == whole / 1000
    assert values.duration_s(f"{whole}ms") == whole / 1000


READERS = [
    values.name, values.variable, values.label, values.integer, values.positive, values.processes,
    values.size_bytes, values.duration_s, values.some_time_s, values.words, values.absolute_path,
    values.target, values.user, values.numeric_id, values.host_name, values.pattern,
    values.stop_signal, values.capability, values.device, values.mode, values.image,
    values.registry, values.address, values.port_range, values.protocol, values.ports,
]  # fmt: skip


@settings(deadline=None)  # a busy machine is no failure
@given(
    st.sampled_from(READERS),
    st.text() | st.text("0123456789abgkmrstwSIGRTMIN+-.:/@[]'\\ _$", max_size=40),
)
def test_any_text_is_a_value_or_wrong(read: Callable[[str], Any], text: str) -> None:
    try:
        first = read(text)
    except Wrong as wrong:
        assert wrong.what
    else:
        if isinstance(first, str):  # a normal form is its own
            assert read(first) == first
