"""Bring the values of a file of services into their one normal form, or say what they are not.

All that means the same comes out equal. Every function takes a text and raises Wrong, which knows
no file and no line.

Source: compose-spec.io (05-services, 11-extension); signal(7), capabilities(7), podman-run(1).
"""

import ipaddress
import re
import shlex
import signal as signals
from fractions import Fraction

from provision.services.file.yaml_file import shown
from provision.services.model import Port

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}", re.ASCII)
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*", re.ASCII)
LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]*", re.ASCII)
INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})", re.ASCII)
SIZE = re.compile(r"([0-9]{1,19}(?:\.[0-9]{1,9})?) ?([kmgt]?)(i?b)?", re.ASCII | re.IGNORECASE)
DURATION = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)(us|µs|μs|ms|s|m|h)", re.ASCII)
SECONDS = {
    "us": Fraction(1, 1_000_000),
    "µs": Fraction(1, 1_000_000),  # U+00B5
    "μs": Fraction(1, 1_000_000),  # U+03BC
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3600),
}
LONGEST_S = 366 * 86400
HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*", re.ASCII)
PATTERN = re.compile(r"[A-Za-z0-9_.*?\[\]!-]+", re.ASCII)
USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\$?|0|[1-9][0-9]*", re.ASCII)
LARGEST_ID = 2**32 - 2  # the last one means "no change" to the kernel
REGISTRY = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?|\[[0-9a-fA-F:]+\](:[0-9]{1,5})?", re.ASCII)
REPOSITORY = re.compile(
    r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*)*", re.ASCII
)
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
LONGEST_PATH_BYTES = 4095
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
MODE = re.compile(r"0o?([0-7]{3})", re.ASCII)
CAPABILITIES = frozenset(
    re.findall(
        "[A-Z_]+",
        """
    ALL AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN
    DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE
    MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN NET_BIND_SERVICE NET_BROADCAST NET_RAW PERFMON
    SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT SYS_CHROOT SYS_MODULE SYS_NICE
    SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG WAKE_ALARM
    """,
    )
)
FIRST_REALTIME, LAST_REALTIME = 34, 64  # glibc keeps 32 and 33 for itself
MOST_PORTS = 1000


