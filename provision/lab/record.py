"""Remember a lab between commands: one file, 0600, as it holds the lab's passwords."""

import fcntl
import json
import secrets
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from atomic_baremetal import cloud, paths
from atomic_baremetal.durable import write
from provision.lab.model import Lab, LabError, check_name

REMEMBERED = ("id", "subnet", "nodes", "password", "redfish_password")


def labs_directory() -> Path:
    """Name the directory that holds every lab of this user."""
    return paths.state() / "labs"


def name() -> str:
    """Return the name of the lab that this command is about.

    :raises LabError: ATOMIC_LAB holds no fit name.
    """
    return check_name(cloud.lab_name())


def load(lab_name: str) -> Lab | None:
    """Read a lab back; None when there is none of that name.

    :raises LabError: its record cannot be read.
    """
    directory = labs_directory() / lab_name
    try:
        data = json.loads((directory / "lab.json").read_text())
        return Lab(name=lab_name, directory=directory, **{key: data[key] for key in REMEMBERED})
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise LabError(
            f"{directory / 'lab.json'} is damaged: {error!r}",
            hint="end what runs of it by hand (docs/lab.rst), then remove its directory",
        ) from error


def load_all() -> list[Lab]:
    """Read every lab of this user."""
    return [lab for path in labs_directory().glob("*/lab.json") if (lab := load(path.parent.name))]


def new(lab_name: str, *, subnet: int, nodes: int) -> Lab:
    """Make up a lab: its id and passwords are random. Nothing is written."""
    return Lab(
        name=lab_name,
        id=str(uuid.uuid4()),
        subnet=subnet,
        nodes=nodes,
        password=secrets.token_hex(16),
        redfish_password=secrets.token_hex(16),
        directory=labs_directory() / lab_name,
    )


def save(lab: Lab, *, nodes: int | None = None) -> Lab:
    """Write the lab's record, with another number of nodes if given; return the lab."""
    lab = lab if nodes is None else replace(lab, nodes=nodes)
    lab.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    data = {key: getattr(lab, key) for key in REMEMBERED}
    write(lab.record, json.dumps(data, indent=2) + "\n")
    return lab


@contextmanager
def locked(lab_name: str) -> Iterator[None]:
    """Keep other commands from changing the lab meanwhile.

    :raises LabError: another command is at it.
    """
    labs_directory().mkdir(parents=True, exist_ok=True, mode=0o700)
    with (labs_directory() / f".{lab_name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LabError(
                f"another command is working on the lab {lab_name!r}", hint="wait until it is done"
            ) from error
        yield
