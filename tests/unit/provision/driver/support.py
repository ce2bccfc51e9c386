"""A node and a lock on it, without a database behind them."""

from types import SimpleNamespace
from typing import Any

from ironic.common import states
from ironic.conductor import task_manager

UUID = "11111111-2222-4333-8444-555555555555"


class Node:
    """The part of Ironic's node object that drivers use; a save is kept, as the database would."""

    def __init__(self, **fields: Any) -> None:
        self.uuid = UUID
        self.driver = "ssh"
        self.provision_state = states.DEPLOYING
        self.driver_info: dict[str, Any] = {}
        self.instance_info: dict[str, Any] = {}
        self.driver_internal_info: dict[str, Any] = {}
        self.properties: dict[str, Any] = {}
        self.interfaces = {"boot": "ipxe-netboot", "deploy": "iscsi"}
        self.saved: list[dict[str, Any]] = []
        vars(self).update(fields)

    def get_interface(self, kind: str) -> str:
        return self.interfaces[kind]

    def set_driver_internal_info(self, key: str, value: Any) -> None:
        self.driver_internal_info[key] = value

    def del_driver_internal_info(self, key: str, default: Any = None) -> Any:
        return self.driver_internal_info.pop(key, default)

    def save(self) -> None:
        self.saved.append(
            {
                "instance_info": dict(self.instance_info),
                "driver_internal_info": dict(self.driver_internal_info),
            }
        )


class Task(task_manager.TaskManager):
    """A lock on a node."""

    def __init__(self, node: Node, *, shared: bool = False, **driver: Any) -> None:
        self._node = node
        self.shared = shared
        self.context = SimpleNamespace(
            ensure_thread_contain_context=lambda: None, global_id=None, auth_token=None
        )
        self.upgraded: list[str] = []
        self.driver = SimpleNamespace(**driver)
        self._ports = [
            SimpleNamespace(address="52:54:00:00:00:01", pxe_enabled=True, extra={}),
        ]

    def upgrade_lock(self, purpose: str | None = None, retry: bool | None = None) -> None:
        self.upgraded.append(purpose or "")
        self.shared = False