class Wrong(Exception):
    """A text that is not a value of its kind."""

    def __init__(self, what: str, *, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


def name(text: str) -> str:
    """Take a name of ours: of a project, service, volume, config or secret."""
    if not NAME.fullmatch(text):
        raise Wrong(
            f"{shown(text)} is not a name",
            hint="a-z, 0-9, '_', '.' and '-', 63 at most, the first a letter or digit",
        )
    return text


def variable(text: str) -> str:
    """Take the name of an environment variable."""
    if not VARIABLE.fullmatch(text):
        raise Wrong(
            f"{shown(text)} is not a name of an environment variable",
            hint="letters, digits, '_', '.' and '-', first a letter or '_'",
        )
    return text


def variable_text(text: str) -> str:
    """Take the text of an environment variable, which podman reads by way of CSV."""
    if "\r\n" in text:
        raise Wrong(
            "a carriage return before a line feed, which podman cannot be told",
            hint="put it into a config",
        )
    return text


def label(text: str) -> str:
    """Take the name of a label."""
    if not LABEL.fullmatch(text):
        raise Wrong(
            f"{shown(text)} is not a name of a label",
            hint="letters, digits, '_', '.', '/' and '-', first a letter or digit",
        )
    return text


def integer(text: str) -> int:
    """Read a whole number in decimal."""
    if not INTEGER.fullmatch(text) or text == "-0":
        raise Wrong(f"{shown(text)} is not a whole number")
    return int(text)


def positive(text: str) -> int:
    """Read a whole number above zero."""
    if (number := integer(text)) <= 0:
        raise Wrong(f"{number} is not above zero")
    return number


def processes(text: str) -> int:
    """Read how many processes there may be; -1 is any number."""
    if (number := integer(text)) != -1 and number <= 0:
        raise Wrong(f"{number} is not a number of processes", hint="-1 sets no limit")
    return number


def size_bytes(text: str) -> int:
    """Read a size, in bytes: `1073741824`, `1024m` and `1g` are the same."""
    found = SIZE.fullmatch(text)
    if found is None or (found[3] and not found[2] and found[3].lower() == "ib"):
        raise Wrong(f"{shown(text)} is not a size", hint="like 512m, 1g or 1073741824")
    amount = Fraction(found[1]) * 1024 ** " kmgt".index(found[2].lower() or " ")
    if amount.denominator != 1:
        raise Wrong(f"{shown(text)} is not a whole number of bytes")
    if not 0 < amount < 2**63:
        raise Wrong(f"{shown(text)} is not a size that can be had")
    return int(amount)


def duration_s(text: str) -> float:
    """Read a time, in seconds: `1m30s` and `90s` are the same."""
    parts = DURATION.findall(text)
    if text != "0" and (not parts or "".join(f"{one}{unit}" for one, unit in parts) != text):
        hint = f"write {text}s for seconds" if INTEGER.fullmatch(text) else "like 30s or 1m30s"
        raise Wrong(f"{shown(text)} is not a time", hint=hint)
    total = sum((Fraction(amount) * SECONDS[unit] for amount, unit in parts), Fraction(0))
    if total > LONGEST_S:
        raise Wrong(f"{shown(text)} is longer than a year")
    return float(total)


def some_time_s(text: str) -> float:
    """Read a time that is not zero, in seconds."""
    if not (seconds := duration_s(text)):
        raise Wrong(f"{shown(text)} is no time at all", hint="like 30s or 1m30s")
    return seconds


def words(text: str) -> tuple[str, ...]:
    """Split a command into words as a shell would; no shell sees it, nothing is expanded."""
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise Wrong(
            f"the command cannot be split into words: {str(error).lower()}",
            hint="a list of words needs no quotes within quotes",
        ) from error


def absolute_path(text: str) -> str:
    """Take a path from the root, without what can be left out of it."""
    if CONTROL.search(text):
        raise Wrong(f"{shown(text)} has a control character in it")
    if not text.startswith("/"):
        raise Wrong(f"{shown(text)} is not an absolute path")
    parts = [part for part in text.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise Wrong(f"{shown(text)} goes back up with '..'")
    path = "/" + "/".join(parts)
    if len(path.encode()) > LONGEST_PATH_BYTES or any(len(one.encode()) > 255 for one in parts):
        raise Wrong(f"{shown(text)} is longer than a path can be")
    return path


def target(text: str) -> str:
    """Take the absolute path where something is put in the container."""
    if (path := absolute_path(text)) == "/":
        raise Wrong("'/' is the container's own root")
    return path


def user(text: str) -> str:
    """Take USER[:GROUP], each by name or number."""
    parts = text.split(":")
    wrong = len(parts) > 2 or not all(USER.fullmatch(part) for part in parts)
    if wrong or any(part.isdigit() and int(part[:11]) > LARGEST_ID for part in parts):
        raise Wrong(f"{shown(text)} is not USER or USER:GROUP", hint="names or numbers, as 999:999")
    return text


def numeric_id(text: str) -> int:
    """Read the number of a user or group."""
    if not 0 <= (number := integer(text)) <= LARGEST_ID:
        raise Wrong(f"{number} is not the number of a user or group")
    return number


def host_name(text: str) -> str:
    """Take a host name as RFC 1123 has it; Linux keeps 64 characters of it."""
    if not HOST_NAME.fullmatch(text) or len(text) > 64:
        raise Wrong(
            f"{shown(text)} is not a host name", hint="letters, digits, '-' and '.', 64 at most"
        )
    return text


def pattern(text: str) -> str:
    """Take a glob of host names."""
    if not PATTERN.fullmatch(text):
        raise Wrong(f"{shown(text)} is not a pattern of host names", hint="like atomic-*")
    return text


def stop_signal(text: str) -> str:
    """Name a signal as signal(7) does: `term`, `SIGTERM` and `15` are the same."""
    plain = text.upper().removeprefix("SIG")
    number = _real_time(plain)
    if number is None and INTEGER.fullmatch(text):
        number = int(text)
    if number is not None and FIRST_REALTIME <= number <= LAST_REALTIME:
        extra = number - FIRST_REALTIME
        return f"SIGRTMIN+{extra}" if extra else "SIGRTMIN"
    try:
        known = signals.Signals(number) if number is not None else signals.Signals[f"SIG{plain}"]
    except (KeyError, ValueError) as error:
        raise Wrong(f"{shown(text)} is not a signal", hint="like SIGTERM") from error
    return known.name


def _real_time(plain: str) -> int | None:
    if found := re.fullmatch(r"RTMIN(?:\+([0-9]{1,2}))?", plain, re.ASCII):
        return FIRST_REALTIME + int(found[1] or 0)
    if found := re.fullmatch(r"RTMAX(?:-([0-9]{1,2}))?", plain, re.ASCII):
        return LAST_REALTIME - int(found[1] or 0)
    return None


def capability(text: str) -> str:
    """Name a capability without CAP_, in capitals."""
    known = text.upper().removeprefix("CAP_")
    if known not in CAPABILITIES:
        raise Wrong(f"{shown(text)} is not a capability", hint="like NET_ADMIN; ALL is all of them")
    return known


def device(text: str) -> str:
    """Write a device as HOST:CONTAINER:PERMISSIONS, all three."""
    parts = text.split(":")
    if not parts[0].startswith("/") or len(parts) > 3:
        raise Wrong(f"{shown(text)} is not HOST_PATH[:CONTAINER_PATH[:rwm]]")
    where = target(parts[1]) if len(parts) > 1 else target(parts[0])
    permissions = parts[2] if len(parts) > 2 else "rwm"
    if not permissions or sorted(permissions) != sorted(set(permissions) & set("rwm")):
        raise Wrong(f"{shown(permissions)} is not a set of the permissions r, w and m")
    ordered = "".join(one for one in "rwm" if one in permissions)
    return f"{target(parts[0])}:{where}:{ordered}"


def mode(text: str) -> int:
    """Read permission bits, in octal; those for writing are ignored, as Compose has it."""
    if not (found := MODE.fullmatch(text)):
        raise Wrong(f"{shown(text)} is not a mode", hint="in octal, with a leading 0, like 0440")
    return int(found[1], 8) & 0o555


def image(text: str) -> str:
    """Take the whole name of an image, its registry too: without, each node has its own idea."""
    rest, at, digest = text.partition("@")
    registry, slash, path = rest.partition("/")
    path, colon, tag = path.partition(":")
    if at and colon:
        raise Wrong(f"{shown(text)} has a tag and a digest", hint="the digest alone is enough")
    if not slash or not ("." in registry or ":" in registry or registry == "localhost"):
        raise Wrong(
            f"{shown(text)} does not say which registry it is from",
            hint=f"docker.io/{'' if slash else 'library/'}{text} is Docker Hub's"
            if re.fullmatch(r"[a-z0-9_./:@-]{1,80}", text, re.ASCII)
            else "REGISTRY/IMAGE:TAG",
        )
    wrong = (at and not DIGEST.fullmatch(digest)) or (colon and not TAG.fullmatch(tag))
    if wrong or not REGISTRY.fullmatch(registry) or not REPOSITORY.fullmatch(path):
        raise Wrong(f"{shown(text)} is not the name of an image", hint="REGISTRY/IMAGE:TAG")
    return text


def registry(text: str) -> str:
    """Take HOST[:PORT] of a registry."""
    if not REGISTRY.fullmatch(text):
        raise Wrong(f"{shown(text)} is not HOST or HOST:PORT of a registry")
    return text


def address(text: str) -> str:
    """Take an IP address, in its shortest form."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as error:
        raise Wrong(f"{shown(text)} is not an IP address") from error


def port_range(text: str) -> range:
    """Read a port, or the first and last of several: `8000-8003`."""
    found = re.fullmatch(r"([1-9][0-9]{0,4})(?:-([1-9][0-9]{0,4}))?", text, re.ASCII)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= first <= last <= 65535:
        raise Wrong(f"{shown(text)} is not a port", hint="1 to 65535, or a range of them: 80-83")
    return range(first, last + 1)


def protocol(text: str) -> str:
    """Take tcp or udp."""
    if text.lower() not in {"tcp", "udp"}:
        raise Wrong(f"{shown(text)} is not tcp or udp")
    return text.lower()


def ports(text: str) -> tuple[Port, ...]:
    """Read [ADDRESS:]PUBLISHED:TARGET[/PROTOCOL]; ranges are written out."""
    rest, slash, transport = text.partition("/")
    before, colon, inside = rest.rpartition(":")
    if not colon:
        raise Wrong(
            f"{shown(text)} does not say which port of the node it is",
            hint="PUBLISHED:TARGET, like 8080:80",
        )
    host, _, outside = before.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    return port_pairs(
        outside,
        inside,
        transport=transport if slash else "tcp",
        host=host if before != outside else None,
    )


def same_port(one: Port, other: Port) -> bool:
    """Tell whether two services cannot have these ports of a node both."""
    addresses = {one.address, other.address}
    return (one.published, one.protocol) == (other.published, other.protocol) and (
        len(addresses) == 1 or bool(addresses & {None, "0.0.0.0", "::"})  # noqa: S104
    )


def port_pairs(outside: str, inside: str, *, transport: str, host: str | None) -> tuple[Port, ...]:
    """Pair ports of the node with those of the container.

    :param outside: a port of the node, or a range of them.
    :param host: the node's address; None: all of them.
    """
    published, targets = port_range(outside), port_range(inside)
    if len(published) != len(targets):
        raise Wrong(f"{len(published)} ports of the node for {len(targets)} of the container")
    if len(published) > MOST_PORTS:
        raise Wrong(
            f"{len(published)} ports are more than the {MOST_PORTS} that are handled",
            hint="network_mode: host has them all",
        )
    kind, where = protocol(transport), address(host) if host is not None else None
    return tuple(
        Port(published=one, target=other, protocol=kind, address=where)
        for one, other in zip(published, targets, strict=True)
    )
