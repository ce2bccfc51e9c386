"""Be a node, over ssh: each method runs one constant script there and reads what it prints.

The command line is the same for every script and every node: it reads the script from standard
input, where parameters (a line each) and data (a tar) follow. So nothing that a user wrote is ever
part of a command, and nothing is in the way of a sudo log.
"""

import getpass
import logging
import math
import socket
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Self

from provision.services.host import HostError, Image, Install, Observed, Outcome
from provision.services.model import Registry
from provision.services.node import answers, delivery, observed, outcome, pulled
from provision.services.node.answers import Answer, Unreadable
from provision.services.node.observed import Places
from provision.services.node.ssh_connection import Login, SshConnection

LOG = logging.getLogger(__name__)
RUN = "/run/provision-services"  # in memory
CONTAINERS = "/etc/containers"
# dd, as it is the one that never reads further than it should
RUN_SCRIPT = (
    'read -r size && script=$(dd bs="$size" count=1 iflag=fullblock 2>/dev/null) && eval "$script"'
)
SETTLE_S = 2.0  # how long a service has to stay up to count as started
MARGIN_S = 120.0  # what a script does besides waiting, on a slow node
SCRIPTS = {  # the parts of each
    "observe": ("common", "observe"),
    "trust": ("common", "units", "registries", "receive", "trust"),
    "pull": ("common", "pull"),
    "install": ("common", "start", "units", "registries", "receive", "install"),
    "restart": ("common", "start", "units", "restart"),
    "stop": ("common", "start", "stop"),
    "restore": ("common", "start", "units", "removal", "restore"),
    "remove": ("common", "start", "removal", "remove"),
    "tidy": ("common", "start", "units", "removal", "tidy"),
    "logs": ("common", "start", "logs"),
}


def script(verb: str) -> bytes:
    """Put a verb's script together."""
    files = resources.files("provision.services.node")
    return b"\n".join((files / f"{part}.sh").read_bytes() for part in SCRIPTS[verb])


