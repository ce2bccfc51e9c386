"""Name what differs between two units in the words of the services file.

Both kinds of unit are read back into one list of facts, so that a node whose podman went from plain
units to Quadlet shows no differences but real ones. Values of the environment, of commands and of
labels are never shown: people put secrets there.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from provision.services.unit import podman, quadlet, systemd_unit, unit_file
from provision.services.unit.container import UNIT_LABEL
from provision.services.unit.podman import Option
from provision.services.unit.unit_file import Section, UnitFileError

# Options whose one value may be shown, by the file's word for them.
_SHOWN = {
    "--cgroupns": "cgroup",
    "--health-interval": "healthcheck.interval",
    "--health-retries": "healthcheck.retries",
    "--health-start-period": "healthcheck.start_period",
    "--health-timeout": "healthcheck.timeout",
    "--hostname": "hostname",
    "--ipc": "ipc",
    "--memory": "mem_limit",
    "--network": "network_mode",
    "--no-healthcheck": "healthcheck.disable",
    "--pid": "pid",
    "--pids-limit": "pids_limit",
    "--privileged": "privileged",
    "--read-only": "read_only",
    "--shm-size": "shm_size",
    "--stop-signal": "stop_signal",
    "--stop-timeout": "stop_grace_period",
    "--user": "user",
    "--workdir": "working_dir",
}
_HIDDEN = {"--entrypoint": "entrypoint", "--health-cmd": "healthcheck.test"}
# Options of which there are several: each is there or not.
_LISTED = {
    "--cap-add": "cap_add",
    "--cap-drop": "cap_drop",
    "--device": "devices",
    "--mount": "volumes",
    "--publish": "ports",
    "--tmpfs": "volumes",
    "--volume": "volumes",
}
_KEYS = {key.name: flag for flag, key in podman.KEYS.items()}
_OURS = {"ContainerName", "Image", "Notify", "Exec", "PodmanArgs"}
_NAMES = {name: f"${{{name}}}" for name in quadlet.VARIABLES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a unit asks podman for, whichever kind of unit it is.

    :ivar options: sorted, without those that every container of ours has.
    """

    options: tuple[Option, ...]
    image: str
    command: tuple[str, ...]


def differences(old: str, new: str) -> list[str]:
    """List what differs from an old unit to a new one, like ``mem_limit: 1048576 -> 2097152``.

    :returns: empty for equal texts alone; a text that cannot be read is one difference.
    """
    if old == new:
        return []
    try:
        before, after = _facts(old), _facts(new)
    except (UnitFileError, LookupError, ValueError):
        return ["the unit file is not as it was written"]
    if before["image"] != after["image"]:
        before["image's digest"] = after["image's digest"]  # of course
    found = [
        _worded(name, before.get(name), after.get(name))
        for name in [*before, *(one for one in after if one not in before)]
        if before.get(name) != after.get(name)
    ]
    return found or ["how the unit is written"]


def run_of(text: str) -> Run:
    """Read from a unit, of either kind, what it asks podman for.

    :raises UnitFileError: it was not written by us, or edited since.
    """
    sections = {section.name: section for section in unit_file.parse(text)}
    if container := sections.get("Container"):
        return _quadlet_run(container)
    return _plain_run(sections["Service"])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fact:
    """A fact's value, and the text that may be shown of it; None: nothing may."""

    value: str
    shown: str | None = None


def _worded(name: str, before: _Fact | None, after: _Fact | None) -> str:
    if before is None or after is None:
        one = before or after
        assert one is not None  # noqa: S101  (a name comes from one of them)
        how = "added" if before is None else "removed"
        return f"{name}: {one.shown} {how}" if one.shown else f"{name} {how}"
    if before.shown is None or after.shown is None:
        return name
    return f"{name}: {before.shown} -> {after.shown}"


def _facts(text: str) -> dict[str, _Fact]:
    sections = {section.name: section for section in unit_file.parse(text)}
    facts: dict[str, _Fact] = {}
    ours = sections[systemd_unit.RECORD]
    facts.update(_image(ours))
    for entry in ours.all("ConfigFile"):
        name, _, digest = entry.partition(" ")
        facts[f"config {name}"] = _Fact(value=digest)
    run = run_of(text)
    for option in run.options:
        facts.update(_option(ours, option))
    if run.command:
        facts["command"] = _Fact(value="\0".join(run.command))
    for unit in sections["Unit"].all("Wants"):
        if unit.endswith(".service"):
            service = unit.removesuffix(".service").removeprefix(f"{ours.last('Project')}-")
            facts[f"depends_on {service}"] = _Fact(value="")
    return facts


