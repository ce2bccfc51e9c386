"""The conductor's side of the agent's commands: waits with a limit, and a derived password."""

from typing import Any

import pytest
from ironic.common import exception

from provision.driver import iscsi_target
from tests.unit.provision.driver.support import UUID, Node, Task


class Client:
    """An agent that needs some questions until a command is done."""

    def __init__(self, *answers: Any) -> None:
        self.sent: list[tuple[str, dict[str, Any], bool]] = []
        self.answers = list(answers)

    def _command(
        self, node: Any, method: str, params: dict[str, Any], wait: bool
    ) -> dict[str, Any]:
        self.sent.append((method, params, wait))
        return answer("SUCCEEDED" if wait else "RUNNING")

    def get_commands_status(self, node: Any, retry_connection: bool) -> list[dict[str, Any]]:
        assert not retry_connection
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return [{"id": "older", "command_status": "FAILED"}, *answer]


def answer(status: str, **fields: Any) -> dict[str, Any]:
    return {"id": "this", "command_status": status, "command_result": {}, **fields}


DONE = {"device": "/dev/sda", "size_bytes": 9, "sector_size_bytes": 512, "seconds": 1.5}


def ramdisk(client: Client) -> iscsi_target.Ramdisk:
    info = {"agent_url": "http://127.0.0.1:9999", "agent_secret_token": "token"}
    task = Task(Node(driver_internal_info=info))
    task.cached_agent_client = client
    return iscsi_target.Ramdisk(task)


def test_waiting(conf: Any) -> None:
    lost = exception.AgentConnectionFailed(reason="busy")
    done = [answer("SUCCEEDED", command_result=DONE)]
    client = Client([answer("RUNNING")], lost, [answer("RUNNING")], done)
    disk = ramdisk(client).zero(head_bytes=1, tail_bytes=2)
    assert disk == iscsi_target.Disk(
        device="/dev/sda", size_bytes=9, sector_size_bytes=512, zero_seconds=1.5
    )
    assert client.sent == [("iscsi.zero", {"head_bytes": 1, "tail_bytes": 2}, False)]


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (
            [answer("FAILED", command_error={"message": "m", "details": "no room"})],
            "iscsi.zero: no room",
        ),
        (
            [],
            "the deploy ramdisk no longer knows of iscsi.zero: it restarted",
        ),
        (
            [answer("RUNNING")],
            "iscsi.zero was not done in 1 s; last seen: RUNNING",
        ),
        (
            exception.AgentConnectionFailed(reason="no route"),
            "iscsi.zero was not done in 1 s; last seen: Connection to agent failed: no route",
        ),
    ],
)
def test_what_ends_a_wait(conf: Any, last: Any, message: str) -> None:
    conf.set_override("zero_timeout", 1, group="iscsi")
    try:
        with pytest.raises(exception.InstanceDeployFailure) as refused:
            ramdisk(Client(last)).zero(head_bytes=1, tail_bytes=2)
    finally:
        conf.clear_override("zero_timeout", group="iscsi")
    assert str(refused.value) == f"Failed to deploy instance: {message}"


def test_the_target_and_its_password(conf: Any) -> None:
    client = Client([])
    with ramdisk(client).target() as target:
        pass
    (start, parameters, _), (stop, nothing, _) = client.sent
    assert (start, stop, nothing) == ("iscsi.start_iscsi_target", "iscsi.stop_iscsi_target", {})
    nonce = parameters.pop("chap_nonce")
    assert parameters == {
        "iqn": f"iqn.2008-10.org.openstack:{UUID}",
        "portal_address": "127.0.0.1",
        "portal_port": 3260,
        "initiator_address": "127.0.0.1",
        "chap_user": "ironic",
    }
    assert target.password == iscsi_target.chap_password("token", nonce)
    assert target.password not in repr((client.sent, target))
    with ramdisk(client).target() as another:
        assert another.password != target.password


def test_a_failure_takes_the_target_down_and_is_the_one_told(conf: Any) -> None:
    client = Client([])

    class Broken(Client):
        def _command(
            self, node: Any, method: str, params: dict[str, Any], wait: bool
        ) -> dict[str, Any]:
            super()._command(node, method, params, wait)
            if "stop" in method:
                raise exception.AgentConnectionFailed(reason="gone")
            return answer("SUCCEEDED")

    for agent in (client, Broken([])):
        with pytest.raises(ZeroDivisionError), ramdisk(agent).target():
            raise ZeroDivisionError
        assert [method for method, _, _ in agent.sent] == [
            "iscsi.start_iscsi_target",
            "iscsi.stop_iscsi_target",
        ]


def test_no_token(conf: Any) -> None:
    task = Task(Node(driver_internal_info={"agent_url": "http://192.0.2.1:9999"}))
    task.cached_agent_client = Client([])
    with (
        pytest.raises(exception.InstanceDeployFailure) as refused,
        iscsi_target.Ramdisk(task).target(),
    ):
        pass
    assert str(refused.value) == (
        "Failed to deploy instance: the deploy ramdisk has no agent token or no address"
    )


@pytest.mark.parametrize(
    ("address", "portal"), [("192.0.2.1", "192.0.2.1:3260"), ("2001:db8::1", "[2001:db8::1]:3260")]
)
def test_portal(address: str, portal: str) -> None:
    target = iscsi_target.Target(address=address, port=3260, iqn="i", user="u", password="p")
    assert target.portal == portal
