"""Name a service's configs by what they are, so that a change of one is another directory.

On the node the directory is ``host.STATE/PROJECT/SERVICE/config/DIGEST``, with a file for each
config, named like it. The digest is in the unit: a service runs with the configs it was started
with, or not at all.
"""

import hashlib
from collections.abc import Mapping

from atomic_baremetal.errors import Error
from provision.services import host
from provision.services.model import Project, Service

Files = Mapping[str, tuple[bytes, int]]


def files(project: Project, service: Service) -> Files:
    """Collect a service's configs: contents and mode by name, sorted.

    :raises Error: one config is wanted with two modes, but lies on the node once.
    """
    found: dict[str, tuple[bytes, int]] = {}
    for grant in sorted(service.configs, key=lambda one: one.name):
        file = (project.configs[grant.name], grant.mode)
        if found.setdefault(grant.name, file) != file:
            raise Error(
                f"service {service.name} wants config {grant.name} with two modes",
                hint="make it two configs",
            )
    return found


def digest(content: Files) -> str:
    """Compute the SHA-256, in hex, over names, contents and modes, whatever their order."""
    whole = hashlib.sha256()
    for name, (data, mode) in sorted(content.items()):
        # lengths before what is free in length: no two lists of files have the same bytes here
        whole.update(f"{len(name)}:{name} {mode:04o} {len(data)}:".encode())
        whole.update(data)
    return whole.hexdigest()


def path(project: str, service: str, digest_: str, name: str) -> str:
    """Say where a config lies on the node."""
    return f"{host.STATE}/{project}/{service}/config/{digest_}/{name}"
