"""Deploy interface ``iscsi``: the conductor writes the root partition over the network.

The way of 2014, on today's agent: the deploy ramdisk zeroes what must read as zeros and exports
the disk; the conductor writes what the image has allocated, the partition table last, so that a
disk written half has none; the ramdisk adds the config drive. The node's system then starts over
the network (boot interface ``ipxe-netboot``).

The image is never converted, whatever [DEFAULT]force_raw_images says: qemu-img reads it as it is.
Nor is it put where others could read it over HTTP.
"""

import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ironic.common import exception, states, utils
from ironic.conductor import configdrive_utils, task_manager
from ironic.drivers import base
from ironic.drivers.modules import agent, deploy_utils
from oslo_config import cfg
from oslo_log import log

from provision.driver import boot, image, iscsi_target, partition_table, writer

LOG = log.getLogger(__name__)
CONF = cfg.CONF

MIB = 1 << 20
_KEY = "iscsi_deploy"
# At a disk's end: a backup GPT (34 sectors, of 4 KiB at most), RAID metadata (up to 1 MiB), ...
_TAIL_BYTES = 2 * MIB
# ... and the config drive: the agent makes a last partition of 64 MiB, rounded to 1 MiB.
_CONFIG_DRIVE_BYTES = 65 * MIB


class ISCSIDeploy(agent.AgentDeploy):
    """Write a partition image from the conductor, and leave the boot to the network."""

    boots_partition_over_network = True

    def validate(self, task: Any) -> None:
        """Refuse, before anything is powered on, what this interface cannot do.

        :raises InvalidParameterValue: names what cannot be done.
        :raises MissingParameterValue: names what is missing.
        """
        node = task.node
        if boot.CAPABILITY not in task.driver.boot.capabilities:
            raise exception.InvalidParameterValue(
                f"Node {node.uuid} has boot interface {node.get_interface('boot')}: deploy "
                "interface iscsi needs ipxe-netboot, which starts the node from its image's kernel"
            )
        if not task.driver.storage.should_write_image(task):
            raise exception.InvalidParameterValue(
                f"Node {node.uuid} boots from a volume: deploy interface iscsi writes a local disk"
            )
        if deploy_utils.get_image_download_source(node) == "swift":
            raise exception.InvalidParameterValue(
                "image_download_source swift: with deploy interface iscsi the conductor writes the "
                "image, so it must have it; set http"
            )
        label = utils.parse_instance_info_capabilities(node).get("disk_label")
        if label not in (None, "msdos"):
            raise exception.InvalidParameterValue(
                f"Capability disk_label is {label}: deploy interface iscsi writes an MBR (msdos)"
            )
        super().validate(task)
        image.check_deployable(image.of_node(task), node.instance_info)

    def supports_deploy(self, task: Any) -> bool:
        """Tell deploy interface autodetect whether the node's image is one for us."""
        if boot.CAPABILITY not in task.driver.boot.capabilities:
            return False
        try:
            wanted = image.of_node(task)
            image.check_kernel(wanted, task.node.instance_info)
            image.check_deployable(wanted, task.node.instance_info)
        except exception.InvalidParameterValue as error:
            LOG.debug("Deploy interface iscsi is not for node %s: %s", task.node.uuid, error)
            return False
        return wanted.kernel_cmdline is not None

    def _update_instance_info(self, task: Any) -> None:
        """Fetch the image, while the node is still off, and decide the root partition's size.

        Stock code here also converts the image and puts it on the HTTP server; neither is wanted.

        :raises InstanceDeployFailure: the image is larger than the partition.
        """
        node = task.node
        wanted = image.of_node(task)
        try:
            plan = _plan(wanted, _fetch(task, wanted), node.instance_info)
        except Exception:
            deploy_utils.destroy_images(node.uuid)
            raise
        node.set_driver_internal_info(_KEY, plan)
        node.save()

    @base.deploy_step(priority=80)
    @task_manager.require_exclusive_lock
    def write_image(self, task: Any) -> None:
        """Write root partition, partition table and config drive.

        :raises InstanceDeployFailure: says at which step, and why.
        """
        node = task.node
        if not image_path(node).exists():  # another conductor prepared the deployment
            self._update_instance_info(task)
        plan = node.driver_internal_info[_KEY]
        config_drive = configdrive_utils.get_configdrive_image(node)
        ramdisk = iscsi_target.Ramdisk(task)
        started = time.monotonic()
        disk = ramdisk.zero(
            head_bytes=partition_table.START_BYTES + plan["root_bytes"],
            tail_bytes=_CONFIG_DRIVE_BYTES if config_drive else _TAIL_BYTES,
        )
        with ramdisk.target() as target, writer.session(target) as session:
            session.write_image(
                image_path(node),
                plan["disk_format"],
                start_bytes=partition_table.START_BYTES,
                size_bytes=plan["root_bytes"],
            )
            session.write_bytes(_table(plan, disk), start_bytes=0)
        written = time.monotonic()
        if config_drive:
            ramdisk.write_config_drive(config_drive)
        LOG.info(
            "Node %s: %s written in %.1f s (zeroing %.1f s), config drive in %.1f s",
            node.uuid,
            disk.device,
            written - started,
            disk.zero_seconds,
            time.monotonic() - written,
        )

    @base.deploy_step(priority=60)
    @task_manager.require_exclusive_lock
    def prepare_instance_boot(self, task: Any) -> None:
        """Have the node boot its own system over the network; the image's copy is not needed more.

        :raises InstanceDeployFailure: kernel or ramdisk cannot be had.
        """
        try:
            task.driver.boot.prepare_instance(task)
        except exception.InstanceDeployFailure:
            raise
        except (exception.IronicException, OSError) as error:
            raise exception.InstanceDeployFailure(
                reason=f"the network boot of the instance cannot be prepared: {error}"
            ) from error
        deploy_utils.destroy_images(task.node.uuid)

    def clean_up(self, task: Any) -> None:
        """Remove what prepare left on the conductor."""
        super().clean_up(task)
        node = task.node
        if _KEY in node.driver_internal_info and node.provision_state != states.ACTIVE:
            node.del_driver_internal_info(_KEY)
            node.save()


