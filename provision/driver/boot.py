"""Boot interface ``ipxe-netboot``: the node's own system starts from its image's kernel.

Like ``ipxe`` for the deploy ramdisk. But where the deploy interface writes a bare root partition
(``iscsi``), the node keeps booting over the network: kernel and ramdisk are the Glance images that
the deployed image names, the arguments those of :mod:`provision.driver.kernel_cmdline`.

What was resolved is kept in ``driver_internal_info/netboot``: a conductor that takes the node over,
or finds boot files gone, needs neither the instance's parameters nor the image's metadata.
"""

from pathlib import Path
from typing import Any

from ironic.common import dhcp_factory, exception, pxe_utils, states
from ironic.conductor import periodics
from ironic.drivers.modules import boot_mode_utils, deploy_utils, ipxe
from oslo_config import cfg
from oslo_log import log

from provision.driver import conf as _conf  # noqa: F401  (registers [netboot])
from provision.driver import image, kernel_cmdline

LOG = log.getLogger(__name__)
CONF = cfg.CONF

CAPABILITY = "partition_netboot"
TEMPLATE = str(Path(__file__).parent / "netboot.ipxe")
_KEY = "netboot"
# The node comes back from these to its own system: what was resolved must stay.
_RETURNING = (
    states.RESCUING,
    states.RESCUEWAIT,
    states.RESCUE,
    states.RESCUEFAIL,
    states.UNRESCUING,
    states.UNRESCUEFAIL,
    states.SERVICING,
    states.SERVICEWAIT,
    states.SERVICEFAIL,
    states.SERVICEHOLD,
)


class IPXENetboot(ipxe.iPXEBoot):
    """iPXE for the deploy ramdisk, and for the system that a partition image holds."""

    capabilities = (*ipxe.iPXEBoot.capabilities, CAPABILITY)

    def validate(self, task: Any) -> None:
        """Check what stock iPXE needs, then the image's kernel, ramdisk and arguments.

        A node without an image_source passes: it may be cleaned or inspected.

        :raises MissingParameterValue: names the image and the property that it lacks.
        :raises InvalidParameterValue: arguments that iPXE would not hand on.
        """
        super().validate(task)
        if _is_netbooted(task) and task.node.instance_info.get("image_source"):
            wanted = image.of_node(task)
            image.check_kernel(wanted, task.node.instance_info)
            _arguments(task.node, wanted)

    def prepare_ramdisk(self, task: Any, ramdisk_params: dict[str, Any]) -> None:
        """Prepare the deploy ramdisk's boot, without the instance's kernel arguments.

        Stock code gives instance_info/kernel_append_params to the ramdisk. Here they are the
        instance's (root=, ostree=) and would send the ramdisk to look for that root. So the
        configuration is written once more without them; the ramdisk keeps those of driver_info
        and of the configuration file. No save happens while the field is set aside.
        """
        super().prepare_ramdisk(task, ramdisk_params)
        node = task.node
        if not _is_netbooted(task) or "kernel_append_params" not in node.instance_info:
            return
        mode = deploy_utils.rescue_or_deploy_mode(node)
        info = pxe_utils.get_image_info(node, mode=mode, ipxe_enabled=True)
        original = dict(node.instance_info)
        node.instance_info = {k: v for k, v in original.items() if k != "kernel_append_params"}
        try:
            options = pxe_utils.build_pxe_config_options(
                task, info, ipxe_enabled=True, ramdisk_params=ramdisk_params
            )
        finally:
            node.instance_info = original
        template = deploy_utils.get_ipxe_config_template(node)
        pxe_utils.create_pxe_config(task, options, template, ipxe_enabled=True)

    def prepare_instance(self, task: Any) -> None:
        """Prepare the boot of the node's own system.

        While deploying, the image is asked for its kernel and arguments, and the node is set to
        boot from the network for good. Later (take-over, adoption, end of rescue or service), what
        was resolved then is used again, and only missing files are fetched.
        """
        if not _is_netbooted(task):
            super().prepare_instance(task)
            return
        deploying = task.node.provision_state == states.DEPLOYING
        netboot = None if deploying else task.node.driver_internal_info.get(_KEY)
        if netboot is None:
            netboot = _resolve(task)
        boot_mode_utils.sync_boot_mode(task)
        boot_mode_utils.configure_secure_boot_if_needed(task)
        if deploying:
            # Removes http_root/<uuid> with the deploy ramdisk's files: before ours come there.
            pxe_utils.clean_up_pxe_config(task, ipxe_enabled=True)
        _place(task, netboot)
        if task.node.provision_state not in (states.ACTIVE, states.ADOPTING):
            self._node_set_boot_device_for_network_boot(task, persistent=True)

    def clean_up_instance(self, task: Any) -> None:
        """Remove the node's boot files, and forget what was resolved once the lease is over."""
        super().clean_up_instance(task)
        node = task.node
        if _KEY in node.driver_internal_info and node.provision_state not in _RETURNING:
            node.del_driver_internal_info(_KEY)
            node.save()

    @periodics.node_periodic(
        purpose="checking the files of network-booted nodes",
        spacing=CONF.netboot.check_interval,
        filters={"provision_state": states.ACTIVE, "reserved": False},
        predicate_extra_fields=("driver_internal_info",),
        predicate=lambda node: _KEY in (node.driver_internal_info or {}),
    )
    def _check_files(self, task: Any, manager: Any, context: Any) -> None:
        """Put back boot files that an active node would miss at its next boot."""
        missing = _missing(task)
        if not missing:
            return
        task.upgrade_lock(purpose="putting back boot files")
        netboot = task.node.driver_internal_info.get(_KEY)
        if task.node.provision_state != states.ACTIVE or netboot is None:
            return
        LOG.warning(
            "Boot files of node %s are gone, putting them back: %s",
            task.node.uuid,
            ", ".join(str(path) for path in missing),
        )
        try:
            _place(task, netboot)
        except (exception.IronicException, OSError) as error:
            LOG.error(
                "Boot files of node %s could not be put back, trying again in %d s: %s",
                task.node.uuid,
                CONF.netboot.check_interval,
                error,
            )


