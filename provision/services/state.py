"""Tell in one word how a service is on a node."""

from enum import StrEnum

from provision.services.host import Container, OnNode


class State(StrEnum):
    """How a service is.

    `running` has no health check; `failed` includes what dies again and again.
    """

    HEALTHY = "healthy"
    RUNNING = "running"
    STARTING = "starting"
    UNHEALTHY = "unhealthy"
    FAILED = "failed"
    STOPPED = "stopped"
    ABSENT = "absent"

    @property
    def up(self) -> bool:
        """Whether others can count on it."""
        return self in (State.HEALTHY, State.RUNNING)

    @property
    def may_change(self) -> bool:
        """Whether it is worth waiting for another state."""
        return self in (State.STARTING, State.UNHEALTHY)


def of(there: OnNode | None) -> State:
    """Tell the state of what a node has of a service; None: it has nothing."""
    if there is None or (there.unit is None and there.current is None and there.container is None):
        return State.ABSENT
    if there.active == "active":
        return _of_container(there.container)
    if there.active == "failed" or there.sub == "auto-restart":
        return State.FAILED
    return State.STARTING if there.active in ("activating", "reloading") else State.STOPPED


def _of_container(container: Container | None) -> State:
    if container is None:
        return State.STARTING
    if container.health is None:
        return State.RUNNING
    try:
        return State(container.health)
    except ValueError:  # a word that podman may learn
        return State.STARTING
