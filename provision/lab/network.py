"""Make and remove the lab's network: a namespace with a bridge, and one wire from the host into it.

In the host's own namespace there is that wire's end and nothing else: no bridge, no rule, no
forwarding. So the lab's services can be reached from this host and from the lab's machines only.
"""

import fcntl
import ipaddress
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from atomic_baremetal.command import run
from provision.lab.model import BRIDGE, UPLINK, Lab, LabError

IP_S = 20
DIRECTORY = Path("/run/netns")
LOCK = Path("/run/atomic-baremetal-networks.lock")


@contextmanager
def choosing() -> Iterator[None]:
    """Keep every other lab on this host, whoever's, from choosing a network meanwhile.

    A network counts as taken once there is a route to it, so that has to be made inside.
    """
    with LOCK.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def ensure(lab: Lab) -> bool:
    """Make what is missing of the lab's network; say whether anything was.

    :raises LabError: its addresses mean something else on this host by now.
    """
    if not is_wired(lab) and any(one.prefixlen and one.overlaps(lab.network) for one in taken()):
        raise LabError(
            f"the network {lab.network} of lab {lab.name!r} is another's by now (ip route)",
            hint="end that one, or take the lab down and start it anew, for another network",
        )
    changed = lab.namespace not in namespaces()
    if changed:
        _ip("netns", "add", lab.namespace)
    inside = ("-n", lab.namespace)
    links = _links(lab.namespace)
    if BRIDGE not in links:
        _ip(*inside, "link", "add", BRIDGE, "address", lab.bridge_mac, "type", "bridge")
        _ip(*inside, "address", "add", f"{lab.address}/24", "dev", BRIDGE)
    if lab.host_interface not in _links(None):
        changed = True
        wire = ("link", "add", lab.host_interface, "type", "veth", "peer", "name", UPLINK)
        _ip(*wire, "netns", lab.namespace)
    if changed:
        _ip(*inside, "link", "set", "lo", "up")
        _ip(*inside, "link", "set", BRIDGE, "up")
        _ip(*inside, "link", "set", UPLINK, "master", BRIDGE, "up")
        _ip("address", "replace", f"{lab.host_address}/24", "dev", lab.host_interface)
        _ip("link", "set", lab.host_interface, "up")
    return changed


def remove(lab: Lab) -> None:
    """Remove the wire, then the name of the namespace; the rest goes when its last process has."""
    if lab.host_interface in _links(None):
        _ip("link", "delete", lab.host_interface)
    if lab.namespace in namespaces():
        _ip("netns", "delete", lab.namespace)
    if DIRECTORY.is_mount() and not any(DIRECTORY.iterdir()):
        # iproute2 mounts it over itself for the first namespace, and again when it is not mounted;
        # a namespace made meanwhile keeps it busy, and so mounted
        run("umount", DIRECTORY, timeout_s=IP_S, ok=(0, 32))


def leftovers(lab: Lab) -> list[str]:
    """Name what is still there of the lab's network."""
    left = []
    if lab.namespace in namespaces():
        left.append(f"network namespace {lab.namespace}")
    if lab.host_interface in _links(None):
        left.append(f"network interface {lab.host_interface}")
    return left


def namespaces() -> set[str]:
    """List the named network namespaces of this host."""
    return {entry["name"] for entry in _ip_json("netns", "list")}


def process_ids(lab: Lab) -> set[int]:
    """List the processes in the lab's namespace, whoever started them."""
    if lab.namespace not in namespaces():
        return set()
    return {int(word) for word in _ip("netns", "pids", lab.namespace).split()}


def taken() -> list[ipaddress.IPv4Network]:
    """List the networks that the host has a route to, default routes included."""
    return [
        ipaddress.IPv4Network("0.0.0.0/0" if route["dst"] == "default" else route["dst"])
        for route in _ip_json("-4", "route", "show", "table", "all")
    ]


def is_wired(lab: Lab) -> bool:
    """Say whether the host's wire is there; without it the lab's addresses are somebody else's."""
    return lab.host_interface in _links(None)


def _links(namespace: str | None) -> set[str]:
    where = () if namespace is None else ("-n", namespace)
    return {entry["ifname"] for entry in _ip_json(*where, "link", "show")}


def _ip_json(*words: str) -> list[dict[str, Any]]:
    said = _ip("-j", *words).strip()
    return [entry for entry in json.loads(said) if entry] if said else []


def _ip(*words: str) -> str:
    return run("ip", *words, timeout_s=IP_S).stdout
