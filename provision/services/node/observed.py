"""Read what node/observe.sh printed: what a node has of a project, and who else runs containers.

Everything here is a pure function of the printed bytes. Names that are not text come with their
bytes written out, so that they can be shown.
"""

import io
import json
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from provision.services.host import (
    QUADLET_DIRECTORY,
    STATE,
    UNIT_DIRECTORY,
    Container,
    FileState,
    Observed,
    OnNode,
)
from provision.services.node import answers
from provision.services.node.answers import Answer, Unreadable
from provision.services.node.delivery import NAME

PROJECT_LABEL = "io.atomic-baremetal.project"
SERVICE_LABEL = "io.atomic-baremetal.service"
UNIT_LABEL = "io.atomic-baremetal.unit"
KINDS = {
    "d": "directory",
    "l": "symbolic link",
    "p": "fifo",
    "s": "socket",
    "b": "block device",
    "c": "character device",
}
NOT_FOUND = (126, 127)  # how a shell says that it cannot run a program


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where things lie on a node, and whose the files are."""

    state: str = STATE
    quadlet: str = QUADLET_DIRECTORY
    units: str = UNIT_DIRECTORY
    owner: str = "0:0"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Texts:
    """The texts of units: by service, and which of the unit files say that they are ours."""

    unit: Mapping[str, str]
    ours: frozenset[str]
    current: Mapping[str, str]
    previous: Mapping[str, str]


def parse(printed: bytes, project: str, places: Places = Places()) -> Observed:
    """Read everything.

    :raises Unreadable: podman or systemd is not there or failed, or the answer is incomplete.
    """
    found = answers.read(printed)
    podman = _version(found, "podman", r"(\d+)\.(\d+)\.(\d+)")
    systemd = _version(found, "systemd", r"systemd (\d+)")
    texts = _texts(_good(found, "texts").output, project, places)
    configs = _configs(_good(found, "tree").output, _good(found, "hashes").output, places)
    states = _states(_good(found, "states").text)
    ours, strangers = _containers(found["containers"], project)
    return Observed(
        podman=(podman[0], podman[1], podman[2]),
        systemd=systemd[0],
        services={
            service: OnNode(
                service=service,
                unit=texts.unit.get(service),
                current=texts.current.get(service),
                previous=texts.previous.get(service),
                container=ours.get(service),
                configs=configs.get(service, {}),
                **_state(states.get(f"{project}-{service}", {})),
            )
            for service in sorted({*texts.current, *texts.ours, *configs, *ours})
        },
        strangers=tuple(strangers),
        images=frozenset(_images(_good(found, "images").text)),
        secrets=frozenset(_good(found, "secrets").text.splitlines()),
        projects=tuple(
            name
            for name in _records(found.get("projects", Answer()).output)
            if NAME.fullmatch(name)
        ),
    )


def _good(found: Mapping[str, Answer], name: str) -> Answer:
    """Return an answer that is no failure."""
    answer = found.get(name)
    if answer is None:
        raise Unreadable(f"it said nothing of {name}")
    if answer.status != 0:
        raise Unreadable(f"looking at its {name} failed: {answer.last_words or answer.status}")
    return answer


def _version(found: Mapping[str, Answer], program: str, pattern: str) -> tuple[int, ...]:
    answer = found.get(program, Answer(status=127))
    if answer.status in NOT_FOUND:
        raise Unreadable(f"it has no {program}")
    match = re.search(pattern, _good(found, program).text)
    if match is None:
        raise Unreadable(f"its {program} names no version: {answers.plain(answer.text)[:80]!r}")
    return tuple(int(number) for number in match.groups())


def _texts(packed: bytes, project: str, places: Places) -> _Texts:
    unit: dict[str, str] = {}
    kept: dict[str, dict[str, str]] = {"current": {}, "previous": {}}
    for path, text in _members(packed):
        if path.is_relative_to(PurePosixPath(places.state, project)):
            if NAME.fullmatch(path.parent.name):
                kept[path.name][path.parent.name] = text
        else:
            # systemd takes a plain unit, which comes last, for Quadlet's of the same name
            unit[path.stem.removeprefix(f"{project}-")] = text
    ours = {one for one, text in unit.items() if _is_ours(text, project, one)}
    return _Texts(
        unit=unit, ours=frozenset(ours), current=kept["current"], previous=kept["previous"]
    )


def _members(packed: bytes) -> Iterator[tuple[PurePosixPath, str]]:
    """List files of a tar stream; of what is no file, the text is empty."""
    if not packed:
        return
    try:
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:") as tar:
            for member in tar:
                file = tar.extractfile(member) if member.isreg() else None
                text = file.read().decode(errors="backslashreplace") if file else ""
                yield PurePosixPath("/", member.name), text
    except tarfile.TarError as error:
        raise Unreadable(f"the texts of its units cannot be read: {error}") from error


def _is_ours(text: str, project: str, service: str) -> bool:
    lines = set(text.splitlines())
    return {f"Project={project}", f"Service={service}"} <= lines


def _configs(tree: bytes, hashes: bytes, places: Places) -> dict[str, dict[str, FileState]]:
    """Tell what is in the config directories: by service, then DIGEST/NAME."""
    sums = {}
    for record in _records(hashes):
        digest, _, path = record.partition("  ")
        sums[path.removeprefix("./")] = digest
    found: dict[str, dict[str, FileState]] = {}
    for record in _records(tree):
        kind, mode, owner, path = record.split(" ", 3)
        service, _, name = path.partition("/config/")
        state = _file_state(kind, int(mode, 8), owner, sums.get(path, ""), places.owner)
        # a directory named DIGEST is worth no word when it is as we made it
        if "/" in name or state != FileState(sha256="", mode=0o555, kind="directory"):
            found.setdefault(service, {})[name] = state
    return found


def _file_state(kind: str, mode: int, owner: str, sha256: str, expected: str) -> FileState:
    word = "file" if kind == "f" else KINDS.get(kind, "special file")
    if owner != expected:
        word += f" of owner {owner}"
    return FileState(sha256=sha256, mode=mode, kind=word)


def _records(output: bytes) -> list[str]:
    return [one.decode(errors="backslashreplace") for one in output.split(b"\0") if one]


def _states(shown: str) -> dict[str, dict[str, str]]:
    """Read `systemctl show` of several units: properties by unit."""
    found = {}
    for block in shown.split("\n\n"):
        properties = dict(line.partition("=")[::2] for line in block.splitlines())
        found[properties.get("Id", "").removesuffix(".service")] = properties
    return found


def _containers(answer: Answer, project: str) -> tuple[dict[str, Container], list[Container]]:
    """Tell apart a project's containers, by service, and those that no project of ours runs."""
    if answer.status != 0 and "no such container" not in answer.errors.decode(errors="replace"):
        raise Unreadable(f"looking at its containers failed: {answer.last_words or answer.status}")
    ours: dict[str, Container] = {}
    strangers = []
    for one in _json(answer.text, "containers"):
        labels = (one.get("Config") or {}).get("Labels") or {}
        service = labels.get(SERVICE_LABEL, "")
        container = _container(one, labels)
        if labels.get(PROJECT_LABEL) is None:
            strangers.append(container)
        elif labels[PROJECT_LABEL] == project:
            if service and container.name == f"{project}-{service}":
                ours[service] = container
            else:
                strangers.append(container)
    return ours, sorted(strangers, key=lambda one: one.name)


