"""Read what is put into a service's container: volumes, files, ports and devices."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from provision.services.file import unhandled, values
from provision.services.file.fields import Field, closest
from provision.services.file.yaml_file import shown
from provision.services.model import Dependency, Grant, Mount, MountKind, Port

PROPAGATION = ("private", "rprivate", "rshared", "rslave", "shared", "slave")
SECRETS = "/run/secrets"
READABLE = 0o444


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaited:
    """Hold what a service asks of another, to be checked when all services are read."""

    service: str
    dependency: Dependency
    field: Field


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Hold what a service can refer to in its file.

    :ivar service: its own name.
    :ivar awaited: gets what it asks of other services.
    """

    service: str
    services: Collection[str]
    volumes: Collection[str]
    configs: Collection[str]
    secrets: Collection[str]
    awaited: list[Awaited]


def defined(field: Field, name: str, names: Collection[str], kind: str) -> str:
    """Return a name that is defined in the file.

    :raises Problem: it is not; suggests another.
    """
    if name not in names:
        field.fail(f"there is no {kind} {shown(name)} in the file", hint=closest(name, names))
    return name


def mounts(field: Field, scope: Scope) -> list[Mount]:
    """Read `volumes` of a service."""
    return field.gathered(
        field.items(what="a list of volumes"),
        lambda one: _long_mount(one, scope) if one.is_mapping() else _short_mount(one, scope),
    )


def tmpfs(field: Field, _: Scope) -> list[Mount]:
    """Read `tmpfs` of a service: one path, or a list of them."""
    items = field.items() if field.is_list() else [field]
    return field.gathered(items, _tmpfs)


def _tmpfs(field: Field) -> Mount:
    if ":" in field.text():
        field.fail("options of a tmpfs are not handled here", hint="the path alone")
    return Mount(kind=MountKind.TMPFS, source="", target=field.read(values.target))


def _short_mount(field: Field, scope: Scope) -> Mount:
    parts = field.text().split(":")
    if len(parts) == 1:
        field.fail(
            "a volume without a name", hint="data lives in named volumes: NAME:PATH, or tmpfs: PATH"
        )
    if len(parts) > 3:
        field.fail("not SOURCE:TARGET[:OPTIONS]", hint="the long form can have ':' in a path")
    options = parts[2].split(",") if len(parts) == 3 else []
    propagation = [one for one in options if one in PROPAGATION]
    for option in options:
        if option in {"z", "Z"}:
            field.fail(f"option {option!r} is not handled here", hint=unhandled.BIND["selinux"])
        if option not in {"ro", "rw", *PROPAGATION}:
            field.fail(f"unknown option {shown(option)}", hint="ro, rw or a bind's propagation")
    if len(propagation) > 1 or {"ro", "rw"} <= set(options) or len(set(options)) < len(options):
        field.fail("options that exclude each other")
    return _mount(
        field,
        scope,
        kind=MountKind.BIND if parts[0].startswith(("/", ".", "~")) else MountKind.VOLUME,
        source=parts[0],
        target=field.judged(lambda: values.target(parts[1])),
        read_only="ro" in options,
        propagation=propagation[0] if propagation else None,
    )


def _long_mount(field: Field, scope: Scope) -> Mount:
    keys = field.keys(("type", "source", "target", "read_only", "bind"), unhandled=unhandled.MOUNT)
    for needed in ("type", "target"):
        if needed not in keys:
            field.fail(f"has no {needed}")
    kind = MountKind(keys["type"].one_of([one.value for one in MountKind]))
    if kind != MountKind.TMPFS and "source" not in keys:
        field.fail("has no source")
    if kind == MountKind.TMPFS and "source" in keys:
        keys["source"].fail("a tmpfs comes from nowhere")
    propagation = None
    if "bind" in keys:
        if kind != MountKind.BIND:
            keys["bind"].fail(f"this is a {kind}")
        propagation = _bind_options(keys["bind"])
    return _mount(
        keys.get("source", field),
        scope,
        kind=kind,
        source=keys["source"].text() if "source" in keys else "",
        target=keys["target"].read(values.target),
        read_only="read_only" in keys and keys["read_only"].boolean(),
        propagation=propagation,
    )


def _bind_options(field: Field) -> str | None:
    options = field.keys(("propagation", "create_host_path"), unhandled=unhandled.BIND)
    if "create_host_path" in options and options["create_host_path"].boolean():
        options["create_host_path"].fail("nothing is made on the node", hint="make it there first")
    return options["propagation"].one_of(PROPAGATION) if "propagation" in options else None


