"""Read one service of a file, key by key.

Source: compose-spec.io, 05-services.
"""

from collections.abc import Callable
from dataclasses import replace
from operator import attrgetter
from typing import Any

from provision.services.file import attachments, unhandled, values
from provision.services.file.attachments import Awaited, Scope, defined
from provision.services.file.fields import Field
from provision.services.file.yaml_file import shown
from provision.services.model import (
    Condition,
    Dependency,
    Healthcheck,
    MountKind,
    NetworkMode,
    Placement,
    Port,
    Service,
)

OUR_LABELS = "io.atomic-baremetal."
X_PROVISION = "x-provision"
LONGEST_BYTES = 65_536  # of a text; of all of them, escaped, systemd takes a million
MOST_BYTES = 131_072
NO_CHECK = Healthcheck(test=())
SHELL = ("/bin/sh", "-c")


def service(field: Field, scope: Scope) -> Service:
    """Read a service.

    :param field: its mapping.
    :raises Problem: it is no service at all; problems of its keys are noted only.
    """
    keys = field.keys(KEYS, unhandled=unhandled.SERVICE)
    if "image" not in keys:
        field.fail("has no image", hint="image: REGISTRY/IMAGE:TAG")
    found: dict[str, Any] = {}
    for key, value in keys.items():
        attribute, read = KEYS[key]
        with field.problems.gathered():
            found[attribute] = read(value, scope)
    if found.get("healthcheck") == NO_CHECK:
        found |= {"healthcheck": None, "no_healthcheck": True}
    found["mounts"] = (*found.pop("volumes", ()), *found.pop("tmpfs", ()))
    if found.get("entrypoint") is not None and found.get("command") is None:
        found["command"] = ()  # the image's own words are for the image's own entrypoint
    complete = Service(**{"image": "", **found, "name": scope.service})
    _check_together(field, keys, complete)
    return _in_order(complete)


def _in_order(service: Service) -> Service:
    """Sort what has no order, so that services that mean the same are equal."""
    return replace(
        service,
        mounts=tuple(sorted(service.mounts, key=attrgetter("target"))),
        configs=tuple(sorted(service.configs, key=attrgetter("target"))),
        secrets=tuple(sorted(service.secrets, key=attrgetter("target"))),
        ports=tuple(
            sorted(service.ports, key=lambda one: (one.published, one.protocol, one.address or ""))
        ),
    )


def _check_together(field: Field, keys: dict[str, Field], service: Service) -> None:
    """Note what is right by itself and wrong together."""
    problems = field.problems
    with problems.gathered():
        _check_program(keys, service)
    if service.ports and service.network_mode != NetworkMode.BRIDGE:
        with problems.gathered():
            keys["ports"].fail(
                f"network_mode is {service.network_mode}, where no port leads anywhere",
                hint="with network_mode: host, every port of the container is the node's"
                if service.network_mode == NetworkMode.HOST
                else None,
            )
    if both := sorted(set(service.cap_add) & set(service.cap_drop)):
        with problems.gathered():
            keys["cap_drop"].fail(f"{' and '.join(both)} is in cap_add too")
    with problems.gathered():
        _check_targets(keys, service)
    with problems.gathered():
        _check_ports(keys, service)
    with problems.gathered():
        _check_modes(keys, service)
    with problems.gathered():
        _check_length(field, keys, service)


def _check_program(keys: dict[str, Field], service: Service) -> None:
    """Refuse what podman reads as something else: for it, no command is the image's command."""
    if service.entrypoint is None and service.command == ():
        keys["command"].fail(
            "podman cannot be told to leave out the image's command",
            hint="give an entrypoint, which is then run without it",
        )
    if service.entrypoint == () and not service.command:
        keys["entrypoint"].fail("neither an entrypoint nor a command: there is nothing to run")
    if service.entrypoint and not service.entrypoint[0]:
        keys["entrypoint"].fail("'' is no program", hint="[] is no entrypoint at all")


def _check_targets(keys: dict[str, Field], service: Service) -> None:
    seen: set[str] = set()
    mounts = [
        (one.target, "tmpfs" if one.kind == MountKind.TMPFS else "volumes")
        for one in service.mounts
    ]
    grants = [(one.target, "configs") for one in service.configs]
    for target, key in [*mounts, *grants, *((one.target, "secrets") for one in service.secrets)]:
        if target in seen:
            field = keys.get(key) or keys["volumes"]  # a tmpfs can be one of the volumes
            field.fail(f"{shown(target)} is the target of something else too")
        seen.add(target)


def _check_ports(keys: dict[str, Field], service: Service) -> None:
    if len(service.ports) > values.MOST_PORTS:
        keys["ports"].fail(
            f"{len(service.ports)} ports are more than the {values.MOST_PORTS} that are handled",
            hint="network_mode: host has them all",
        )
    taken: dict[int, list[Port]] = {}
    for port in service.ports:
        others = taken.setdefault(port.published, [])
        if any(values.same_port(port, other) for other in others):
            keys["ports"].fail(f"port {port.published}/{port.protocol} of the node is there twice")
        others.append(port)


