"""Start a real Glance for tests: gunicorn, sqlite, a file store, HTTP basic authentication.

Whoever passes is the administrator of a cloud without projects, as in the lab.
"""

import os
import shutil
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
import yaml

from tests.functional.ports import free_port

BIN = Path(sys.executable).parent
USER, PASSWORD = "admin", "only for tests"
START_LIMIT_S = 60.0
CONFIGURATION = Template("""\
[DEFAULT]
enabled_backends = files:file
use_keystone_limits = false
log_file = $directory/api.log
[glance_store]
default_backend = files
[files]
filesystem_store_datadir = $store
[os_glance_staging_store]
filesystem_store_datadir = $directory/staging
[os_glance_tasks_store]
filesystem_store_datadir = $directory/tasks
[database]
connection = sqlite:///$directory/glance.sqlite
[paste_deploy]
flavor = test
config_file = $directory/paste.ini
[oslo_middleware]
http_basic_auth_user_file = $directory/htpasswd
[oslo_policy]
policy_file = $directory/policy.yaml
enforce_new_defaults = false
enforce_scope = false
[oslo_concurrency]
lock_path = $directory/locks
""")
PASTE = """\
[composite:glance-api-test]
paste.composite_factory = glance.api:root_app_factory
/: api
[composite:api]
paste.composite_factory = glance.api:pipeline_factory
test = versionnegotiation basic unauthenticated-context rootapp
[composite:rootapp]
paste.composite_factory = glance.api:root_app_factory
/: apiversions
/v2: apiv2app
[app:apiversions]
paste.app_factory = glance.api.versions:create_resource
[app:apiv2app]
paste.app_factory = glance.api.v2.router:API.factory
[filter:versionnegotiation]
paste.filter_factory = glance.api.middleware.version_negotiation:VersionNegotiationFilter.factory
[filter:basic]
paste.filter_factory = oslo_middleware.basic_auth:BasicAuthMiddleware.factory
[filter:unauthenticated-context]
paste.filter_factory = glance.api.middleware.context:UnauthenticatedContextMiddleware.factory
"""
# nobody has a role without Keystone
POLICY = '"publicize_image": "@"\n"communitize_image": "@"\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """Know where a running Glance is and who may use it."""

    url: str
    directory: Path
    user: str = USER
    password: str = PASSWORD

    @property
    def log(self) -> str:
        return (self.directory / "api.log").read_text()

    def write_clouds(self, file: Path, *, cloud: str = "test", password: str | None = None) -> None:
        """Write a clouds.yaml that names this Glance."""
        entry = {
            "auth_type": "http_basic",
            "auth": {
                "endpoint": self.url,
                "username": self.user,
                "password": password or self.password,
            },
            "image_endpoint_override": self.url,
            "image_api_version": "2",
        }
        file.write_text(yaml.safe_dump({"clouds": {cloud: entry}}))


@contextmanager
def running(directory: Path, *, store: Path | None = None) -> Iterator[Glance]:
    """Run Glance with its data in an empty directory until the end of the block.

    :param store: where images go, for a test with a full one; None: into the directory.
    """
    port = free_port()
    glance = Glance(url=f"http://127.0.0.1:{port}", directory=directory)
    (directory / "glance-api.conf").write_text(
        CONFIGURATION.substitute(directory=directory, store=store or directory / "store")
    )
    (directory / "paste.ini").write_text(PASTE)
    (directory / "policy.yaml").write_text(POLICY)
    digest = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    (directory / "htpasswd").write_text(f"{USER}:{digest}\n")
    _create_database(directory)
    argv = [BIN / "gunicorn", "-k", "gthread", "-w", "1", "--threads", "4", "--timeout", "600"]
    with (directory / "out").open("w") as out:
        process = subprocess.Popen(
            [*argv, "-b", f"127.0.0.1:{port}", "glance.wsgi.api:application"],
            stdout=out,
            stderr=out,
            env={**os.environ, "OS_GLANCE_CONFIG_DIR": str(directory)},
        )
    try:
        _wait(glance, process)
        yield glance
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(glance: Glance, process: subprocess.Popen[bytes]) -> None:
    limit = time.monotonic() + START_LIMIT_S
    while True:
        try:
            urllib.request.urlopen(glance.url, timeout=5).close()  # noqa: S310 - loopback
            return
        except urllib.error.HTTPError as error:
            error.close()
            return
        except OSError:
            pass
        said = (glance.directory / "out").read_text()[-3000:]
        assert process.poll() is None and "Worker failed to boot" not in said, said
        assert time.monotonic() < limit, said
        time.sleep(0.1)


def _create_database(directory: Path) -> None:
    """Create the schema, once a test session: its migrations take some seconds."""
    template = directory.parent / "glance-schema.sqlite"
    database = directory / "glance.sqlite"
    if not template.exists():
        argv = [BIN / "glance-manage", "--config-file", directory / "glance-api.conf", "db_sync"]
        subprocess.run(argv, check=True, capture_output=True)
        shutil.copy(database, template)
    else:
        shutil.copy(template, database)
