"""Fakes with state for the seams of provision: a cloud of machines, a clock, a prober."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from provision import node as states
from provision.images import Image
from provision.inventory import Machine
from provision.lease import Lease
from provision.node import Allocation, Busy, Instance, Node, Refused
from provision.order import Order
from provision.ssh import Answer, Probe

IMAGE = Image(
    id="image-1",
    name="fedora-atomic",
    status="active",
    kernel_id="k",
    ramdisk_id="r",
    kernel_cmdline="root=/dev/mapper/atomicos-root ostree=/ostree/boot.0/os/0/0",
    root_size_gib=7,
)
PUBLIC_KEY = "ssh-ed25519 AAAA operator"


def order(*host_names: str, **changes: Any) -> Order:
    return replace(
        Order(
            host_names=host_names or ("atomic-1",),
            resource_class="baremetal",
            image=IMAGE,
            public_key=PUBLIC_KEY,
        ),
        **changes,
    )


class FakeClock:
    """Pass the time at once; what is to happen at a time happens when it comes."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.at: list[tuple[float, Callable[[], None]]] = []

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.seconds += seconds
        assert self.seconds < 100_000, "this never ends"
        due = [one for one in self.at if one[0] <= self.seconds]
        self.at = [one for one in self.at if one[0] > self.seconds]
        for _, happen in due:
            happen()


class FakeCloud:
    """Be a BareMetal whose machines deploy in steps, one a look."""

    deploys = (
        ("deploying", "deploy"),
        ("wait call-back", "deploy"),
        ("deploying", "write_image"),
        ("deploying", "boot_instance"),
        (states.ACTIVE, None),
    )

    def __init__(self, *names: str, **common: Any) -> None:
        self.machines: dict[str, Node] = {}
        self.allocations: dict[str, Allocation] = {}
        self.coming: dict[str, list[tuple[str, str | None]]] = {}
        self.drives: dict[str, dict[str, Any]] = {}
        self.failing: dict[str, str] = {}  # node -> why its deploy fails
        self.raises: dict[str, list[BaseException]] = {}  # method -> what its next calls raise
        self.outcomes: list[str] = []  # what the next allocations come to, though nodes are free
        self.asked: list[str] = []
        self._numbers = itertools.count(1)
        for name in names:
            self.add(name, **common)

    def add(self, name: str, **fields: Any) -> Node:
        node = Node(
            **{
                "uuid": f"uuid-of-{name}",
                "name": name,
                "driver": "ssh",
                "resource_class": "baremetal",
                "deploy_interface": "iscsi",
                "provision_state": states.AVAILABLE,
                "power_state": "power off",
                "address": f"192.0.2.{len(self.machines) + 11}",
                **fields,
            }
        )
        self.machines[node.uuid] = node
        return node

    def change(self, name: str, **fields: Any) -> None:
        node = self._find(name)
        assert node is not None
        self.machines[node.uuid] = replace(node, **fields)

    def state(self, name: str) -> str:
        node = self._find(name)
        assert node is not None
        return node.provision_state

    # BareMetal

    def nodes(self, resource_class: str | None = None) -> list[Node]:
        self._call("nodes")
        for uuid in self.machines:
            self._advance(uuid)
        return [
            node for node in self.machines.values() if resource_class in (None, node.resource_class)
        ]

    def node(self, ident: str) -> Node | None:
        self._call("node")
        node = self._find(ident)
        if node is not None:
            self._advance(node.uuid)
        return self._find(ident)

    def allocation(self, ident: str) -> Allocation | None:
        self._call("allocation")
        for one in self.allocations.values():
            if ident in (one.name, one.uuid):
                return one
        return None

    def allocate(self, name: str, *, resource_class: str, candidates: Sequence[str]) -> Allocation:
        self._call(f"allocate {name}")
        if any(one.name == name for one in self.allocations.values()):
            raise Busy(f"Ironic is busy: an allocation with name {name} already exists")
        uuid = f"allocation-{next(self._numbers)}"
        free = [
            node
            for node in self.machines.values()
            if node.free
            and node.resource_class == resource_class
            and (not candidates or {node.uuid, node.name} & set(candidates))
        ]
        found = Allocation(uuid=uuid, name=name, state="error", resource_class=resource_class)
        if self.outcomes:
            found = replace(found, state=self.outcomes.pop(0), last_error="database is locked")
        elif free:
            found = replace(found, state="active", node_uuid=free[0].uuid)
            self.change(free[0].uuid, allocation_uuid=uuid, instance_uuid=uuid)
        self.allocations[uuid] = found
        return replace(found, state="allocating", node_uuid=None)

    def delete_allocation(self, ident: str) -> None:
        self._call("delete_allocation")
        found = self.allocation(ident)
        if found is None:
            return
        if found.node_uuid is not None:
            if self.state(found.node_uuid) != states.AVAILABLE:
                raise Refused("Ironic refused: the node is in use")
            self.change(found.node_uuid, allocation_uuid=None, instance_uuid=None)
        del self.allocations[found.uuid]

    def set_instance(self, node_uuid: str, instance: Instance) -> None:
        self._call("set_instance")
        self.change(
            node_uuid,
            host_name=instance.host_name,
            image_id=instance.image_id,
            kernel_arguments=instance.kernel_arguments,
        )

    def clear_instance(self, node_uuid: str) -> None:
        self._call("clear_instance")
        self.change(node_uuid, host_name=None, image_id=None, kernel_arguments=None)

    def deploy(self, node_uuid: str, config_drive: dict[str, Any]) -> None:
        self._call("deploy")
        assert self.state(node_uuid) in (states.AVAILABLE, states.DEPLOY_FAILED)
        self.drives[node_uuid] = config_drive
        self.change(node_uuid, provision_state="deploying", deploy_step=None, last_error=None)
        self.coming[node_uuid] = list(self.deploys)

    def undeploy(self, node_uuid: str) -> None:
        self._call(f"undeploy {self.machines[node_uuid].name}")
        if self.state(node_uuid) not in states.CAN_BE_UNDEPLOYED:
            raise Refused(f"Ironic refused: it is {self.state(node_uuid)}")
        self.change(node_uuid, provision_state="deleting")
        self.coming[node_uuid] = [("deleting", None), ("cleaning", None), (states.AVAILABLE, None)]

    # what happens by itself

    def _advance(self, uuid: str) -> None:
        if not self.coming.get(uuid):
            return
        state, step = self.coming[uuid].pop(0)
        if step == "write_image" and uuid in self.failing:
            self.coming[uuid] = []
            self.change(
                uuid,
                provision_state=states.DEPLOY_FAILED,
                deploy_step=None,
                last_error=self.failing[uuid],
            )
            return
        self.change(uuid, provision_state=state, deploy_step=step)
        if state == "cleaning":
            claim = self.machines[uuid].allocation_uuid
            self.allocations.pop(claim or "", None)
            self.change(
                uuid, allocation_uuid=None, instance_uuid=None, host_name=None, image_id=None
            )

    def _find(self, ident: str) -> Node | None:
        return next((one for one in self.machines.values() if ident in (one.uuid, one.name)), None)

    def _call(self, what: str) -> None:
        self.asked.append(what)
        waiting = self.raises.get(what.split(maxsplit=1)[0])
        if waiting:
            raise waiting.pop(0)


