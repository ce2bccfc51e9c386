"""Talk to Ironic through openstacksdk: its field names and its errors stop here.

Requests that carry a secret (a config drive with a host's private key) are sent without being
logged, so that --debug shows every request but those. Nothing is retried here: Busy says so, and
the story decides when to ask again.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from openstack import exceptions as sdk
from openstack.connection import Connection

from atomic_baremetal.cloud import translated
from provision.node import Allocation, Busy, Instance, Node, Refused

# The oldest API version that has what is used: 1.56 takes a config drive as a dict, 1.52 has
# allocations.
API_VERSION = "1.69"
FIELDS = (
    "uuid",
    "name",
    "driver",
    "resource_class",
    "provision_state",
    "deploy_step",
    "deploy_interface",
    "power_state",
    "maintenance",
    "maintenance_reason",
    "protected",
    "last_error",
    "instance_uuid",
    "instance_info",
    "driver_internal_info",
    "extra",
)
# Ironic 39 answers 500 to a list that asks for this field too
FIELDS_OF_ONE = (*FIELDS, "allocation_uuid")


@contextmanager
def asking_ironic() -> Iterator[None]:
    """Turn the SDK's errors into ours: Busy for 409 and 503, Refused for other 4xx, CloudError."""
    with translated("Ironic"):
        try:
            yield
        except sdk.HttpException as error:
            if error.status_code in (409, 503):
                raise Busy(f"Ironic is busy: {_one_line(error.details or str(error))}") from error
            if 400 <= (error.status_code or 0) < 500 and error.status_code not in (401, 403):
                raise Refused(
                    f"Ironic refused: {_one_line(error.details or str(error))}"
                ) from error
            raise


def send(
    connection: Connection, method: str, path: str, body: Any = None, *, secret: bool = False
) -> Any:
    """Send one request to Ironic and return the answer's JSON; None for an empty answer or a 404.

    :param secret: keep the bodies of the request and of the answer out of the debug log.
    :raises Busy: 409, 503.
    :raises Refused: another 4xx but 401 and 403.
    :raises CloudError: any other failure.
    """
    with asking_ironic():
        response = connection.baremetal.request(
            path,
            method,
            json=body,
            microversion=API_VERSION,
            log=not secret,
            status_code_retries=0,
            headers={"Accept": "application/json"},
        )
        if response.status_code == 404 and method in ("GET", "DELETE"):
            return None
        sdk.raise_from_response(response)
        return response.json() if response.content else None


