"""The command line's manners."""

import pytest
from click.testing import CliRunner

from atomic_baremetal.errors import Error
from provision.cli import fail, provision, refuse_what_comes_later

COMMANDS = ("enroll", "nodes", "list", "show", "ssh", "release", "lab", "services")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_option_says_what_it_is_for(command: str) -> None:
    runner = CliRunner()
    assert command in runner.invoke(provision, ["--help"]).output
    done = runner.invoke(provision, [command, "--help"])
    assert done.exit_code == 0
    assert done.output.startswith(f"Usage: provision {command} ")


def test_nodes_has_the_options_that_others_call() -> None:
    offered = {
        name
        for parameter in provision.commands["nodes"].params
        for name in (*parameter.opts, *parameter.secondary_opts)
    }
    promised = (
        "--flavor --image --count --name --ssh-key --user-data --kernel-append --deploy --via "
        "--candidate --services --wait --no-wait --keep-on-failure --dry-run -f"
    )
    assert set(promised.split()) <= offered


def test_wrong_use_is_status_2() -> None:
    for argv in (["nodes"], ["nodes", "--flavor", "x", "--image", "y", "--deploy", "z"], ["show"]):
        assert CliRunner().invoke(provision, argv).exit_code == 2


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (
            {"deploy": "bootc"},
            "--deploy bootc (bootable containers) is not built yet (there is iscsi)",
        ),
        (
            {"deploy": "direct"},
            "--deploy direct (today's whole-disk deploy) is not built yet (there is iscsi)",
        ),
        ({"via": "nova"}, "--via nova is not built yet (there is ironic)"),
    ],
)
def test_what_comes_later_is_refused_by_name(asked: dict[str, str], error: str) -> None:
    with pytest.raises(Error) as raised:
        refuse_what_comes_later(**{"deploy": "iscsi", "via": "ironic", **asked})
    assert str(raised.value) == error


def test_each_failure_is_a_line(caplog: pytest.LogCaptureFixture) -> None:
    fail({}, of=3)
    with pytest.raises(Error) as raised:
        fail({"a": "why"}, of=1)
    assert str(raised.value) == "a: why"
    assert not caplog.messages
    with pytest.raises(Error) as raised:
        fail({"a": "why", "b": "how"}, of=3)
    assert str(raised.value) == "2 of 3 failed"
    assert caplog.messages == ["a: why", "b: how"]