class FakeProber:
    """Answer probes: by address, the answers in order, the last one for ever."""

    def __init__(self, **answers: Sequence[Answer]) -> None:
        self.answers = {key.replace("_", "."): list(value) for key, value in answers.items()}
        self.keys: dict[str, str] = {}

    def ask(self, address: str, port: int, *, host_key: str) -> Probe | None:
        self.keys[address] = host_key
        answers = self.answers.setdefault(address, [Answer.NOT_YET, Answer.VERIFIED])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return Probe(answer=answer, saw=f"saw {answer} at {address} port {port}")


class FakeDelivery:
    """Bring services in so many looks; one batch at a time."""

    def __init__(self, looks: int = 2, **failing: str) -> None:
        self.looks = looks
        self.failing = {name.replace("_", "-"): error for name, error in failing.items()}
        self.batches: list[list[str]] = []
        self._left = 0

    def ask(self, ready: Sequence[Lease]) -> Mapping[str, str | None]:
        if self._left:
            self._left -= 1
            return {} if self._left else {one: self.failing.get(one) for one in self.batches[-1]}
        if ready:
            self.batches.append([one.host_name for one in ready])
            self._left = self.looks
        return {}


class FakeRegistry:
    """Be a Registry whose machines follow in one look."""

    def __init__(self) -> None:
        self.machines: dict[str, Node] = {}
        self.written: dict[str, Machine] = {}
        self.ports: dict[str, str] = {}
        self.cannot: dict[str, tuple[str, str]] = {}  # name -> (verb, why)
        self.raises: dict[str, list[BaseException]] = {}

    def node(self, name: str) -> Node | None:
        self._call("node")
        node = self.machines.get(name)
        if node is not None and node.provision_state == "verifying":
            self._end(name, "manage", good="manageable", bad="enroll")
        elif node is not None and node.provision_state == "cleaning":
            self._end(name, "provide", good=states.AVAILABLE, bad=states.CLEAN_FAILED)
        return node

    def create(self, machine: Machine) -> Node:
        self._call("create")
        node = Node(uuid=f"uuid-of-{machine.name}", name=machine.name, provision_state="enroll")
        self.machines[machine.name] = node
        self.written[machine.name] = machine
        return node

    def update(self, node: Node, machine: Machine) -> bool:
        assert node.name is not None
        changed = self.written.get(node.name) != machine
        self.written[node.name] = machine
        return changed

    def add_ports(self, node: Node, machine: Machine) -> bool:
        new = [mac for mac in machine.macs if mac not in self.ports]
        self.ports.update(dict.fromkeys(new, node.uuid))
        return bool(new)

    def ask(self, node: Node, verb: str) -> None:
        assert node.name is not None
        state = {"manage": "verifying", "provide": "cleaning"}[verb]
        self.machines[node.name] = replace(node, provision_state=state)

    def remove(self, node: Node) -> None:
        self._call("remove")
        assert node.name is not None
        del self.machines[node.name]

    def _end(self, name: str, verb: str, *, good: str, bad: str) -> None:
        failed, why = self.cannot.get(name, ("", ""))
        state, error = (bad, why) if failed == verb else (good, None)
        self.machines[name] = replace(self.machines[name], provision_state=state, last_error=error)

    def _call(self, what: str) -> None:
        if self.raises.get(what):
            raise self.raises[what].pop(0)
