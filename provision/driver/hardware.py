"""Hardware types: Ironic's own, with our deploy and boot interfaces in front.

Ironic takes an interface only from the classes that a hardware type lists.
"""

from ironic.drivers import generic, redfish

from provision.driver import boot, deploy, management, power


class SSHHardware(generic.GenericHardware):
    """Virtual machines of libvirt hosts that are reached over ssh."""

    @property
    def supported_power_interfaces(self) -> list[type]:
        return [power.SSHPower]

    @property
    def supported_management_interfaces(self) -> list[type]:
        return [management.SSHManagement]

    @property
    def supported_boot_interfaces(self) -> list[type]:
        return [boot.IPXENetboot, *super().supported_boot_interfaces]

    @property
    def supported_deploy_interfaces(self) -> list[type]:
        return [deploy.ISCSIDeploy, *super().supported_deploy_interfaces]


class RedfishNetbootHardware(redfish.RedfishHardware):
    """Machines with Redfish, for partition images that boot over the network."""

    @property
    def supported_boot_interfaces(self) -> list[type]:
        return [boot.IPXENetboot, *super().supported_boot_interfaces]

    @property
    def supported_deploy_interfaces(self) -> list[type]:
        return [deploy.ISCSIDeploy, *super().supported_deploy_interfaces]
