"""Reading a deploy's progress."""

import pytest

from provision.node import Node
from provision.phases import Progress, of_deploy


@pytest.mark.parametrize(
    ("state", "step", "phase", "waiting_for"),
    [
        ("deploying", None, "deploying", "Ironic to prepare the deploy"),
        ("deploying", "deploy", "deploying", "Ironic to start the deploy ramdisk"),
        ("wait call-back", "deploy", "agent-booting", "the deploy ramdisk to boot and call back"),
        ("deploying", "write_image", "writing", "the image to be written"),
        ("wait call-back", "write_image", "writing", "the image to be written"),
        ("deploying", "boot_instance", "finishing", "Ironic's step boot_instance"),
        ("active", None, "active", "the machine to boot"),
    ],
)
def test_on_its_way(state: str, step: str | None, phase: str, waiting_for: str) -> None:
    found = of_deploy(Node(uuid="u", provision_state=state, deploy_step=step))
    assert found == Progress(phase=phase, waiting_for=waiting_for)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "last_error", "error"),
    [
        ("deploy failed", "no disk", "Ironic: no disk"),
        ("deploy failed", None, "Ironic: deploy failed, no reason given"),
        ("error", "no power", "Ironic: no power"),
        ("cleaning", None, "somebody else has taken the node back: it is 'cleaning'"),
        ("available", "x", "somebody else has taken the node back: it is 'available'; Ironic: x"),
    ],
)
def test_at_an_end(state: str, last_error: str | None, error: str) -> None:
    found = of_deploy(Node(uuid="u", provision_state=state, last_error=last_error))
    assert (found.phase, found.error) == ("failed", error)


def test_a_node_that_is_gone() -> None:
    assert of_deploy(None).error == "the node is gone from Ironic"
