"""Play the machine that boots: a real sshd with the keys on the config drive from Ironic."""

import json
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigDrive:
    """Hold what a booting machine finds."""

    meta_data: dict[str, Any]
    user_data: str

    @property
    def cloud_config(self) -> dict[str, Any]:
        assert self.user_data.startswith("#cloud-config\n")
        settings: dict[str, Any] = yaml.safe_load(self.user_data)
        return settings


def config_drive(directory: Path, node_uuid: str) -> ConfigDrive | None:
    """Read a node's config drive out of Ironic's database: its API shows it to nobody."""
    with closing(sqlite3.connect(directory / "ironic.sqlite")) as database:
        (text,) = database.execute(
            "select instance_info from nodes where uuid = ?", (node_uuid,)
        ).fetchone()
    drive = json.loads(text or "{}").get("configdrive")
    # Ironic makes an image of it when a deploy interface asks for one; the fake one does not
    return None if drive is None else ConfigDrive(**drive)


@contextmanager
def sshd(directory: Path, *, port: int, host_key: str, authorized: list[str]) -> Iterator[None]:
    """Run sshd on the loopback address with one host key until the end of the block."""
    directory.mkdir(mode=0o700)
    (directory / "host_key").write_text(host_key)
    (directory / "host_key").chmod(0o600)
    (directory / "authorized_keys").write_text("".join(f"{key}\n" for key in authorized))
    (directory / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {directory}/host_key\n"
        f"AuthorizedKeysFile {directory}/authorized_keys\nPidFile none\nUsePAM no\n"
        "StrictModes no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n"
    )
    program = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin")
    assert program, "sshd is not installed"
    # sshd insists on this directory, which the system's service would have made
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    process = subprocess.Popen(
        [program, "-D", "-f", directory / "sshd_config", "-E", directory / "log"]
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait()