def _is_netbooted(task: Any) -> bool:
    """Tell whether the node's deploy interface leaves the boot of the instance to the network."""
    return bool(getattr(task.driver.deploy, "boots_partition_over_network", False))


def _arguments(node: Any, wanted: image.Image) -> str:
    """Decide the kernel arguments of a node's own system."""
    deployed = node.driver_internal_info.get("iscsi_deploy") or {}
    return kernel_cmdline.resolve(
        requested=node.instance_info.get("kernel_append_params"),
        image=wanted.kernel_cmdline,
        filesystem_uuid=deployed.get("filesystem_uuid"),
        parse=not CONF.conductor.disable_kernel_parameter_parsing,
    )


def _resolve(task: Any) -> dict[str, str]:
    """Ask the image for kernel, ramdisk and arguments, and keep the answer with the node.

    :returns: kernel and ramdisk: ids of Glance images (or what instance_info has); kernel_cmdline.
    """
    node = task.node
    wanted = image.of_node(task)
    image.check_kernel(wanted, node.instance_info)
    netboot = {
        "kernel": str(node.instance_info.get("kernel") or wanted.kernel_id),
        "ramdisk": str(node.instance_info.get("ramdisk") or wanted.ramdisk_id),
        "kernel_cmdline": _arguments(node, wanted),
    }
    node.set_driver_internal_info(_KEY, netboot)
    node.save()
    return netboot


def _node_directory(task: Any) -> Path:
    return Path(CONF.deploy.http_root) / str(task.node.uuid)


def _place(task: Any, netboot: dict[str, str]) -> None:
    """Write the node's iPXE configuration; fetch kernel and ramdisk where they are not there."""
    pxe_utils.ensure_tree(CONF.deploy.http_root)
    pxe_utils.create_ipxe_boot_script()
    directory = _node_directory(task)
    files = {label: (netboot[label], str(directory / label)) for label in ("kernel", "ramdisk")}
    wanted = {label: file for label, file in files.items() if not Path(file[1]).exists()}
    if wanted:
        pxe_utils.cache_ramdisk_kernel(task, wanted, ipxe_enabled=True)
    options = pxe_utils.build_instance_pxe_options(task, files, ipxe_enabled=True)
    options["netboot_cmdline"] = netboot["kernel_cmdline"]
    options["ipxe_timeout"] = CONF.pxe.ipxe_timeout * 1000
    pxe_utils.create_pxe_config(task, options, TEMPLATE, ipxe_enabled=True)
    dhcp_options = [
        option
        for version in (4, 6)
        for option in pxe_utils.dhcp_options_for_instance(
            task, ipxe_enabled=True, ip_version=version
        )
    ]
    dhcp_factory.DHCPFactory().update_dhcp(task, dhcp_options)


def _missing(task: Any) -> list[Path]:
    """List what the node's next boot would ask for and not find."""
    root = Path(CONF.deploy.http_root)
    directory = _node_directory(task)
    wanted = [root / Path(CONF.pxe.ipxe_boot_script).name]
    wanted += [directory / name for name in ("config", "kernel", "ramdisk")]
    for port in task.ports:
        if port.pxe_enabled or CONF.neutron.add_all_ports:
            link = port.address.replace(":", "-").lower()
            wanted.append(root / CONF.pxe.pxe_config_subdir / link)
    return [path for path in wanted if not path.exists()]
