"""Decide what is to be done on each node, and say why: from the file and from what was seen.

Nothing is touched here. A service that is as the file has it is left alone, whatever way its values
are written: both sides are compared as units that were rendered from values in their normal form.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from atomic_baremetal.errors import Error
from provision.services import state
from provision.services.host import Container, Observed, OnNode
from provision.services.model import Project
from provision.services.state import State
from provision.services.unit import render
from provision.services.unit.render import Rendered

USER = "user of its image"


class NotOurs(Error):
    """Something on a node has a name that a service of ours is to have."""


class Action(StrEnum):
    """What is to be done with a service on a node."""

    CREATE = "create"
    CHANGE = "change"
    RESTORE = "restore"
    RESTART = "restart"
    START = "start"
    ROLLBACK = "rollback"
    ORPHAN = "orphan"
    NOTHING = "nothing"

    @property
    def starts(self) -> bool:
        """Whether the service is started anew."""
        return self not in (Action.ORPHAN, Action.NOTHING)

    @property
    def installs(self) -> bool:
        """Whether files are brought to the node."""
        return self in (Action.CREATE, Action.CHANGE, Action.RESTORE)

    @property
    def goes_back(self) -> bool:
        """Whether the unit becomes another one, so that there is a way back."""
        return self in (Action.CREATE, Action.CHANGE, Action.ROLLBACK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is to be done with one service on one node.

    :ivar reasons: for people; no value of an environment or a secret among them.
    :ivar wanted: its unit; None for an orphan.
    """

    host: str
    service: str
    action: Action
    reasons: tuple[str, ...] = ()
    wanted: Rendered | None = field(default=None, repr=False)


def of_host(
    project: Project, host: str, seen: Observed, wanted: Mapping[str, Rendered | None]
) -> list[Change]:
    """Compare a node with what it is to have, in the order of wanted; orphans come last.

    :param wanted: by service, for those that are placed on this node, dependencies first; None:
        leave it as it is.
    :raises NotOurs: a name is taken by what others made.
    """
    chosen = {service: rendered for service, rendered in wanted.items() if rendered is not None}
    refuse_strangers(project, host, seen, chosen)
    changes = {
        service: compare(host, service, seen.services.get(service), chosen[service], seen.secrets)
        if service in chosen
        else Change(host=host, service=service, action=Action.NOTHING)
        for service in wanted
    }
    for service, one in changes.items():
        if one.action is Action.CREATE:
            user = project.services[service].user
            said = USER if user is None else f"user {user}"
            changes[service] = replace(one, reasons=(*one.reasons, said))
    return [*changes.values(), *orphans(host, seen, wanted)]


def orphans(host: str, seen: Observed, wanted: Collection[str]) -> list[Change]:
    """Find what a node has of the project and is not to have."""
    return [
        Change(
            host=host, service=name, action=Action.ORPHAN, reasons=("the file does not place it",)
        )
        for name, there in sorted(seen.services.items())
        if name not in wanted and state.of(there) is not State.ABSENT
    ]


def compare(
    host: str, service: str, there: OnNode | None, wanted: Rendered, secrets: Collection[str]
) -> Change:
    """Compare what a node has of one service with what it is to have."""
    if there is None or (there.unit is None and there.current is None):
        action, reasons = Action.CREATE, ["it is not there"]
    elif differing := _differing(there, wanted):
        action, reasons = Action.CHANGE, [*differing, *tampered(there, wanted, secrets)]
    elif edited := tampered(there, wanted, secrets):
        action, reasons = Action.RESTORE, edited
    else:
        action, reasons = _running(there, wanted)
    return Change(host=host, service=service, action=action, reasons=tuple(reasons), wanted=wanted)


def _differing(there: OnNode, wanted: Rendered) -> list[str]:
    """List what differs between the unit that was installed and the wanted one."""
    if wanted.text in (there.current, there.unit):
        return []  # another one beside it was tampered with
    before = there.current if there.current is not None else there.unit
    return render.differences(before or "", wanted.text)


def _running(there: OnNode, wanted: Rendered) -> tuple[Action, list[str]]:
    """Decide about a service whose files are as they are to be."""
    now = state.of(there)
    if now in (State.FAILED, State.STOPPED):
        return Action.START, [f"it is {now}"]
    if there.container is not None and there.container.unit_digest != wanted.digest:
        return Action.RESTART, ["its container runs an older unit"]
    return Action.NOTHING, []


def tampered(there: OnNode, wanted: Rendered, secrets: Collection[str]) -> list[str]:
    """Name what was edited, taken away or added on the node under a service."""
    found = []
    if there.current is None:
        found.append("the record of its unit is gone from the node")
    elif there.unit == wanted.text != there.current:
        found.append("the record of its unit was edited on the node")
    elif there.unit is None:
        found.append("its unit file is gone from the node")
    elif there.unit != there.current:
        found.append("its unit file was edited on the node")
    if not there.enabled:
        found.append("it would not start at the next boot")
    found += _configs(there, wanted)
    found += [
        f"secret {name} is gone from the node" for name in wanted.secrets if name not in secrets
    ]
    return found


def _configs(there: OnNode, wanted: Rendered) -> list[str]:
    if wanted.text not in (there.current, there.unit):
        return []  # its configs are about to be others, and what these were to be is not known
    found = []
    for digest, files in wanted.configs.items():
        for name, (content, mode) in files.items():
            file = there.configs.get(f"{digest}/{name}")
            if file is None:
                found.append(f"config {name} is gone from the node")
            elif file.kind != "file":
                found.append(f"config {name} was replaced on the node: it is a {file.kind}")
            elif file.sha256 != hashlib.sha256(content).hexdigest():
                found.append(f"config {name} was edited on the node")
            elif file.mode != mode:
                found.append(f"config {name}: mode {file.mode:04o} on the node, not {mode:04o}")
        if (directory := there.configs.get(digest)) is not None:
            found.append(
                f"config directory: {directory.kind} of mode {directory.mode:04o} on the node, not "
                "directory of mode 0555"
            )
        found += [
            f"config directory: {path.partition('/')[2]!r} was added on the node"
            for path in there.configs
            if path.startswith(f"{digest}/") and path.partition("/")[2] not in files
        ]
    return found


def refuse_strangers(project: Project, host: str, seen: Observed, wanted: Collection[str]) -> None:
    """Refuse to take over a container or unit that somebody else made.

    :raises NotOurs: there is one.
    """
    for service in wanted:
        unit = project.unit(service)
        there = seen.services.get(service)
        if _stranger(unit, there, seen.strangers):
            raise NotOurs(
                f"{host}: there is a container {unit} that is not ours",
                hint=f"remove or rename it there: podman rename {unit} NAME",
            )
        if there is not None and there.current is None and there.unit is not None:
            try:
                render.record(there.unit)
            except Error as error:
                raise NotOurs(
                    f"{host}: there is a unit {unit} that is not ours",
                    hint="remove or rename it there",
                ) from error


def _stranger(unit: str, there: OnNode | None, strangers: Sequence[Container]) -> bool:
    if there is not None and there.container is not None and there.container.unit_digest is None:
        return True
    return any(one.name == unit for one in strangers)
