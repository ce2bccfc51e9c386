"""Say what services are to run on nodes, in frozen data with every value in its normal form.

Glossary, in Compose's words: a *project* is one file of services; a *service* is one container on
each node it is placed on; a *config* is a file made outside and fixed before the service starts; a
*secret* is such a file that nobody but the service may read. Two values that mean the same are
equal here: sizes are bytes, durations seconds, a command is its words, mappings are sorted.

Source: compose-spec.io, the parts listed in docs/services.rst.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class NetworkMode(StrEnum):
    """Which network a container sees."""

    BRIDGE = "bridge"
    HOST = "host"
    NONE = "none"


class Condition(StrEnum):
    """What a dependency has to be before its dependent starts."""

    STARTED = "service_started"
    HEALTHY = "service_healthy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck:
    """How podman finds out whether a service works.

    :ivar test: a command's words; a shell command comes as ("/bin/sh", "-c", TEXT).
    """

    test: tuple[str, ...]
    interval_s: float = 30.0
    timeout_s: float = 30.0
    retries: int = 3
    start_period_s: float = 0.0


class MountKind(StrEnum):
    """What is mounted."""

    VOLUME = "volume"
    BIND = "bind"
    TMPFS = "tmpfs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """Something mounted into a container.

    :ivar source: a volume's name as in the file, or an absolute path of the node; empty for tmpfs.
    :ivar propagation: of a bind mount, as mount(8) has it; None for podman's own.
    """

    kind: MountKind
    source: str
    target: str
    read_only: bool = False
    propagation: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A port of the node that leads to one of the container; `address` None means all."""

    published: int
    target: int
    protocol: str = "tcp"
    address: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A config or secret that a service gets, as a file.

    :ivar name: of the config or secret.
    :ivar target: absolute path in the container.
    :ivar mode: permission bits.
    :ivar uid: of its owner in the container, secrets only; so is gid.
    """

    name: str
    target: str
    mode: int
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """A service that has to be there first.

    :ivar restart: restart the dependent too when the dependency is restarted.
    :ivar host: glob of the hosts whose instance is meant; None: this node's, or, where it is not
        placed on this node, every one.
    """

    service: str
    condition: Condition = Condition.STARTED
    restart: bool = False
    host: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Which hosts a service runs on: those that match a pattern and have every label.

    :ivar hosts: globs of host names; empty: any.
    """

    hosts: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service, as the file has it. None and empty mean: as the image, or podman, has it.

    :ivar image: as in the file: a tag, or a digest.
    :ivar environment: sorted by name; so are labels.
    :ivar command: empty only with an entrypoint: nothing follows it, nor what the image has.
    :ivar user: USER[:GROUP] as in the file.
    :ivar no_healthcheck: not even the check that the image brings; healthcheck is None then.
    """

    name: str
    image: str
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    environment: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    mounts: tuple[Mount, ...] = ()
    network_mode: NetworkMode = NetworkMode.BRIDGE
    ports: tuple[Port, ...] = ()
    pid: str | None = None  # "host"
    ipc: str | None = None  # "host"
    cgroup: str | None = None  # "host" or "private"
    privileged: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    read_only: bool = False
    user: str | None = None
    hostname: str | None = None
    working_dir: str | None = None
    mem_limit_bytes: int | None = None
    shm_size_bytes: int | None = None
    pids_limit: int | None = None
    stop_signal: str | None = None
    stop_grace_period_s: float = 10.0
    healthcheck: Healthcheck | None = None
    no_healthcheck: bool = False
    depends_on: tuple[Dependency, ...] = ()
    configs: tuple[Grant, ...] = ()
    secrets: tuple[Grant, ...] = ()
    placement: Placement = Placement()


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """How a registry is reached; by its HOST[:PORT] in the project.

    :ivar ca: PEM certificates to trust for it; None: the node's own.
    :ivar verify: False: take any certificate, or none.
    """

    ca: bytes | None = None
    verify: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """One file of services.

    :ivar services: by name, in the file's order.
    :ivar volumes: names of the named volumes.
    :ivar configs: contents by name.
    :ivar secrets: contents by name; kept out of repr().
    """

    name: str
    services: Mapping[str, Service]
    volumes: tuple[str, ...] = ()
    configs: Mapping[str, bytes] = field(default_factory=dict)
    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    registries: Mapping[str, Registry] = field(default_factory=dict)

    def unit(self, service: str) -> str:
        """Name a service's systemd unit without its ending; its container is called the same."""
        return f"{self.name}-{service}"
