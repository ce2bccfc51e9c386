"""Name the keys of Compose that are not handled here, each with what to do instead, if anything.

Source: compose-spec.io, schema/compose-spec.json.
"""

_PLACEMENT = "x-provision: hosts and labels say which nodes run it, one container on each"
_LIMITS = "mem_limit, shm_size and pids_limit are the limits there are"
_NETWORK = "network_mode is bridge, host or none"
_IMAGE = "build the image with podman, push it to a registry, and name it under image"
_OURS = "made and named by the project; what was made elsewhere is not touched"

TOP = {
    "include": "one file says it all",
    "models": "",
    "networks": _NETWORK,
}

VOLUME = {
    "driver": "volumes are podman's own, on the node's disk",
    "driver_opts": "volumes are podman's own, on the node's disk",
    "external": _OURS,
    "labels": "",
    "name": _OURS,
}

CONFIG = {
    "environment": "file or content says what is in it",
    "external": _OURS,
    "labels": "",
    "name": _OURS,
    "template_driver": "",
}

SECRET = {
    "content": "a secret in this file would be none: file or environment says where it is",
    "driver": "",
    "driver_opts": "",
    "external": _OURS,
    "labels": "",
    "name": _OURS,
    "template_driver": "",
}

SERVICE = {
    "annotations": "labels are handled",
    "attach": "the log is in the node's journal",
    "blkio_config": _LIMITS,
    "build": _IMAGE,
    "cgroup_parent": "systemd puts each service in a group of its own",
    "container_name": "it is PROJECT-SERVICE",
    "cpu_count": _LIMITS,
    "cpu_percent": _LIMITS,
    "cpu_period": _LIMITS,
    "cpu_quota": _LIMITS,
    "cpu_rt_period": _LIMITS,
    "cpu_rt_runtime": _LIMITS,
    "cpu_shares": _LIMITS,
    "cpus": _LIMITS,
    "cpuset": _LIMITS,
    "credential_spec": "",
    "deploy": f"{_PLACEMENT}; {_LIMITS}",
    "develop": _IMAGE,
    "device_cgroup_rules": "devices gives the container a device",
    "dns": "the node's own resolver is used",
    "dns_opt": "the node's own resolver is used",
    "dns_search": "the node's own resolver is used",
    "domainname": "hostname can be a full name",
    "env_file": "write the variables under environment, and passwords in secrets",
    "expose": "it changes nothing: leave it out",
    "extends": "a YAML anchor and << do the same within a file",
    "external_links": _NETWORK,
    "extra_hosts": "the node's own /etc/hosts is used",
    "gpus": "devices gives the container a device",
    "group_add": "user is USER:GROUP",
    "init": "",
    "isolation": "",
    "label_file": "write them under labels",
    "links": "depends_on says what has to be there first",
    "logging": "the log is in the node's journal",
    "mac_address": _NETWORK,
    "mem_reservation": _LIMITS,
    "mem_swappiness": _LIMITS,
    "memswap_limit": _LIMITS,
    "models": "",
    "networks": _NETWORK,
    "oom_kill_disable": _LIMITS,
    "oom_score_adj": "",
    "platform": "a node runs images for its own processor",
    "post_start": "",
    "pre_start": "",
    "pre_stop": "",
    "profiles": _PLACEMENT,
    "provider": "",
    "pull_policy": "apply pulls what is missing, upgrade what is new; nodes never do",
    "pull_refresh_after": "upgrade pulls what is new",
    "restart": "a service is always restarted: leave it out",
    "runtime": "",
    "scale": _PLACEMENT,
    "security_opt": "",
    "stdin_open": "nobody types into a service",
    "storage_opt": "",
    "sysctls": "",
    "tty": "nobody types into a service",
    "ulimits": _LIMITS,
    "use_api_socket": "",
    "userns_mode": "",
    "uts": "hostname gives the container a name of its own",
    "volumes_from": "name the same volume in both services",
}

DEPENDENCY = {
    "required": "what a service depends on is always required: leave it out",
}

HEALTHCHECK = {
    "start_interval": "interval counts from the start",
}

MOUNT = {
    "consistency": "",
    "image": "an image cannot be mounted",
    "tmpfs": "a tmpfs takes no options: it is as podman makes it",
    "volume": "a volume takes no options",
}

BIND = {
    "recursive": "",
    "selinux": "nothing is labelled anew; what a service reads comes as a config",
}

PORT = {
    "app_protocol": "it changes nothing: leave it out",
    "name": "it changes nothing: leave it out",
}
