"""Management interface ``ssh``: a libvirt domain's boot device and boot mode."""

from typing import Any

from ironic.common import exception
from ironic.conductor import task_manager
from ironic.drivers import base
from oslo_log import log

from provision.driver import connection, domain

LOG = log.getLogger(__name__)


class SSHManagement(base.ManagementInterface):
    """Edit the domain's definition with virsh. There are no sensors."""

    def get_properties(self) -> dict[str, str]:
        """Describe the keys of driver_info."""
        return connection.PROPERTIES

    def validate(self, task: Any) -> None:
        """Check driver_info, without connecting."""
        connection.access(task.node)

    def get_supported_boot_devices(self, task: Any) -> list[str]:
        """List the devices that set_boot_device knows."""
        return list(domain.DEVICES)

    @task_manager.require_exclusive_lock
    def set_boot_device(self, task: Any, device: str, persistent: bool = False) -> None:
        """Choose what the domain boots from when it is started next.

        :param persistent: False: the next time only, where a start by Ironic counts. A domain that
            reboots by itself keeps the order that it was started with.
        """
        access = connection.access(task.node)
        with connection.connect(access) as virsh:
            edited = domain.set_boot_device(_xml(virsh, access), device, persistent=persistent)
            _define(virsh, edited)

    def get_boot_device(self, task: Any) -> dict[str, Any]:
        """Tell what the domain boots from next, and whether it stays so."""
        access = connection.access(task.node)
        with connection.connect(access) as virsh:
            device, persistent = domain.get_boot_device(_xml(virsh, access))
        return {"boot_device": device, "persistent": persistent if device else None}

    def get_boot_mode(self, task: Any) -> str:
        """Tell the domain's firmware."""
        access = connection.access(task.node)
        with connection.connect(access) as virsh:
            return domain.boot_mode(_xml(virsh, access))

    def get_supported_boot_modes(self, task: Any) -> list[str]:
        """List the one mode that the domain was made for."""
        return [self.get_boot_mode(task)]

    @task_manager.require_exclusive_lock
    def set_boot_mode(self, task: Any, mode: str) -> None:
        """Accept the mode that the domain has; another one is a new machine, not a setting.

        :raises InvalidParameterValue: another mode.
        """
        current = self.get_boot_mode(task)
        if mode != current:
            raise exception.InvalidParameterValue(
                f"Node {task.node.uuid}: its domain boots in {current} mode and cannot be switched "
                f"to {mode}; define the domain anew, or set the node's boot_mode capability to "
                f"{current}"
            )

    def get_sensors_data(self, task: Any) -> dict[str, Any]:
        """Refuse: a domain has no sensors."""
        raise exception.UnsupportedDriverExtension(
            driver=task.node.driver, extension="get_sensors_data"
        )


def after_start(virsh: connection.Virsh, access: connection.Access) -> None:
    """Put back the lasting boot device once a one-time one was used."""
    edited = domain.after_start(_xml(virsh, access))
    if edited is not None:
        LOG.debug("%s: back to the lasting boot device of %s", access.host, access.domain)
        _define(virsh, edited)


def _xml(virsh: connection.Virsh, access: connection.Access) -> str:
    """Read the definition that the next start uses, secrets included, or they would be lost."""
    return virsh("dumpxml", "--inactive", "--security-info", access.domain)


def _define(virsh: connection.Virsh, xml: str) -> None:
    """Replace the definition."""
    virsh("define", "/dev/stdin", stdin=xml)
