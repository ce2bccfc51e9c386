"""Options of the driver in ironic.conf, registered when this module is imported."""

from oslo_config import cfg

SSH = cfg.OptGroup("ssh", title="Hardware type ssh: libvirt hosts reached over ssh")
SSH_OPTIONS = [
    cfg.IntOpt(
        "max_connections",
        default=4,
        min=1,
        help="Connections at a time to one hypervisor, from one conductor. sshd refuses a share of "
        "new ones beyond ten that have not logged in yet (its MaxStartups).",
    ),
    cfg.IntOpt(
        "connect_timeout",
        default=30,
        min=1,
        help="Seconds to wait for a free connection slot, and for each step of setting one up.",
    ),
    cfg.IntOpt(
        "command_timeout",
        default=60,
        min=1,
        help="Seconds to wait for the answer of one virsh command.",
    ),
]

ISCSI = cfg.OptGroup("iscsi", title="Deploy interface iscsi")
ISCSI_OPTIONS = [
    cfg.PortOpt(
        "portal_port", default=3260, help="Port on which the deploy ramdisk exports the disk."
    ),
    cfg.IntOpt(
        "zero_timeout",
        default=3600,
        min=1,
        help="Seconds that the deploy ramdisk may take to zero the root partition. Disks without "
        "an offload write every byte of it.",
    ),
    cfg.IntOpt(
        "write_timeout", default=3600, min=1, help="Seconds that writing the image may take."
    ),
    cfg.IntOpt(
        "config_drive_timeout",
        default=300,
        min=1,
        help="Seconds that the deploy ramdisk may take to write the config drive.",
    ),
    cfg.FloatOpt(
        "poll_interval",
        default=2.0,
        min=0.1,
        help="Seconds between two questions whether the deploy ramdisk has finished a command.",
    ),
]

NETBOOT = cfg.OptGroup("netboot", title="Boot interface ipxe-netboot")
NETBOOT_OPTIONS = [
    cfg.IntOpt(
        "check_interval",
        default=60,
        min=0,
        help="Seconds between two checks that the boot files of active nodes are still in "
        "[deploy]http_root; what was lost is put back. 0 turns the check off.",
    ),
]


def register(conf: cfg.ConfigOpts) -> None:
    """Register the groups and their options; repeating it does nothing."""
    for group, options in (
        (SSH, SSH_OPTIONS),
        (ISCSI, ISCSI_OPTIONS),
        (NETBOOT, NETBOOT_OPTIONS),
    ):
        conf.register_group(group)
        conf.register_opts(options, group=group)


register(cfg.CONF)
