"""Erase the config drive when a lease ends.

A config drive holds the lease's user data and, with this project, the host's private ssh key. The
agent's quick cleaning (``erase_devices_metadata``) removes partition tables and file system
signatures, and leaves the content where it was. This adds one short step in front of it.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ironic_python_agent import errors, hardware, utils
from oslo_concurrency import processutils
from oslo_log import log

LOG = log.getLogger(__name__)

LABEL = "config-2"


class ConfigDriveHardwareManager(hardware.HardwareManager):
    """Adds the clean step ``erase_config_drive``."""

    HARDWARE_MANAGER_NAME = "ConfigDriveHardwareManager"
    HARDWARE_MANAGER_VERSION = "1"

    def evaluate_hardware_support(self) -> int:
        """Serve every machine. All we implement is our own step, so we shadow no other manager."""
        return int(hardware.HardwareSupport.MAINLINE)

    def get_clean_steps(self, node: Mapping[str, Any], ports: Any) -> list[dict[str, Any]]:
        """Offer our step, before erase_devices_metadata (99) takes away the partition table."""
        return [
            {
                "step": "erase_config_drive",
                "priority": 100,
                "interface": "deploy",
                "reboot_requested": False,
                "abortable": True,
            }
        ]

    def erase_config_drive(self, node: Mapping[str, Any], ports: Any) -> None:
        """Overwrite every partition labelled config-2 with zeros.

        Disks of the node's skip_block_devices are left alone, as in all of the agent's cleaning.

        :raises BlockDeviceEraseError: names each partition that could not be erased, and why.
        """
        disks = hardware.dispatch_to_managers("list_block_devices_check_skip_list", node)
        failed = []
        for partition in [p for disk in disks for p in config_drives(disk.name)]:
            try:
                utils.execute("blkdiscard", "-f", "-z", partition)
            except processutils.ProcessExecutionError as error:
                failed.append(f"{partition}: {(error.stderr or str(error)).strip()}")
            else:
                LOG.info("Erased the config drive on %s", partition)
        if failed:
            raise errors.BlockDeviceEraseError(
                f"config drive left on the disk: {'; '.join(failed)}"
            )


def config_drives(disk: str) -> list[str]:
    """List the partitions of a disk (or the disk itself) that carry the config drive's label.

    The label is read from the device, not from udev's memory of it.
    """
    stdout, _ = utils.execute("lsblk", "--json", "--paths", "--output", "NAME", disk)
    names = [device["name"] for device in _flatten(json.loads(stdout)["blockdevices"])]
    # vfat has capitals only, in principle
    return [name for name in names if _label(name).lower() == LABEL]


def _label(device: str) -> str:
    """Read a file system's label; empty when there is none, or nothing that blkid knows."""
    argv = ("blkid", "-p", "-s", "LABEL", "-o", "value", device)
    # 2: nothing found; 8: more than one thing found
    stdout, _ = utils.execute(*argv, check_exit_code=[0, 2, 8])
    return str(stdout).strip()


def _flatten(devices: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Walk lsblk's tree of disks and what lies on them."""
    for device in devices:
        yield device
        yield from _flatten(device.get("children", []))