def _mount(
    field: Field,
    scope: Scope,
    *,
    kind: MountKind,
    source: str,
    target: str,
    read_only: bool,
    propagation: str | None,
) -> Mount:
    if kind == MountKind.VOLUME:
        defined(field, source, scope.volumes, "volume")
        if propagation is not None:
            field.fail("propagation is for bind mounts")
    if kind == MountKind.BIND:
        if not source.startswith("/"):
            field.fail(
                f"{shown(source)} is not an absolute path of the node",
                hint="a file from here is brought to the node as a config",
            )
        source = _path(field, source)
    return Mount(
        kind=kind, source=source, target=target, read_only=read_only, propagation=propagation
    )


def _path(field: Field, text: str) -> str:
    return field.judged(lambda: values.absolute_path(text))


def configs(field: Field, scope: Scope) -> list[Grant]:
    """Read `configs` of a service: names, or mappings with source, target and mode."""
    return field.gathered(
        field.items(what="a list of configs"),
        lambda one: _grant(one, scope.configs, "config", directory=""),
    )


def secrets(field: Field, scope: Scope) -> list[Grant]:
    """Read `secrets` of a service: names, or mappings with source, target, uid, gid and mode."""
    return field.gathered(
        field.items(what="a list of secrets"),
        lambda one: _grant(one, scope.secrets, "secret", directory=SECRETS),
    )


def _grant(field: Field, names: Collection[str], kind: str, *, directory: str) -> Grant:
    if not field.is_mapping():
        name = defined(field, field.text(), names, kind)
        return Grant(name=name, target=f"{directory}/{name}", mode=READABLE)
    config = kind == "config"
    reason = "a config belongs to root: mode says who may read it"
    keys = field.keys(
        ("source", "target", "mode") if config else ("source", "target", "uid", "gid", "mode"),
        unhandled={"uid": reason, "gid": reason} if config else {},
    )
    if "source" not in keys:
        field.fail("has no source")
    name = defined(keys["source"], keys["source"].text(), names, kind)
    target = f"{directory}/{name}"
    if "target" in keys:
        text = keys["target"].text()
        relative = directory and not text.startswith("/")
        target = (
            _path(keys["target"], f"{directory}/{text}")
            if relative
            else keys["target"].read(values.target)
        )
    if "," in target and not config:
        keys["target"].fail(
            f"{shown(target)} has a comma, and podman cannot be told so", hint="another target"
        )
    return Grant(
        name=name,
        target=target,
        mode=keys["mode"].read(values.mode, as_written=True) if "mode" in keys else READABLE,
        uid=keys["uid"].read(values.numeric_id) if "uid" in keys else 0,
        gid=keys["gid"].read(values.numeric_id) if "gid" in keys else 0,
    )


def ports(field: Field, _: Scope) -> list[Port]:
    """Read `ports` of a service."""
    read = field.gathered(
        field.items(what="a list of ports"),
        lambda one: _long_port(one) if one.is_mapping() else one.read(values.ports),
    )
    return [port for several in read for port in several]


def _long_port(field: Field) -> Sequence[Port]:
    keys = field.keys(
        ("target", "published", "host_ip", "protocol", "mode"), unhandled=unhandled.PORT
    )
    for needed in ("target", "published"):
        if needed not in keys:
            field.fail(f"has no {needed}")
    if "mode" in keys:
        keys["mode"].one_of(["host"])
    pair = keys["published"].text(), keys["target"].text()
    transport = keys["protocol"].text() if "protocol" in keys else "tcp"
    host = keys["host_ip"].text() if "host_ip" in keys else None
    return field.judged(lambda: values.port_pairs(*pair, transport=transport, host=host))


def device(field: Field) -> str:
    """Read one of the `devices` of a service, as text or as a mapping."""
    if not field.is_mapping():
        return field.read(values.device)
    keys = field.keys(("source", "target", "permissions"))
    if "source" not in keys:
        field.fail("has no source")
    source = keys["source"].read(values.target)
    target = keys["target"].read(values.target) if "target" in keys else source
    permissions = keys["permissions"].text() if "permissions" in keys else "rwm"
    return field.judged(lambda: values.device(f"{source}:{target}:{permissions}"))