class SshHost:
    """A node that is reached over ssh; see host.Host. Open and close it with `with`."""

    def __init__(
        self,
        *,
        name: str,
        address: str,
        port: int = 22,
        user: str = "root",
        host_key: str,
        identity: Path | None = None,
        timeout_s: float = 30.0,
        answer_timeout_s: float = 300.0,
        lock_timeout_s: float = 60.0,
    ) -> None:
        """Take note of where the node is; the connection is opened when it is first needed.

        :param user: anybody but root has to be allowed `sudo -n`.
        :param host_key: `TYPE BASE64`: the one that is trusted.
        :param identity: private key file; None: the agent's keys, then the default files.
        :param timeout_s: for each step of connecting.
        :param answer_timeout_s: for what has no time limit of its own.
        :param lock_timeout_s: how long to wait for another run that changes the node.
        """
        self.name = name
        self.round_trips = 0
        self._user = user
        self._answer_s = answer_timeout_s
        self._lock_s = lock_timeout_s
        login = Login(
            name=name, address=address, port=port, user=user, host_key=host_key, identity=identity
        )
        self._connection = SshConnection(login, connect_timeout_s=timeout_s)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection, if there is one."""
        self._connection.close()

    def observe(self, project: str) -> Observed:
        """See everything that matters of a project, and who else runs containers."""
        printed = self._run("observe", project)
        try:
            return observed.parse(printed, project)
        except Unreadable as error:
            raise self._error(error) from error

    def trust(self, registries: Mapping[str, Registry]) -> None:
        """Set up how registries are reached; no round trip when there are none."""
        if registries:
            # the project's part of the lock's place; no project has this name
            self._do("trust", ".", data=delivery.pack_registries(registries))

    def pull(self, images: Sequence[str], *, timeout_s: float) -> list[Image]:
        """Pull images, by tag or digest, in this order; what is there by digest is not fetched."""
        if not images:
            return []
        for image in images:
            pulled.check(image)
        found = self._do("pull", ".", _seconds(timeout_s), *images, timeout_s=timeout_s)
        try:
            return pulled.parse(found["images"], images)
        except Unreadable as error:
            raise self._error(error) from error

    def install(self, what: Install) -> None:
        """Bring units, configs and secrets, and make systemd read the units. Starts nothing."""
        self._do("install", what.project, data=delivery.pack(what))

    def restart(self, project: str, service: str, *, timeout_s: float) -> Outcome:
        """Stop a service and start it by its unit as it is now; wait until systemd calls it up."""
        return self._outcome(
            "restart", project, service, _seconds(timeout_s), f"{SETTLE_S:g}", timeout_s=timeout_s
        )

    def stop(self, project: str, service: str, *, timeout_s: float) -> Outcome:
        """Stop a service; systemd starts it again at the next boot."""
        return self._outcome("stop", project, service, _seconds(timeout_s), timeout_s=timeout_s)

    def restore(self, project: str, service: str, *, swap: bool, timeout_s: float) -> Outcome:
        """Put the previous unit in place and restart the service by it.

        Without a previous unit the service is removed, or, when swapping, HostError is raised.
        """
        way = "swap" if swap else "back"
        limits = (_seconds(timeout_s), f"{SETTLE_S:g}")
        # stopping what there is and starting the previous one may each take that long
        return self._outcome("restore", project, service, way, *limits, timeout_s=2 * timeout_s)

    def remove(self, project: str, services: Sequence[str], *, timeout_s: float) -> None:
        """Stop services and remove their units, containers, configs and unused secrets."""
        for service in services:
            delivery.check_name("service", service)
        if services:
            self._do("remove", project, _seconds(timeout_s), *services, timeout_s=timeout_s)

    def tidy(self, project: str) -> None:
        """Remove configs, secrets and images that neither a current nor a previous unit names."""
        self._do("tidy", project)

    def logs(self, project: str, service: str, *, lines: int, timeout_s: float) -> list[str]:
        """Return a service's last log lines, oldest first."""
        delivery.check_name("service", service)
        # among them are podman's own events, which are left out
        asked = str(3 * lines + 100)
        found = self._do("logs", project, service, asked, timeout_s=timeout_s)
        return outcome.journal(found)[-lines:] if lines > 0 else []

    def _outcome(
        self, verb: str, project: str, service: str, *words: str, timeout_s: float
    ) -> Outcome:
        delivery.check_name("service", service)
        printed = self._run(verb, project, service, *words, timeout_s=timeout_s)
        try:
            return outcome.parse(printed, f"{project}-{service}", timeout_s=timeout_s)
        except Unreadable as error:
            raise self._error(error) from error

    def _do(
        self,
        verb: str,
        project: str,
        *words: str,
        data: bytes = b"",
        timeout_s: float | None = None,
    ) -> Mapping[str, Answer]:
        printed = self._run(verb, project, *words, data=data, timeout_s=timeout_s)
        try:
            return answers.read(printed)
        except Unreadable as error:
            raise self._error(error) from error

    def _run(
        self,
        verb: str,
        project: str,
        *words: str,
        data: bytes = b"",
        timeout_s: float | None = None,
    ) -> bytes:
        """Run a verb's script with its parameters; one round trip."""
        if project != ".":
            delivery.check_name("project", project)
        stdin = compose(verb, project, *words, lock_s=self._lock_s) + data
        sudo = "" if self._user == "root" else "sudo -n "
        command = f"exec {sudo}/bin/sh -c '{RUN_SCRIPT}'"
        limit_s = (self._answer_s if timeout_s is None else timeout_s + MARGIN_S) + self._lock_s
        self.round_trips += 1
        LOG.debug("%s: %s %s", self.name, verb, " ".join((project, *words)))
        done = self._connection.run(command, stdin, what=verb, timeout_s=limit_s)
        if done.status is None:
            raise HostError(
                f"{self.name}: the connection was lost during {verb}",
                hint="run the command again: it goes on from what is there",
            )
        if done.status != 0 and not done.output.rstrip().endswith(b"end"):
            words_ = done.last_words or "it said nothing"
            raise HostError(f"{self.name}: {verb} failed with status {done.status}: {words_}")
        return done.output

    def _error(self, error: Unreadable) -> HostError:
        return HostError(f"{self.name}: {error}")


def compose(
    verb: str,
    project: str,
    *words: str,
    lock_s: float,
    places: Places = Places(),  # noqa: B008
    run: str = RUN,
    containers: str = CONTAINERS,
) -> bytes:
    """Write what goes to a node before the data: the script, then its parameters, a line each."""
    text = script(verb)
    parameters = (
        _me(),
        _seconds(lock_s),
        places.state,
        places.quadlet,
        places.units,
        run,
        containers,
        project,
        *words,
    )
    lines = "".join(f"{one}\n" for one in parameters)
    return f"{len(text)}\n".encode() + text + lines.encode()


def _me() -> str:
    """Say who this is, to whom the lock makes wait."""
    return "".join(
        one if one.isprintable() else "?" for one in f"{getpass.getuser()}@{socket.gethostname()}"
    )


def _seconds(value: float) -> str:
    return str(max(1, math.ceil(value)))
