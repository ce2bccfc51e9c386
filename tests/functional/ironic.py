"""Start a real Ironic of fake machines for tests: one process, sqlite, HTTP basic auth.

The machines are Ironic's own `fake-hardware`: every power and deploy step succeeds at once, all
else is real.
"""

import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template

import bcrypt

from tests.functional.ports import free_port

BIN = Path(sys.executable).parent
USER, PASSWORD = "admin", "only for tests"
START_LIMIT_S = 60.0
CONFIGURATION = Template("""\
[DEFAULT]
auth_strategy = http_basic
http_basic_auth_user_file = $directory/htpasswd
rpc_transport = none
host = test
my_ip = 127.0.0.1
state_path = $directory
tempdir = $directory
log_file = $directory/ironic.log
enabled_hardware_types = fake-hardware,ssh
enabled_boot_interfaces = fake,ipxe-netboot
enabled_deploy_interfaces = fake,iscsi
enabled_management_interfaces = fake,ssh
enabled_power_interfaces = fake,ssh
enabled_inspect_interfaces = fake,no-inspect
enabled_network_interfaces = noop
enabled_raid_interfaces = fake,no-raid
enabled_rescue_interfaces = fake,no-rescue
enabled_vendor_interfaces = fake,no-vendor
enabled_console_interfaces = fake,no-console
enabled_bios_interfaces = fake,no-bios
enabled_firmware_interfaces = fake,no-firmware
enabled_storage_interfaces = noop,fake
default_network_interface = noop
[api]
host_ip = 127.0.0.1
port = $port
[conductor]
automated_clean = false
[deploy]
http_root = $directory/http
http_url = http://127.0.0.1:1
[pxe]
tftp_root = $directory/tftp
tftp_master_path = $directory/tftp_master
images_path = $directory/images
instance_master_path = $directory/instance_master
[fake]
$delays
[database]
connection = sqlite:///$directory/ironic.sqlite
[service_catalog]
auth_type = none
endpoint_override = $url
[glance]
auth_type = $glance_auth
username = $glance_user
password = $glance_password
endpoint_override = $glance_url
[dhcp]
dhcp_provider = none
[oslo_concurrency]
lock_path = $directory
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ironic:
    """Know where a running Ironic is and who may use it."""

    url: str
    directory: Path
    user: str = USER
    password: str = PASSWORD

    @property
    def log(self) -> str:
        return (self.directory / "ironic.log").read_text()


@contextmanager
def running(
    directory: Path,
    *,
    glance_url: str,
    glance_user: str | None = None,
    glance_password: str | None = None,
    deploy_delay_s: float = 0,
) -> Iterator[Ironic]:
    """Run Ironic with its data in an empty directory until the end of the block.

    :param glance_user: None: that Glance asks for no credentials.
    :param deploy_delay_s: how long each fake deploy step takes.
    """
    port = free_port()
    ironic = Ironic(url=f"http://127.0.0.1:{port}", directory=directory)
    configuration = directory / "ironic.conf"
    configuration.write_text(
        CONFIGURATION.substitute(
            directory=directory,
            port=port,
            url=ironic.url,
            delays=f"deploy_delay = {deploy_delay_s}",
            glance_url=glance_url,
            glance_auth="none" if glance_user is None else "http_basic",
            glance_user=glance_user or "",
            glance_password=glance_password or "",
        )
    )
    digest = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    for name in ("http", "tftp"):
        (directory / name).mkdir()
    (directory / "htpasswd").write_text(f"{USER}:{digest}\n")
    subprocess.run(
        [BIN / "ironic-dbsync", "--config-file", configuration, "create_schema"],
        check=True,
        capture_output=True,
    )
    with (directory / "out").open("w") as out:
        process = subprocess.Popen(
            [BIN / "ironic", "--config-file", configuration], stdout=out, stderr=out
        )
    try:
        wait_for_http(ironic.url, process, directory / "out")
        yield ironic
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for_http(url: str, process: subprocess.Popen[bytes], out: Path) -> None:
    """Wait until a service answers, whatever it says; fail with its last words when it ends."""
    deadline = time.monotonic() + START_LIMIT_S
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310 - always http
            return
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != 503:
                return
        except OSError:
            pass
        # its workers are started again and again when they cannot start
        said = out.read_text()
        assert process.poll() is None and "exited with status" not in said, said[-3000:]
        assert time.monotonic() < deadline, out.read_text()[-3000:]
        time.sleep(0.1)