def _check_modes(keys: dict[str, Field], service: Service) -> None:
    """A config lies on the node once, and so it has one mode."""
    modes: dict[str, int] = {}
    for grant in service.configs:
        if modes.setdefault(grant.name, grant.mode) != grant.mode:
            keys["configs"].fail(
                f"config {grant.name!r} is wanted with two modes", hint="make it two configs"
            )


def _check_length(field: Field, keys: dict[str, Field], service: Service) -> None:
    """Refuse what the kernel and systemd would not pass on to podman."""
    check = service.healthcheck
    total = 0
    for key, texts in (
        ("environment", [f"{name}={value}" for name, value in service.environment]),
        ("labels", [f"{name}={value}" for name, value in service.labels]),
        ("command", service.command or ()),
        ("entrypoint", service.entrypoint or ()),
        ("healthcheck", check.test if check is not None else ()),
    ):
        sizes = [len(text.encode()) for text in texts]
        if max(sizes, default=0) > LONGEST_BYTES:
            keys[key].fail(
                f"a text of more than {LONGEST_BYTES} bytes", hint="a config can be longer"
            )
        total += sum(sizes)
    if total > MOST_BYTES:
        field.fail(
            f"more than {MOST_BYTES} bytes in environment, labels, commands and healthcheck",
            hint="a config can be longer",
        )


def _command(field: Field, _: Scope) -> tuple[str, ...] | None:
    if field.is_nothing():
        return None
    return _words(field)


def _words(field: Field) -> tuple[str, ...]:
    if field.is_list():
        return tuple(one.text() for one in field.items())
    return field.read(values.words)


def _variables(field: Field, _: Scope) -> tuple[tuple[str, str], ...]:
    found = pairs(field, values.variable, needs_value=True, read=values.variable_text)
    return tuple(sorted(found.items()))


def _labels(field: Field, _: Scope) -> tuple[tuple[str, str], ...]:
    found = pairs(field, values.label)
    for name in found:
        if name.startswith(OUR_LABELS):
            field.fail(f"{shown(name)} is kept for the project's own labels")
    return tuple(sorted(found.items()))


def pairs(
    field: Field,
    check: Callable[[str], str],
    *,
    needs_value: bool = False,
    read: Callable[[str], str] = str,
) -> dict[str, str]:
    """Read names with texts, from a mapping or a list of NAME=VALUE.

    :param check: refuses what is not a name.
    :param needs_value: refuse a name alone; else its text is empty.
    :param read: what is done with each text.
    """
    found: dict[str, str] = {}
    if field.is_mapping():
        for name, key, value in field.entries():
            with field.problems.gathered():
                key.judged(lambda name=name: check(name))  # type: ignore[misc]
                nothing = not needs_value and value.is_nothing()
                found[name] = "" if nothing else value.read(read)
        return found
    for item in field.items(what="a mapping, nor a list of NAME=VALUE"):
        with field.problems.gathered():
            before, equals, after = item.text().partition("=")
            if needs_value and not equals:
                item.fail("a variable without '='", hint="nothing is taken from here: NAME=VALUE")
            name = item.judged(lambda before=before: check(before))  # type: ignore[misc]
            if name in found:
                item.fail(f"{shown(name)} is there a second time")
            found[name] = item.judged(lambda after=after: read(after))  # type: ignore[misc]
    return found


def _one_of(*known: str) -> Callable[[Field, Scope], str]:
    return lambda field, _: field.one_of(known)


def _read(as_: Callable[[str], Any]) -> Callable[[Field, Scope], Any]:
    return lambda field, _: field.read(as_)


def _boolean(field: Field, _: Scope) -> bool:
    return field.boolean()


def _network_mode(field: Field, _: Scope) -> NetworkMode:
    return NetworkMode(field.one_of([one.value for one in NetworkMode]))


def _set(as_: Callable[[Field], str]) -> Callable[[Field, Scope], tuple[str, ...]]:
    """Read a list without order; twice the same is once."""
    return lambda field, _: tuple(sorted(set(field.gathered(field.items(), as_))))


def _capability(field: Field) -> str:
    return field.read(values.capability)


def _healthcheck(field: Field, _: Scope) -> Healthcheck:
    keys = field.keys(
        ("test", "interval", "timeout", "retries", "start_period", "disable"),
        unhandled=unhandled.HEALTHCHECK,
    )
    if "disable" in keys and keys["disable"].boolean():
        if len(keys) > 1:
            field.fail("disable: true and other keys too")
        return NO_CHECK
    if "test" not in keys:
        field.fail("has no test", hint='like test: ["CMD", "curl", "-f", "http://127.0.0.1"]')
    found: dict[str, Any] = {}
    for key, attribute, as_ in (
        ("interval", "interval_s", values.some_time_s),
        ("timeout", "timeout_s", values.some_time_s),
        ("retries", "retries", values.positive),
        ("start_period", "start_period_s", values.duration_s),
    ):
        if key in keys:
            with field.problems.gathered():
                found[attribute] = keys[key].read(as_)
    test = _test(keys["test"])
    return Healthcheck(test=test, **found) if test else NO_CHECK


