"""Power interface ``ssh``: start and stop a libvirt domain."""

import time
from typing import Any

from ironic.common import exception, states
from ironic.conductor import task_manager
from ironic.drivers import base
from oslo_config import cfg
from oslo_log import log

from provision.driver import connection, management

LOG = log.getLogger(__name__)
CONF = cfg.CONF

# virsh domstate -> Ironic. A paused or suspended domain still holds its devices: it is on.
_STATES = {
    "running": states.POWER_ON,
    "idle": states.POWER_ON,
    "paused": states.POWER_ON,
    "in shutdown": states.POWER_ON,
    "pmsuspended": states.POWER_ON,
    "shut off": states.POWER_OFF,
    "crashed": states.ERROR,
}
_POLL_INTERVAL_S = 1


class SSHPower(base.PowerInterface):
    """Start, stop and query the node's domain with virsh."""

    def get_properties(self) -> dict[str, str]:
        """Describe the keys of driver_info."""
        return connection.PROPERTIES

    def validate(self, task: Any) -> None:
        """Check driver_info, without connecting.

        :raises MissingParameterValue: a required key is missing.
        :raises InvalidParameterValue: a value that cannot be right.
        """
        connection.access(task.node)

    def get_power_state(self, task: Any) -> str:
        """Ask libvirt for the domain's state.

        :raises HypervisorError: the host cannot be asked, or has no such domain.
        """
        access = connection.access(task.node)
        with connection.connect(access) as virsh:
            return _state(virsh, access)

    def get_supported_power_states(self, task: Any) -> list[str]:
        """List what set_power_state understands."""
        return [
            states.POWER_ON,
            states.POWER_OFF,
            states.REBOOT,
            states.SOFT_POWER_OFF,
            states.SOFT_REBOOT,
        ]

    @task_manager.require_exclusive_lock
    def set_power_state(self, task: Any, power_state: str, timeout: int | None = None) -> None:
        """Bring the domain to a state, and wait until it is there.

        :param timeout: seconds; None: [conductor]power_state_change_timeout, for the soft ones
            [conductor]soft_power_off_timeout.
        :raises InvalidParameterValue: not one of get_supported_power_states.
        :raises PowerStateFailure: not there in time.
        """
        if power_state in (states.REBOOT, states.SOFT_REBOOT):
            soft = power_state == states.SOFT_REBOOT
            self._power_off(task, soft=soft, timeout_s=timeout)
            self._power_on(task, timeout_s=timeout)
        elif power_state == states.POWER_ON:
            self._power_on(task, timeout_s=timeout)
        elif power_state in (states.POWER_OFF, states.SOFT_POWER_OFF):
            soft = power_state == states.SOFT_POWER_OFF
            self._power_off(task, soft=soft, timeout_s=timeout)
        else:
            raise exception.InvalidParameterValue(
                f"Power state {power_state!r} is not one that the ssh power interface can set"
            )

    @task_manager.require_exclusive_lock
    def reboot(self, task: Any, timeout: int | None = None) -> None:
        """Stop the domain hard, and start it; a stopped one is started."""
        self.set_power_state(task, states.REBOOT, timeout=timeout)

    def _power_on(self, task: Any, *, timeout_s: int | None) -> None:
        """Start the domain, then let a one-time boot device have been the last one."""
        access = connection.access(task.node)
        with connection.connect(access) as virsh:
            if _state(virsh, access) == states.POWER_ON:
                return
            virsh("start", access.domain)
            management.after_start(virsh, access)
        self._wait(task, states.POWER_ON, timeout_s or CONF.conductor.power_state_change_timeout)

    def _power_off(self, task: Any, *, soft: bool, timeout_s: int | None) -> None:
        """Stop the domain: ask its system to (ACPI), or pull the plug."""
        access = connection.access(task.node)
        with connection.connect(access) as virsh:
            if _state(virsh, access) == states.POWER_OFF:
                return
            virsh("shutdown" if soft else "destroy", access.domain)
        default_s = (
            CONF.conductor.soft_power_off_timeout
            if soft
            else CONF.conductor.power_state_change_timeout
        )
        self._wait(task, states.POWER_OFF, timeout_s or default_s)

    def _wait(self, task: Any, wanted: str, limit_s: int) -> None:
        """Wait for a state. No connection is held between two questions."""
        deadline = time.monotonic() + limit_s
        while (state := self.get_power_state(task)) != wanted:
            if time.monotonic() > deadline:
                LOG.error(
                    "Node %s is %r after %d s, wanted %r", task.node.uuid, state, limit_s, wanted
                )
                raise exception.PowerStateFailure(pstate=wanted)
            time.sleep(_POLL_INTERVAL_S)


def _state(virsh: connection.Virsh, access: connection.Access) -> str:
    """Translate the domain's state."""
    word = virsh("domstate", access.domain).strip()
    return str(_STATES.get(word, states.ERROR))