def _container(one: Mapping[str, Any], labels: Mapping[str, str]) -> Container:
    state = one.get("State") or {}
    health = state.get("Health") or state.get("Healthcheck") or {}
    image = one.get("ImageName") or one.get("Image") or ""
    digest = one.get("ImageDigest") or ""
    if "@" not in image and digest:
        image = f"{repository(image)}@{digest}"
    return Container(
        name=one.get("Name", ""),
        id=one.get("Id", ""),
        image=image,
        state=state.get("Status", ""),
        health=health.get("Status") or None,
        unit_digest=labels.get(UNIT_LABEL),
        started_at=_moment(state.get("StartedAt", "")),
        user=(one.get("Config") or {}).get("User") or "",
    )


def repository(name: str) -> str:
    """Cut tag and digest off an image's name: `HOST:PORT/a/b:1` is `HOST:PORT/a/b`."""
    name = name.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return head + slash + last.partition(":")[0]


def _images(listed: str) -> set[str]:
    return {
        digest for image in _json(listed, "images") for digest in image.get("RepoDigests") or ()
    }


def _json(text: str, what: str) -> Iterable[dict[str, Any]]:
    try:
        found = json.loads(text) if text.strip() else []
    except ValueError as error:
        raise Unreadable(f"podman's list of {what} cannot be read: {error}") from error
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise Unreadable(f"podman's list of {what} is none")
    return found


def _state(shown: Mapping[str, str]) -> dict[str, Any]:
    """Turn systemd's properties of a unit into an OnNode's."""
    active = shown.get("ActiveState") or "inactive"
    return {
        "active": active,
        "sub": shown.get("SubState") or "dead",
        "restarts": int(shown.get("NRestarts") or 0),
        "since": _timestamp(shown.get("ActiveEnterTimestamp", "")) if active == "active" else 0.0,
        "enabled": shown.get("UnitFileState", "") in ("enabled", "generated", ""),
    }


def _timestamp(shown: str) -> float:
    """Read systemd's `Fri 2026-11-20 17:45:25 UTC`; 0 when it is none."""
    with suppress(ValueError):
        moment = datetime.strptime(shown, "%a %Y-%m-%d %H:%M:%S UTC")
        return moment.replace(tzinfo=UTC).timestamp()
    return 0.0


def _moment(shown: str) -> float:
    """Read podman's `2026-11-20T17:46:18.950189296Z`; 0 when it is none, or Go's zero."""
    with suppress(ValueError):
        return max(0.0, datetime.fromisoformat(shown).timestamp())
    return 0.0
