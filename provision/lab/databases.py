"""Make the databases of Ironic and Glance."""

from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

from atomic_baremetal.command import run
from atomic_baremetal.durable import write
from provision.lab.model import Lab, LabError
from provision.lab.services import program

LIMIT_S = 180


def ensure(lab: Lab) -> None:
    """Make both databases side by side, unless they are there.

    :raises CommandError: a database could not be made.
    :raises LabError: one is there, made by another version of its service.
    """
    ironic = (program("ironic-dbsync"), "--config-file", lab.configuration / "ironic.conf")
    glance_conf = lab.configuration / "glance" / "glance-api.conf"
    glance = (program("glance-manage"), "--config-file", glance_conf, "db_sync")
    databases = (
        lab.directory / "ironic" / "ironic.sqlite",
        lab.directory / "glance" / "glance.sqlite",
    )
    with ThreadPoolExecutor() as pool:
        both = [
            pool.submit(_ensure, databases[0], "ironic", (*ironic, "create_schema")),
            pool.submit(_ensure, databases[1], "glance", glance),
        ]
    for each in both:
        each.result()


def _ensure(database: Path, service: str, command: tuple[str | Path, ...]) -> None:
    """Run the service's own command, and remember which version did it.

    One that was cut short starts again from nothing. Migrations do not work on sqlite (seen:
    Ironic's), and a lab holds nothing that is worth one.
    """
    mark = database.with_suffix(".version")
    now = version(service)
    if mark.exists() and database.exists():
        if (made_by := mark.read_text()) != now:
            raise LabError(
                f"{database} was made by {service} {made_by}, and {now} is installed",
                hint="take the lab down and start it anew: provision lab down, provision lab up",
            )
        return
    database.unlink(missing_ok=True)
    run(*command, timeout_s=LIMIT_S)
    write(mark, now)
