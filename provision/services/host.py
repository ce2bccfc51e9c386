"""Say what the stories ask of a node and what they see there; nothing is done here.

On a node, everything of a service lies in these places, all made by us and by us alone:

    /etc/containers/systemd/PROJECT-SERVICE.container     its Quadlet unit, from podman 4.4 on
    /etc/systemd/system/PROJECT-SERVICE.service           else its plain unit
    /var/lib/provision-services/PROJECT/SERVICE/current   the unit's text as it was installed
    /var/lib/provision-services/PROJECT/SERVICE/previous  the text that a rollback goes back to
    /var/lib/provision-services/PROJECT/SERVICE/config/DIGEST/CONFIG   its configs, read-only

and in podman: the container PROJECT-SERVICE, volumes PROJECT_VOLUME, secrets
PROJECT-SECRET-FINGERPRINT.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from atomic_baremetal.errors import Error
from provision.services.model import Registry

STATE = "/var/lib/provision-services"
QUADLET_DIRECTORY = "/etc/containers/systemd"
UNIT_DIRECTORY = "/etc/systemd/system"


class HostError(Error):
    """A node that cannot be reached, or that failed at what it was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container of a node.

    :ivar image: by which it was started: our own name a digest.
    :ivar state: podman's word: `running`, `exited`, ...
    :ivar health: `healthy`, `unhealthy`, `starting`; None without a health check.
    :ivar unit_digest: the label of what it was started from; None: not started by us.
    :ivar started_at: seconds since the epoch; 0 unknown.
    """

    name: str
    id: str
    image: str
    state: str
    health: str | None = None
    unit_digest: str | None = None
    started_at: float = 0.0
    user: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileState:
    """What a file under a service's config directory is: its bytes' SHA-256 and permission bits.

    :ivar kind: `file`, else what find(1) says it is.
    """

    sha256: str
    mode: int
    kind: str = "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class OnNode:
    """What a node has of one service.

    :ivar unit: text of the unit file as it is there; None: there is none. So are current, previous.
    :ivar active: systemd's ActiveState, sub its SubState; `inactive`, `dead` for a unit it does not
        know.
    :ivar restarts: how often systemd has restarted it by itself.
    :ivar since: seconds since the epoch when it became active; 0 never.
    :ivar enabled: False: systemd would not start it at the next boot.
    :ivar configs: by DIGEST/NAME, all that is in its config directory.
    """

    service: str
    unit: str | None = None
    current: str | None = None
    previous: str | None = None
    active: str = "inactive"
    sub: str = "dead"
    restarts: int = 0
    since: float = 0.0
    enabled: bool = True
    container: Container | None = None
    configs: Mapping[str, FileState] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What a node looks like, all of it seen in one round trip.

    :ivar podman: its version, like (4, 3, 1).
    :ivar services: by service name, of the project that was asked for.
    :ivar strangers: containers that no project of ours runs.
    :ivar images: names by digest of what can be started without a registry.
    :ivar secrets: names of podman's secrets.
    :ivar projects: names of all projects that the node has something of.
    """

    podman: tuple[int, int, int]
    systemd: int
    services: Mapping[str, OnNode] = field(default_factory=dict)
    strangers: tuple[Container, ...] = ()
    images: frozenset[str] = frozenset()
    secrets: frozenset[str] = frozenset()
    projects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image that a node holds.

    :ivar name: as it was asked for.
    :ivar pinned: its name by digest: REPOSITORY@sha256:HEX.
    :ivar user: what it runs as when nobody says; empty: root.
    """

    name: str
    pinned: str
    user: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Install:
    """What to bring to a node before services are started anew; complete or not at all.

    :ivar units: by service, the text of its unit; what was current becomes previous, unless it is
        the same text or never came up: only what has worked is worth going back to.
    :ivar configs: by service, then DIGEST, then config name: contents and mode.
    :ivar secrets: contents by podman's name of it; kept out of repr().
    :ivar quadlet: units go to Quadlet's directory.
    """

    project: str
    units: Mapping[str, str] = field(default_factory=dict)
    configs: Mapping[str, Mapping[str, Mapping[str, tuple[bytes, int]]]] = field(
        default_factory=dict
    )
    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    registries: Mapping[str, Registry] = field(default_factory=dict)
    quadlet: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a unit's start or stop ended.

    :ivar log: its last log lines, oldest first, control characters taken out; when it failed only.
    """

    ok: bool
    said: str = ""
    log: tuple[str, ...] = ()


class Host(Protocol):
    """One node. Every method is one round trip, and raises HostError.

    :ivar name: as people call it.
    :ivar round_trips: how many there were.
    """

    name: str
    round_trips: int

    def observe(self, project: str) -> Observed:
        """See everything that matters of a project, and who else runs containers."""

    def trust(self, registries: Mapping[str, Registry]) -> None:
        """Set up how registries are reached; needed before a pull from them."""

    def pull(self, images: Sequence[str], *, timeout_s: float) -> list[Image]:
        """Pull images, by tag or digest, in this order; what is there by digest is not fetched."""

    def install(self, what: Install) -> None:
        """Bring units, configs and secrets, and make systemd read the units. Starts nothing."""

    def restart(self, project: str, service: str, *, timeout_s: float) -> Outcome:
        """Stop a service and start it by its unit as it is now; wait until systemd calls it up."""

    def stop(self, project: str, service: str, *, timeout_s: float) -> Outcome:
        """Stop a service; systemd starts it again at the next boot."""

    def restore(self, project: str, service: str, *, swap: bool, timeout_s: float) -> Outcome:
        """Put the previous unit in place and restart the service by it.

        :param swap: the current unit becomes the previous one (a rollback by hand); else it is
            forgotten, and without a previous one the service is removed.
        """

    def remove(self, project: str, services: Sequence[str], *, timeout_s: float) -> None:
        """Stop services and remove their units, containers, configs and unused secrets.

        Volumes stay: they hold data.
        """

    def tidy(self, project: str) -> None:
        """Remove configs, secrets and images that neither a current nor a previous unit names."""

    def logs(self, project: str, service: str, *, lines: int, timeout_s: float) -> list[str]:
        """Return a service's last log lines, oldest first."""
