"""Read an inventory: the machines to enrol, in YAML of a strict schema (docs/provision.rst)."""

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from atomic_baremetal.errors import Error

MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
INTERFACES = (
    "bios",
    "boot",
    "console",
    "deploy",
    "firmware",
    "inspect",
    "management",
    "network",
    "power",
    "raid",
    "rescue",
    "storage",
    "vendor",
)
KEYS = (
    "name",
    "driver",
    "resource_class",
    "driver_info",
    "interfaces",
    "properties",
    "macs",
    "address",
    "ssh_port",
    "labels",
    "automated_clean",
    "description",
)
LARGEST_BYTES = 10_000_000


class InventoryError(Error):
    """An inventory that does not say clearly what to enrol."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Hold one machine of an inventory.

    :ivar driver_info: as Ironic takes it; may hold secrets, kept out of repr().
    :ivar secrets: the keys of driver_info whose values came out of files.
    :ivar interfaces: by kind, without `_interface`; Ironic's defaults for the rest.
    :ivar macs: of the network ports, lower case.
    :ivar extra: what goes into the node's `extra`.
    :ivar automated_clean: None leaves it to Ironic's configuration.
    """

    name: str
    driver: str
    resource_class: str = "baremetal"
    driver_info: Mapping[str, Any] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = ()
    interfaces: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)
    macs: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    automated_clean: bool | None = None
    description: str | None = None


def read(path: Path) -> list[Machine]:
    """Read an inventory, and the files of secrets that it names (relative to it).

    :raises InventoryError: names the file, the node and the key that is wrong.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise InventoryError(f"cannot read the inventory {path}: {error.strerror}") from error
    if len(data) > LARGEST_BYTES:
        raise InventoryError(f"{path} is too large for an inventory")
    try:
        content = yaml.safe_load(data)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InventoryError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    return machines(content, where=str(path), directory=path.parent)


def machines(content: Any, *, where: str, directory: Path) -> list[Machine]:
    """Check the content of an inventory.

    :param where: names it in errors.
    :param directory: what the names of secrets' files are relative to.
    :raises InventoryError: as read().
    """
    if not isinstance(content, dict):
        raise InventoryError(
            f"{where}: not an inventory", hint="it is a mapping with a list 'nodes'"
        )
    _check_keys(content, ("nodes",), where)
    nodes = content.get("nodes")
    if not isinstance(nodes, list) or not nodes:
        raise InventoryError(f"{where}: 'nodes' is not a list of machines")
    found = [
        _machine(node, f"{where}: node {number}", directory)
        for number, node in enumerate(nodes, start=1)
    ]
    _check_unique([one.name for one in found], f"{where}: two nodes are called")
    _check_unique([mac for one in found for mac in one.macs], f"{where}: two nodes have the MAC")
    return found


def _machine(node: Any, where: str, directory: Path) -> Machine:
    if not isinstance(node, dict):
        raise InventoryError(f"{where}: not a mapping")
    if isinstance(node.get("name"), str):
        where = f"{where} ({node['name']})"
    _check_keys(node, KEYS, where)
    interfaces = _mapping(node, "interfaces", where)
    _check_keys(interfaces, INTERFACES, f"{where}: interfaces")
    driver_info, secrets = _driver_info(_mapping(node, "driver_info", where), where, directory)
    extra = {
        key: value
        for key, value in (
            ("address", _text(node, "address", where, default=None)),
            ("ssh_port", _value(node, "ssh_port", int, where)),
            ("labels", _labels(node, where)),
        )
        if value is not None
    }
    return Machine(
        name=_required(node, "name", where),
        driver=_required(node, "driver", where),
        resource_class=_text(node, "resource_class", where, default="baremetal") or "baremetal",
        driver_info=driver_info,
        secrets=secrets,
        interfaces={key: str(value) for key, value in interfaces.items()},
        properties=_mapping(node, "properties", where),
        macs=_macs(node, where),
        extra=extra,
        automated_clean=_value(node, "automated_clean", bool, where),
        description=_text(node, "description", where, default=None),
    )


def _labels(node: Mapping[str, Any], where: str) -> dict[str, str] | None:
    found = _mapping(node, "labels", where)
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise InventoryError(
                f"{where}: labels: {name!r}: {value!r} is not text", hint="put it in quotes"
            )
    return found or None


def _driver_info(
    given: Mapping[str, Any], where: str, directory: Path
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Put the content of a file in the place of each `{file: PATH}`."""
    values = dict(given)
    secrets = tuple(key for key, value in given.items() if isinstance(value, dict))
    for key in secrets:
        _check_keys(given[key], ("file",), f"{where}: driver_info {key}")
        name = given[key].get("file")
        if not isinstance(name, str):
            raise InventoryError(f"{where}: driver_info {key}: 'file' is not a path")
        path = directory / Path(name).expanduser()
        try:
            values[key] = path.read_text().rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not text"
            raise InventoryError(
                f"{where}: driver_info {key}: cannot read {path}: {why}"
            ) from error
    return values, secrets


def _macs(node: Mapping[str, Any], where: str) -> tuple[str, ...]:
    given = node.get("macs", [])
    if not isinstance(given, list):
        raise InventoryError(f"{where}: 'macs' is not a list")
    macs = tuple(str(mac).lower() for mac in given)
    for mac in macs:
        if not MAC.fullmatch(mac):
            raise InventoryError(
                f"{where}: {mac!r} is not a MAC address",
                hint="it looks like '52:54:00:12:34:56', in quotes",
            )
    return macs


def _mapping(node: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    value = node.get(key, {})
    if not isinstance(value, dict):
        raise InventoryError(f"{where}: {key!r} is not a mapping")
    return value


def _required(node: Mapping[str, Any], key: str, where: str) -> str:
    value = _text(node, key, where, default=None)
    if not value:
        raise InventoryError(f"{where}: {key!r} is missing")
    return value


def _text(node: Mapping[str, Any], key: str, where: str, *, default: str | None) -> str | None:
    value: str | None = _value(node, key, str, where)
    return default if value is None else value


def _value(node: Mapping[str, Any], key: str, kind: type, where: str) -> Any:
    value = node.get(key)
    if value is None or type(value) is kind:  # type: True is no number here
        return value
    wanted = {str: "text (put it in quotes)", int: "a number", bool: "true or false"}[kind]
    raise InventoryError(f"{where}: {key!r} is not {wanted}: {value!r}")


def _check_keys(given: Mapping[Any, Any], known: Collection[str], where: str) -> None:
    for key in given:
        if key in known:
            continue
        near = difflib.get_close_matches(str(key), known, n=1)
        raise InventoryError(
            f"{where}: unknown key {key!r}",
            hint=f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(known)}",
        )


def _check_unique(values: list[str], said: str) -> None:
    for value in values:
        if values.count(value) > 1:
            raise InventoryError(f"{said} {value}")
