"""Read from an Ironic node how far its deploy has come."""

from dataclasses import dataclass

from provision import node as states
from provision.events import Phase
from provision.node import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Say where a deploy is.

    :ivar waiting_for: what has to happen next; None in a final phase.
    :ivar error: why it cannot go on; set in phase failed only.
    """

    phase: Phase
    waiting_for: str | None = None
    error: str | None = None


def of_deploy(node: Node | None) -> Progress:
    """Tell the phase of a node whose deploy was asked for; None: it is gone from Ironic."""
    if node is None:
        return Progress(phase=Phase.FAILED, error="the node is gone from Ironic")
    state = node.provision_state
    if state == states.ACTIVE:
        return Progress(phase=Phase.ACTIVE, waiting_for="the machine to boot")
    if state in states.DEPLOYING:
        return _deploying(node)
    if state == states.DEPLOY_FAILED or state in states.TEAR_DOWN_FAILED:
        return Progress(
            phase=Phase.FAILED,
            error=f"Ironic: {node.last_error or 'deploy failed, no reason given'}",
        )
    return Progress(
        phase=Phase.FAILED,
        error=f"somebody else has taken the node back: it is {state!r}"
        + (f"; Ironic: {node.last_error}" if node.last_error else ""),
    )


def _deploying(node: Node) -> Progress:
    step = node.deploy_step
    if step is None:
        return Progress(phase=Phase.DEPLOYING, waiting_for="Ironic to prepare the deploy")
    if step == "deploy":
        if node.provision_state == "wait call-back":
            return Progress(
                phase=Phase.AGENT_BOOTING, waiting_for="the deploy ramdisk to boot and call back"
            )
        return Progress(phase=Phase.DEPLOYING, waiting_for="Ironic to start the deploy ramdisk")
    if step == "write_image":
        return Progress(phase=Phase.WRITING, waiting_for="the image to be written")
    return Progress(phase=Phase.FINISHING, waiting_for=f"Ironic's step {step}")