def _image(ours: Section) -> Iterator[tuple[str, _Fact]]:
    (image,) = unit_file.split(ours.last("Image") or "")
    (pinned,) = unit_file.split(ours.last("Pinned") or "")
    yield "image", _Fact(value=image, shown=image)
    yield "image's digest", _Fact(value=pinned, shown=pinned.rpartition("@")[2])


def _option(ours: Section, option: Option) -> Iterator[tuple[str, _Fact]]:
    value = option.value if option.value is not None else "true"
    if name := _SHOWN.get(option.flag):
        shown = value.removesuffix("b") if option.flag in ("--memory", "--shm-size") else value
        yield name, _Fact(value=value, shown=shown)
    elif name := _HIDDEN.get(option.flag):
        yield name, _Fact(value=value)
    elif name := _LISTED.get(option.flag):
        yield _listed(ours, name, value)
    elif option.flag == "--env":
        yield f"environment {value.partition('=')[0]}", _Fact(value=value)
    elif option.flag == "--label":
        yield f"label {value.partition('=')[0]}", _Fact(value=value)
    elif option.flag == "--secret":
        full = value.partition(",")[0].rpartition("-")[0]
        yield f"secret {full.removeprefix(ours.last('Project') or '')[1:]}", _Fact(value=value)


def _listed(ours: Section, name: str, value: str) -> tuple[str, _Fact]:
    """Word one of several: it is there or not; but for a config, which is mounted somewhere."""
    if name != "volumes":
        return f"{name} {value}", _Fact(value="")
    project = ours.last("Project")
    directory = f"/{project}/{ours.last('Service')}/config/"
    if mounted := re.search(
        rf"{re.escape(directory)}[0-9a-f]+/([a-z0-9_.-]+)(.*)", value, re.DOTALL
    ):
        # without the digest, which changes with the content of any config
        return f"target of config {mounted[1]}", _Fact(value=mounted[2])
    if value.startswith("type="):
        # a line of CSV: written for podman, not as the file has it
        (fields,) = csv.reader(io.StringIO(value, newline=""))
        known = dict(field.partition("=")[::2] for field in fields)
        options = [one for one in fields[1:] if not one.startswith(("source=", "destination="))]
        parts = [known.get("source"), known["destination"], ",".join(options)]
        value = ":".join(part for part in parts if part)
    return f"{name} {value.removeprefix(f'{project}_')}", _Fact(value="")


def _plain_run(service: Section) -> Run:
    words = tuple(map(unit_file.unliteral, unit_file.split(service.last("ExecStart") or "")))
    options = []
    position = 2  # behind "podman run"
    while words[position : position + 1] and words[position].startswith("--"):
        flag, equals, value = words[position].partition("=")
        options.append(Option(flag=flag, value=value if equals else None))
        position += 1
    return _run(options, words[position], words[position + 1 :])


def _quadlet_run(container: Section) -> Run:
    options = []
    for key, value in container.entries:
        if key == "PodmanArgs":
            (word,) = _words(value)
            flag, equals, given = word.partition("=")
            options.append(Option(flag=flag, value=given if equals else None))
        elif key not in _OURS:
            options.append(_by_key(key, value))
    command = _words(container.last("Exec") or "")
    return _run(options, container.last("Image") or "", command)


def _by_key(key: str, value: str) -> Option:
    flag = _KEYS[key]
    if podman.KEYS[flag].reading is podman.Reading.WORDS:
        (value,) = _words(value)
    else:
        value = unit_file.unliteral(value)
    # an option that only switches something on has no value in the plain unit
    return Option(flag=flag, value=None if flag == "--read-only" else value)


def _words(value: str) -> tuple[str, ...]:
    """Read words that Quadlet, systemd and its variables were to make of a value."""
    words = []
    for word in unit_file.split(value):
        parts = re.split(r"(\$\$|\$\{\w+\})", word)
        words.append("".join(_variable(part) for part in parts))
    return tuple(words)


def _variable(part: str) -> str:
    for name, written in _NAMES.items():
        if part == written:
            return quadlet.VARIABLES[name]
    return unit_file.unliteral(part)


def _run(options: Iterable[Option], image: str, command: tuple[str, ...]) -> Run:
    everyones = {"--name", "--replace", "--rm", "--detach", "--cgroups", "--sdnotify"}
    kept = (
        option
        for option in options
        if option.flag not in everyones and not (option.value or "").startswith(f"{UNIT_LABEL}=")
    )
    return Run(options=tuple(sorted(kept, key=Option.word)), image=image, command=command)
