"""What the agent's extension accepts, and what it runs."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ironic_python_agent import errors, hardware

from provision.agent import config_drive, iscsi

NONCE = "0123456789abcdef" * 2
GOOD = {
    "iqn": "iqn.2008-10.org.openstack:11111111-2222-4333-8444-555555555555",
    "portal_address": "192.0.2.9",
    "portal_port": 3260,
    "initiator_address": "192.0.2.1",
    "chap_user": "ironic",
    "chap_nonce": NONCE,
}
# Each program writes its argv to a log; tgtd's presence is a file.
PROGRAM = """#!/bin/sh
log='{log}' up='{log}.up'
echo "$(basename "$0") $*" >> "$log"
case "$(basename "$0") $*" in
    tgtd*) touch "$up" ;;
    *"delete --mode system") rm -f "$up" ;;
    *"show --mode portal") echo "Portal: 192.0.2.9:3260,1" ;;
    tgtadm*) test -e "$up" || {{ echo "tgtadm: no daemon" >&2; exit 107; }} ;;
    *getss*) echo 512 ;;
esac
{extra}
"""

Log = Callable[[], list[str]]


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(8 << 20))
    monkeypatch.setattr(hardware, "dispatch_to_managers", lambda method, **options: str(disk))
    return disk


def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extra: str = "") -> Log:
    """Put programs on PATH that say what they were called with."""
    log = tmp_path / "log"
    log.write_text("")
    directory = tmp_path / "bin"
    directory.mkdir()
    for name in ("tgtd", "tgtadm", "blkdiscard", "blockdev", "partprobe", "sync"):
        program = directory / name
        program.write_text(PROGRAM.format(log=log, extra=extra))
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    return lambda: log.read_text().splitlines()


def extension(token: str | None = "token") -> iscsi.ISCSIExtension:  # noqa: S107
    return iscsi.ISCSIExtension(
        agent=SimpleNamespace(agent_token=token, force_heartbeat=lambda: None)
    )


def test_start(disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = programs(tmp_path, monkeypatch)
    result = extension().execute("start_iscsi_target", **GOOD)
    assert result.command_result == {
        "iqn": GOOD["iqn"],
        "device": str(disk),
        "size_bytes": 8 << 20,
    }
    password = iscsi.chap_password("token", NONCE)
    tgtadm = "tgtadm --lld iscsi --op"
    show = f"{tgtadm} show --mode target"
    assert [line for line in log() if line != show] == [
        "tgtd --iscsi portal=192.0.2.9:3260",
        f"{tgtadm} show --mode portal",
        f"{tgtadm} new --mode target --tid 1 --targetname {GOOD['iqn']}",
        f"{tgtadm} new --mode account --user ironic --password {password}",
        f"{tgtadm} bind --mode account --tid 1 --user ironic",
        f"{tgtadm} new --mode logicalunit --tid 1 --lun 1 -b {disk}",
        f"{tgtadm} bind --mode target --tid 1 -I 192.0.2.1",  # last: from now on it can be used
    ]
    # What the agent hands back and logs knows nothing of the password.
    assert password not in json.dumps(result.serialize())


@pytest.mark.parametrize(
    ("different", "message"),
    [
        (
            {"initiator_address": "ALL"},
            "initiator_address: 'ALL' does not appear to be an IPv4 or IPv6 address",
        ),
        (
            {"portal_address": ""},
            "portal_address: '' does not appear to be an IPv4 or IPv6 address",
        ),
        ({"portal_port": 0}, "portal_port: 0 is not a port"),
        ({"iqn": "iqn.x,y"}, "iqn: not valid: 'iqn.x,y'"),
        ({"chap_user": "a b"}, "chap_user: not valid: 'a b'"),
        ({"chap_nonce": "short"}, "chap_nonce: not valid: 'short'"),
    ],
)
def test_refused(disk: Path, different: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.InvalidCommandParamsError) as refused:
        extension().execute("start_iscsi_target", **{**GOOD, **different})
    assert refused.value.details == message


def test_no_token_no_export(disk: Path) -> None:
    with pytest.raises(errors.CommandExecutionError) as refused:
        extension(None).execute("start_iscsi_target", **GOOD)
    assert refused.value.details == (
        "the agent has no token, so there is no secret to protect the disk's export with"
    )


def test_a_failed_start_leaves_no_daemon(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail = 'case "$*" in *logicalunit*) echo "tgtadm: no such device" >&2; exit 22;; esac'
    log = programs(tmp_path, monkeypatch, fail)
    with pytest.raises(errors.CommandExecutionError) as refused:
        extension().execute("start_iscsi_target", **GOOD)
    assert refused.value.details == "tgtadm failed with status 22: tgtadm: no such device"
    assert "tgtadm --lld iscsi --op delete --mode system" in log()
    assert not (tmp_path / "log.up").exists()


def test_zero(disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = programs(tmp_path, monkeypatch)
    result = extension().execute("zero", head_bytes=4 << 20, tail_bytes=1 << 20)
    result.join()
    assert result.command_error is None
    assert result.command_result["size_bytes"] == 8 << 20
    assert result.command_result["sector_size_bytes"] == 512
    assert [line for line in log() if line.startswith("blkdiscard")] == [
        f"blkdiscard -f -z -o 0 -l {4 << 20} {disk}",
        f"blkdiscard -f -z -o {7 << 20} -l {1 << 20} {disk}",
    ]


def test_a_program_that_is_not_there(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs(tmp_path, monkeypatch)
    (tmp_path / "bin" / "blkdiscard").unlink()
    monkeypatch.setenv("PATH", str(tmp_path / "bin") + ":/bin")
    with pytest.raises(errors.CommandExecutionError) as refused:
        iscsi._run("no-such-program")
    assert refused.value.details == "no-such-program is not in the ramdisk"


def test_the_clean_step_comes_before_the_partition_table_goes() -> None:
    manager = config_drive.ConfigDriveHardwareManager()
    ours = manager.get_clean_steps({}, [])
    stock = hardware.GenericHardwareManager().get_clean_steps({}, [])
    table = next(step for step in stock if step["step"] == "erase_devices_metadata")
    assert [step["step"] for step in ours] == ["erase_config_drive"]
    assert ours[0]["priority"] > table["priority"]
    assert ours[0]["interface"] == "deploy"
    assert set(vars(config_drive.ConfigDriveHardwareManager)) & set(
        vars(hardware.GenericHardwareManager)
    ) <= {
        "__module__",
        "__doc__",
        "__abstractmethods__",
        "_abc_impl",
        "HARDWARE_MANAGER_NAME",
        "HARDWARE_MANAGER_VERSION",
        "evaluate_hardware_support",
        "get_clean_steps",
    }