class IronicBareMetal:
    """Be the BareMetal of a cloud with Ironic's API."""

    def __init__(self, connection: Connection) -> None:
        """Wrap an open connection; nothing is asked yet."""
        self._connection = connection

    def nodes(self, resource_class: str | None = None) -> list[Node]:
        """List the nodes by name, or those of one class."""
        query: dict[str, Any] = (
            {"resource_class": resource_class} if resource_class is not None else {}
        )
        with asking_ironic():
            found = [
                _node(one.to_dict(computed=False, original_names=True))
                for one in self._connection.baremetal.nodes(
                    details=False, fields=list(FIELDS), **query
                )
            ]
        return sorted(found, key=lambda node: node.label)

    def node(self, ident: str) -> Node | None:
        """Find a node by name or uuid."""
        found = self._send("GET", f"/nodes/{ident}?fields={','.join(FIELDS_OF_ONE)}")
        return None if found is None else _node(found)

    def allocation(self, ident: str) -> Allocation | None:
        """Find an allocation by name or uuid."""
        found = self._send("GET", f"/allocations/{ident}")
        return None if found is None else _allocation(found)

    def allocate(self, name: str, *, resource_class: str, candidates: Sequence[str]) -> Allocation:
        """Ask for a node; candidates are names or uuids, empty: any."""
        body: dict[str, Any] = {"name": name, "resource_class": resource_class}
        if candidates:
            body["candidate_nodes"] = list(candidates)
        return _allocation(self._send("POST", "/allocations", body))

    def delete_allocation(self, ident: str) -> None:
        """Delete an allocation; one that is not there is fine."""
        self._send("DELETE", f"/allocations/{ident}")

    def set_instance(self, node_uuid: str, instance: Instance) -> None:
        """Write down what is to run on a node."""
        values: dict[str, Any] = {
            "image_source": instance.image_id,
            "display_name": instance.host_name,
        }
        if instance.root_size_gib is not None:
            values["root_gb"] = instance.root_size_gib
        if instance.kernel_arguments is not None:
            values["kernel_append_params"] = instance.kernel_arguments
        # the whole field is replaced: nothing of an earlier attempt stays
        self._patch(node_uuid, {"op": "add", "path": "/instance_info", "value": values})

    def clear_instance(self, node_uuid: str) -> None:
        """Forget what was to run on a node that never ran it."""
        self._patch(node_uuid, {"op": "add", "path": "/instance_info", "value": {}})

    def deploy(self, node_uuid: str, config_drive: dict[str, Any]) -> None:
        """Start a deploy; the config drive holds a secret and is not logged."""
        body = {"target": "active", "configdrive": config_drive}
        self._send("PUT", f"/nodes/{node_uuid}/states/provision", body, secret=True)

    def undeploy(self, node_uuid: str) -> None:
        """Start a tear-down, automated cleaning included."""
        self._send("PUT", f"/nodes/{node_uuid}/states/provision", {"target": "deleted"})

    def _patch(self, node_uuid: str, *changes: dict[str, Any]) -> None:
        self._send("PATCH", f"/nodes/{node_uuid}", list(changes))

    def _send(self, method: str, path: str, body: Any = None, *, secret: bool = False) -> Any:
        return send(self._connection, method, path, body, secret=secret)


def _node(fields: dict[str, Any]) -> Node:
    """Read the API's node; Ironic says null for an empty mapping now and then."""
    instance = fields.get("instance_info") or {}
    extra = fields.get("extra") or {}
    internal = fields.get("driver_internal_info") or {}
    step = fields.get("deploy_step") or {}
    return Node(
        uuid=fields["uuid"],
        name=fields.get("name"),
        driver=fields.get("driver") or "",
        resource_class=fields.get("resource_class"),
        provision_state=fields.get("provision_state") or "available",
        deploy_step=step.get("step"),
        deploy_interface=fields.get("deploy_interface"),
        power_state=fields.get("power_state"),
        maintenance=bool(fields.get("maintenance")),
        maintenance_reason=fields.get("maintenance_reason"),
        protected=bool(fields.get("protected")),
        last_error=_one_line(fields.get("last_error")),
        allocation_uuid=fields.get("allocation_uuid"),
        instance_uuid=fields.get("instance_uuid"),
        host_name=instance.get("display_name"),
        image_id=instance.get("image_source"),
        kernel_arguments=instance.get("kernel_append_params"),
        address=extra.get("address") or _host_of(internal.get("agent_url")),
        ssh_port=int(extra.get("ssh_port") or 22),
        labels=_labels(extra.get("labels")),
    )


def _labels(found: Any) -> tuple[tuple[str, str], ...]:
    """Read labels; `extra` is free for anybody to write into, so it may be anything."""
    if not isinstance(found, dict):
        return ()
    return tuple(sorted((str(name), str(value)) for name, value in found.items()))


def _allocation(fields: dict[str, Any]) -> Allocation:
    return Allocation(
        uuid=fields["uuid"],
        name=fields.get("name"),
        state=fields.get("state") or "allocating",
        resource_class=fields.get("resource_class"),
        node_uuid=fields.get("node_uuid"),
        last_error=_one_line(fields.get("last_error")),
    )


def _host_of(url: str | None) -> str | None:
    return urlsplit(url).hostname if url else None


def _one_line(text: str | None) -> str | None:
    return " ".join(text.split()) if text else None