def image_path(node: Any) -> Path:
    """Name the file that the node's image is cached in; deploy_utils.destroy_images removes it."""
    return Path(CONF.pxe.images_path) / str(node.uuid) / "disk"


def _fetch(task: Any, wanted: image.Image) -> Path:
    """Fetch a node's image through Ironic's cache, which inspects what it gets.

    :raises InstanceDeployFailure: no room.
    :raises InvalidImage: not of the format that Glance says, or unsafe.
    """
    path = image_path(task.node)
    path.parent.mkdir(parents=True, exist_ok=True)
    source = task.node.instance_info["image_source"]
    deploy_utils.fetch_images(
        task.context,
        deploy_utils.InstanceImageCache(),
        [(source, str(path))],
        force_raw=False,
        expected_format=wanted.disk_format,
        expected_checksum=wanted.hash_value,
        expected_checksum_algo=wanted.hash_algorithm,
    )
    return path


def _plan(wanted: image.Image, path: Path, instance_info: Mapping[str, Any]) -> dict[str, Any]:
    """Decide from the image's file what the disk will look like; kept in driver_internal_info.

    :returns: disk_format, root_bytes, lvm, filesystem_uuid (None: no plain file system).
    :raises InstanceDeployFailure: the image is larger than the partition.
    """
    size_bytes = writer.virtual_size_bytes(path, wanted.disk_format)
    root_bytes = image.root_gib(wanted, instance_info) * image.GIB
    if size_bytes > root_bytes:
        raise exception.InstanceDeployFailure(
            reason=f"image {wanted} is {size_bytes} bytes when unpacked, the root partition would "
            f"be {root_bytes}; raise instance_info/root_gb"
        )
    content = writer.probe(path, wanted.disk_format)
    return {
        "disk_format": wanted.disk_format,
        "root_bytes": root_bytes,
        "lvm": content.lvm,
        "filesystem_uuid": content.filesystem_uuid,
    }


def _table(plan: dict[str, Any], disk: iscsi_target.Disk) -> bytes:
    """Build the disk's partition table."""
    kind = partition_table.TYPE_LINUX_LVM if plan["lvm"] else partition_table.TYPE_LINUX
    return partition_table.mbr(
        size_bytes=plan["root_bytes"],
        partition_type=kind,
        sector_size_bytes=disk.sector_size_bytes,
        disk_signature=1 + secrets.randbelow((1 << 32) - 1),
    )