def _test(field: Field) -> tuple[str, ...]:
    """Read a test's words; none: there is no test, not even the image's own."""
    if not field.is_list():
        return (*SHELL, field.text())
    kind, *rest = [one.text() for one in field.items()] or [""]
    if kind == "NONE" and not rest:
        return ()
    if kind == "CMD" and rest:
        if rest[0].upper() in {"", "CMD", "CMD-SHELL", "NONE"}:
            field.fail(f"{shown(rest[0])} is no program", hint="write the program's whole path")
        if len(rest) == 1 and rest[0].split() != rest:
            field.fail(
                "a single word with blanks in it, which podman cannot be told",
                hint='["CMD-SHELL", TEXT] has a shell split it',
            )
        return tuple(rest)
    if kind == "CMD-SHELL" and len(rest) == 1:
        return (*SHELL, rest[0])
    field.fail(
        "not a test", hint='["CMD", WORD, ...] or ["CMD-SHELL", TEXT] or ["NONE"], or a text alone'
    )


def _depends_on(field: Field, scope: Scope) -> tuple[Dependency, ...]:
    found: dict[str, Dependency] = {}
    if field.is_mapping():
        for name, key, value in field.entries(what="a mapping of services"):
            with field.problems.gathered():
                defined(key, name, scope.services, "service")
                found[name] = _dependency(value, name)
                scope.awaited.append(
                    Awaited(service=scope.service, dependency=found[name], field=key)
                )
    else:
        for item in field.items(what="a list of services, nor a mapping"):
            with field.problems.gathered():
                name = defined(item, item.text(), scope.services, "service")
                if name in found:
                    item.fail(f"{shown(name)} is there a second time")
                found[name] = Dependency(service=name)
                scope.awaited.append(
                    Awaited(service=scope.service, dependency=found[name], field=item)
                )
    return tuple(found[name] for name in sorted(found))


def _dependency(field: Field, name: str) -> Dependency:
    keys = field.keys(("condition", "restart", X_PROVISION), unhandled=unhandled.DEPENDENCY)
    host = None
    if X_PROVISION in keys:
        ours = keys[X_PROVISION].keys(("host",))
        host = ours["host"].read(values.pattern) if "host" in ours else None
    condition = Condition.STARTED
    if "condition" in keys:
        condition = Condition(keys["condition"].one_of([one.value for one in Condition]))
    return Dependency(
        service=name,
        condition=condition,
        restart="restart" in keys and keys["restart"].boolean(),
        host=host,
    )


def _placement(field: Field, _: Scope) -> Placement:
    keys = field.keys(("hosts", "labels"))
    hosts: list[str] = []
    if "hosts" in keys:
        given = keys["hosts"]
        items = given.items() if given.is_list() else [given]
        if not items:
            given.fail("an empty list", hint='leave it out, or write "*", for every host')
        hosts = given.gathered(items, lambda one: one.read(values.pattern))
    labels = pairs(keys["labels"], values.label) if "labels" in keys else {}
    return Placement(hosts=tuple(sorted(set(hosts))), labels=tuple(sorted(labels.items())))


KEYS: dict[str, tuple[str, Callable[[Field, Scope], Any]]] = {
    "image": ("image", _read(values.image)),
    "command": ("command", _command),
    "entrypoint": ("entrypoint", _command),
    "environment": ("environment", _variables),
    "labels": ("labels", _labels),
    "volumes": ("volumes", attachments.mounts),
    "tmpfs": ("tmpfs", attachments.tmpfs),
    "network_mode": ("network_mode", _network_mode),
    "ports": ("ports", attachments.ports),
    "pid": ("pid", _one_of("host")),
    "ipc": ("ipc", _one_of("host")),
    "cgroup": ("cgroup", _one_of("host", "private")),
    "privileged": ("privileged", _boolean),
    "cap_add": ("cap_add", _set(_capability)),
    "cap_drop": ("cap_drop", _set(_capability)),
    "devices": ("devices", _set(attachments.device)),
    "read_only": ("read_only", _boolean),
    "user": ("user", _read(values.user)),
    "hostname": ("hostname", _read(values.host_name)),
    "working_dir": ("working_dir", _read(values.absolute_path)),
    "mem_limit": ("mem_limit_bytes", _read(values.size_bytes)),
    "shm_size": ("shm_size_bytes", _read(values.size_bytes)),
    "pids_limit": ("pids_limit", _read(values.processes)),
    "stop_signal": ("stop_signal", _read(values.stop_signal)),
    "stop_grace_period": ("stop_grace_period_s", _read(values.duration_s)),
    "healthcheck": ("healthcheck", _healthcheck),
    "depends_on": ("depends_on", _depends_on),
    "configs": ("configs", attachments.configs),
    "secrets": ("secrets", attachments.secrets),
    X_PROVISION: ("placement", _placement),
}
