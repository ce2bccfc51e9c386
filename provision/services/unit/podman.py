"""Say which podman can do what: options of ``podman run``, and Quadlet's keys for them.

The versions are those in which upstream's Quadlet first lists a key as supported; a key that it
does not list makes its generator refuse the whole file. What has no key, or none yet, goes through
``PodmanArgs=``, which every Quadlet has.

Source: containers/podman, ``pkg/systemd/quadlet/quadlet.go`` at tags v4.4.0 to v5.8.2, its lists of
supported keys in a container's section; ``cmd/podman/common/create.go`` at v4.3.1.
"""

from dataclasses import dataclass
from enum import StrEnum

from atomic_baremetal.errors import Error

Version = tuple[int, int, int]

OLDEST = (4, 3)  # has --health-on-failure
QUADLET = (4, 4)
NOTIFY_HEALTHY = (5, 0)  # Notify=healthy: systemd calls a unit started when it is healthy


class VersionError(Error):
    """A podman that is too old."""


class Reading(StrEnum):
    """How Quadlet reads a key's value."""

    LINE = "line"  # all of the line is one value: no quotes, no escapes
    TOKENS = "tokens"  # blanks separate values, and quotes are not needed
    WORDS = "words"  # like ExecStart=: quotes and C escapes
    BOOLEAN = "boolean"


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """An option of ``podman run``; value None: it has none."""

    flag: str
    value: str | None = None

    def word(self) -> str:
        """Write it as the one word that podman takes it by."""
        return self.flag if self.value is None else f"{self.flag}={self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key of Quadlet's section [Container], and the podman that has it first."""

    name: str
    since: tuple[int, int]
    reading: Reading = Reading.LINE


# User= is there from 4.4 on, but until 4.7 it takes numbers alone and makes root of a name.
# ReadOnly= is too, but until 4.7 it decides on --read-only-tmpfs by itself.
# PublishPort= takes "0.0.0.0" away until 4.9, which changes nothing.
# Mount= takes its value apart and writes it anew: never used.
KEYS = {
    "--cap-add": Key(name="AddCapability", since=(4, 4), reading=Reading.TOKENS),
    "--cap-drop": Key(name="DropCapability", since=(4, 4), reading=Reading.TOKENS),
    "--device": Key(name="AddDevice", since=(4, 4), reading=Reading.TOKENS),
    "--entrypoint": Key(name="Entrypoint", since=(5, 0)),
    "--env": Key(name="Environment", since=(4, 4), reading=Reading.WORDS),
    "--health-cmd": Key(name="HealthCmd", since=(4, 5)),
    "--health-interval": Key(name="HealthInterval", since=(4, 5)),
    "--health-on-failure": Key(name="HealthOnFailure", since=(4, 5)),
    "--health-retries": Key(name="HealthRetries", since=(4, 5)),
    "--health-start-period": Key(name="HealthStartPeriod", since=(4, 5)),
    "--health-timeout": Key(name="HealthTimeout", since=(4, 5)),
    "--hostname": Key(name="HostName", since=(4, 6)),
    "--label": Key(name="Label", since=(4, 4), reading=Reading.WORDS),
    "--log-driver": Key(name="LogDriver", since=(4, 5)),
    "--memory": Key(name="Memory", since=(5, 5)),
    "--network": Key(name="Network", since=(4, 4)),
    "--pids-limit": Key(name="PidsLimit", since=(4, 7)),
    "--publish": Key(name="PublishPort", since=(4, 4)),
    "--pull": Key(name="Pull", since=(4, 6)),
    "--read-only": Key(name="ReadOnly", since=(4, 8), reading=Reading.BOOLEAN),
    "--read-only-tmpfs": Key(name="ReadOnlyTmpfs", since=(4, 8), reading=Reading.BOOLEAN),
    "--secret": Key(name="Secret", since=(4, 5), reading=Reading.WORDS),
    "--shm-size": Key(name="ShmSize", since=(4, 7)),
    "--stop-signal": Key(name="StopSignal", since=(5, 2)),
    "--stop-timeout": Key(name="StopTimeout", since=(5, 0)),
    "--tmpfs": Key(name="Tmpfs", since=(4, 5)),
    "--user": Key(name="User", since=(4, 8)),
    "--volume": Key(name="Volume", since=(4, 4)),
    "--workdir": Key(name="WorkingDir", since=(4, 6)),
}


def key(flag: str, version: Version) -> Key | None:
    """Find the key that a version's Quadlet has for an option; None: PodmanArgs= has to do."""
    found = KEYS.get(flag)
    return found if found and version[:2] >= found.since else None


def has_quadlet(version: Version) -> bool:
    """Say whether a node's podman makes units of Quadlet files.

    :raises VersionError: it is older than all we write units for.
    """
    if version[:2] < OLDEST:
        raise VersionError(
            f"podman {'.'.join(map(str, version))} is older than 4.3, which services need",
            hint="bring a newer podman in the nodes' image",
        )
    return version[:2] >= QUADLET
