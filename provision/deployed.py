"""Know the hosts that are deployed, as those who run services on them need to know them.

What comes up here has an address and a pinned host key; what has not is named, with the reason.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Thread

from atomic_baremetal import cloud
from atomic_baremetal.errors import Error
from provision.known_hosts import KnownHosts
from provision.lease import Lease
from provision.node import ACTIVE, BareMetal, Node
from provision.services import apply, reach, registries
from provision.services.converge import Result
from provision.services.file import compose
from provision.services.hosts import Cloud, Target
from provision.services.model import Project, Registry
from provision.services.site import DEFAULT_WAIT_S, Site, look

LOG = logging.getLogger(__name__)
LAB_REGISTRY = "registry.lab:5000"
LET_IN_S = 180.0  # cloud-init writes down who may log in while sshd answers already
ASK_AGAIN_S = 5.0


def hosts(baremetal: BareMetal, known_hosts: KnownHosts) -> Cloud:
    """List the deployed hosts, by name, and what is in the way of the others."""
    targets = []
    passed_over = {}
    for node in baremetal.nodes():
        if node.provision_state != ACTIVE:
            continue
        name = node.host_name or node.label
        key = known_hosts.key(node.uuid)
        if key is None:
            passed_over[name] = "no host key is pinned here: it was deployed from elsewhere"
        elif node.address is None:
            passed_over[name] = "no address is known"
        else:
            targets.append(target(name, node, address=node.address, host_key=key))
    return Cloud(targets=tuple(sorted(targets, key=lambda one: one.name)), passed_over=passed_over)


def target(name: str, node: Node, *, address: str, host_key: str) -> Target:
    """Describe a deployed node as a host for services."""
    return Target(
        name=name, address=address, port=node.ssh_port, host_key=host_key, labels=node.labels
    )


def lab_registries(os_cloud: str | None) -> dict[str, Registry]:
    """Trust the lab's own registry, if the lab is the cloud and has one."""
    ca = cloud.lab_clouds_file().parent / "registry" / "ca.crt"
    if not cloud.is_lab(os_cloud) or not ca.exists():
        return {}
    LOG.info("trusting the lab's registry %s by its own certificate", LAB_REGISTRY)
    return {LAB_REGISTRY: registries.read(ca)}


class BackgroundDelivery:
    """Bring services to hosts as they become ready, in a thread; the hosts of one run, together.

    Hosts that were served stay with those that come: all get the same image for the same tag.
    """

    def __init__(
        self,
        file: Path,
        baremetal: BareMetal,
        known_hosts: KnownHosts,
        *,
        identity: Path | None,
        registries: Mapping[str, Registry],
        wait_s: float = DEFAULT_WAIT_S,
    ) -> None:
        """Load the file of services; nothing else happens yet.

        :param wait_s: the limit of each service, the time to put it back included.
        :raises Error: there is something wrong with the file.
        """
        self._file = file
        self._project = reach.with_registries(compose.load(file), registries, {})
        self._baremetal = baremetal
        self._known_hosts = known_hosts
        self._reach = reach.Reach(cloud=lambda: Cloud(targets=()), identity=identity)
        self._wait_s = wait_s
        self._served: dict[str, Target] = {}
        self._running: dict[str, Target] = {}
        self._ended: dict[str, str | None] = {}
        self._thread: Thread | None = None

    @property
    def project(self) -> Project:
        """What the file says."""
        return self._project

    def ask(self, ready: Sequence[Lease]) -> Mapping[str, str | None]:
        """Start with hosts that are ready, unless one batch is on its way.

        :returns: hosts whose services are done since the last time: None, or what went wrong.
        """
        if self._thread is not None:
            if self._thread.is_alive():
                return {}
            self._thread.join()
            self._thread, ended = None, self._ended
            self._served.update(self._running)
            return ended
        if ready:
            self._running = {
                one.host_name: target(
                    one.host_name, one.node, address=one.address or "", host_key=one.host_key or ""
                )
                for one in ready
            }
            self._ended = dict.fromkeys(self._running, "nobody knows what came of its services")
            self._thread = Thread(target=self._deliver, name="services", daemon=True)
            self._thread.start()
        return {}

    def _deliver(self) -> None:
        try:
            self._ended = self._errors(self._apply())
        except Error as error:
            self._ended = {name: self._worded(name, str(error)) for name in self._running}

    def _apply(self) -> list[Result]:
        chosen = {**self._served, **self._running}
        known = {one.name: one for one in hosts(self._baremetal, self._known_hosts).targets}
        with reach.opened(
            self._project,
            tuple({**known, **chosen}.values()),
            tuple(chosen.values()),
            self._reach,
            wait_s=self._wait_s,
            partial=True,
        ) as site:
            _until_let_in(site)
            return apply.apply(site)

    def _errors(self, results: Sequence[Result]) -> dict[str, str | None]:
        errors: dict[str, str | None] = dict.fromkeys(self._running)
        for one in results:
            if one.error is not None and one.change.host in errors:
                said = f"{one.change.service}: {one.error}"
                before = errors[one.change.host]
                errors[one.change.host] = f"{before}; {said}" if before else said
        return {name: self._worded(name, said) if said else None for name, said in errors.items()}

    def _worded(self, name: str, said: str) -> str:
        return f"services: {said} (try again: provision services apply {self._file} --on {name})"


def _until_let_in(site: Site) -> None:
    """Wait until every host lets us in, or a limit; what is wrong then, the story says."""
    limit = time.monotonic() + LET_IN_S
    while look(site)[1] and time.monotonic() < limit:
        time.sleep(ASK_AGAIN_S)
