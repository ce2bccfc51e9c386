"""The deploy ramdisk's iSCSI target, as the conductor sees it.

The commands are those of provision/agent/iscsi.py. See there for the words.
"""

import contextlib
import dataclasses
import hashlib
import hmac
import secrets
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib import parse

from ironic.common import exception
from ironic.drivers.modules import agent_client
from oslo_config import cfg
from oslo_log import log

from provision.driver import conf as _conf  # noqa: F401  (registers [iscsi])

LOG = log.getLogger(__name__)
CONF = cfg.CONF

LOGICAL_UNIT = 1
CHAP_USER = "ironic"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A disk on the network. The password is in no text made of this."""

    address: str
    port: int
    iqn: str
    user: str
    password: str = dataclasses.field(repr=False)

    @property
    def portal(self) -> str:
        """Write address and port as one word."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """What the ramdisk says of the disk it prepared."""

    device: str
    size_bytes: int
    sector_size_bytes: int
    zero_seconds: float


def chap_password(agent_token: str, nonce: str) -> str:
    """Derive the target's password as the agent does (provision/agent/iscsi.py has its copy).

    Both know the agent's token, which Ironic makes anew for each boot of a ramdisk. The nonce makes
    the password one deployment's; only the nonce is sent.

    :returns: 32 hexadecimal digits (128 bits).
    """
    message = f"iscsi-chap:{nonce}".encode()
    return hmac.new(agent_token.encode(), message, hashlib.sha256).hexdigest()[:32]


def iqn(node_uuid: str) -> str:
    """Name a node's target."""
    return f"iqn.2008-10.org.openstack:{node_uuid}"


def own_address(peer: str) -> str:
    """Find the address that this host speaks to another one from; nothing is sent.

    [DEFAULT]my_ip need not be it, on a conductor with several networks.

    :raises InstanceDeployFailure: there is no route.
    """
    family = socket.AF_INET6 if ":" in peer else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((peer, 9))
            return str(probe.getsockname()[0])
    except OSError as error:
        raise exception.InstanceDeployFailure(
            reason=f"the deploy ramdisk at {peer} cannot be reached: {error}"
        ) from error


class Ramdisk:
    """The agent of one node, for the commands of the iscsi extension."""

    def __init__(self, task: Any) -> None:
        self._node = task.node
        self._client = agent_client.get_client(task)

    def zero(self, *, head_bytes: int, tail_bytes: int) -> Disk:
        """Have the head and the tail of the root disk read as zeros."""
        result = self._poll(
            "zero", CONF.iscsi.zero_timeout, head_bytes=head_bytes, tail_bytes=tail_bytes
        )
        return Disk(
            device=result["device"],
            size_bytes=result["size_bytes"],
            sector_size_bytes=result["sector_size_bytes"],
            zero_seconds=result["seconds"],
        )

    @contextlib.contextmanager
    def target(self) -> Iterator[Target]:
        """Export the root disk to this conductor, for the time of the context.

        After a failure the target is taken down as well as can be; the first error counts.
        """
        target = self._start()
        try:
            yield target
        except BaseException:
            try:
                self._call("stop_iscsi_target")
            except exception.IronicException as error:
                LOG.warning(
                    "The iSCSI target of node %s could not be taken down after a failure; the node "
                    "is powered off next: %s",
                    self._node.uuid,
                    error,
                )
            raise
        self._call("stop_iscsi_target")

    def write_config_drive(self, config_drive: str) -> None:
        """Write the config drive; the argument's name keeps it out of the agent's log."""
        self._poll(
            "write_config_drive",
            CONF.iscsi.config_drive_timeout,
            configdrive=config_drive,
            node_uuid=self._node.uuid,
        )

    def _start(self) -> Target:
        """Start the target, reachable at the address that the agent itself announced."""
        info = self._node.driver_internal_info
        address = parse.urlparse(info["agent_url"]).hostname
        token = info.get("agent_secret_token")
        if not token or not address:
            raise exception.InstanceDeployFailure(
                reason="the deploy ramdisk has no agent token or no address"
            )
        nonce = secrets.token_hex(16)
        target = Target(
            address=address,
            port=CONF.iscsi.portal_port,
            iqn=iqn(self._node.uuid),
            user=CHAP_USER,
            password=chap_password(token, nonce),
        )
        self._call(
            "start_iscsi_target",
            iqn=target.iqn,
            portal_address=target.address,
            portal_port=target.port,
            initiator_address=own_address(target.address),
            chap_user=target.user,
            chap_nonce=nonce,
        )
        return target

    def _call(self, command: str, **parameters: Any) -> dict[str, Any]:
        """Run a synchronous command; the client limits it to [agent]command_timeout."""
        return self._result(command, self._send(command, parameters, wait=True))

    def _poll(self, command: str, limit_s: int, **parameters: Any) -> dict[str, Any]:
        """Run an asynchronous command and ask until it is done.

        An agent that is busy with its disk may miss a question: the limit alone ends the wait.

        :raises InstanceDeployFailure: failed, not done in time, or no longer known to the agent.
        """
        started = time.monotonic()
        answer = self._send(command, parameters, wait=False)
        identity, seen = answer["id"], str(answer["command_status"])
        while answer["command_status"] == "RUNNING":
            if time.monotonic() - started > limit_s:
                raise exception.InstanceDeployFailure(
                    reason=f"iscsi.{command} was not done in {limit_s} s; last seen: {seen}"
                )
            time.sleep(CONF.iscsi.poll_interval)
            try:
                known = self._client.get_commands_status(self._node, retry_connection=False)
            except exception.AgentConnectionFailed as error:
                seen = str(error)
                continue
            found = [entry for entry in known if entry["id"] == identity]
            if not found:
                raise exception.InstanceDeployFailure(
                    reason=f"the deploy ramdisk no longer knows of iscsi.{command}: it restarted"
                )
            answer, seen = found[0], str(found[0]["command_status"])
        return self._result(command, answer)

    def _send(self, command: str, parameters: dict[str, Any], *, wait: bool) -> dict[str, Any]:
        """Send a command. Ironic's client has no public method for an extension's commands."""
        answer: dict[str, Any] = self._client._command(
            self._node, f"iscsi.{command}", parameters, wait=wait
        )
        return answer

    def _result(self, command: str, answer: dict[str, Any]) -> dict[str, Any]:
        """Take a finished command's result.

        :raises InstanceDeployFailure: with the agent's own words.
        """
        if answer["command_status"] != "SUCCEEDED":
            words = agent_client.get_command_error(answer)
            raise exception.InstanceDeployFailure(reason=f"iscsi.{command}: {words}")
        return answer.get("command_result") or {}
