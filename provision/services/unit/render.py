"""Write a service's unit for a node, and read back what a unit says of itself.

The text is the whole truth of a service on a node: who wrote it, which image by which digest, which
configs and secrets by their content. Two texts that are equal need no restart.
"""

import functools
import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from atomic_baremetal.errors import Error
from provision.services.model import Project
from provision.services.unit import (
    config_directory,
    plain,
    podman,
    quadlet,
    systemd_unit,
    unit_file,
)
from provision.services.unit.container import container, secret_name
from provision.services.unit.differences import differences
from provision.services.unit.unit_file import UnitFileError

__all__ = ["Record", "RecordError", "Rendered", "differences", "record", "render", "secret_name"]

_BLANK = "0" * 64  # stands where the digest will, while it is computed


class RecordError(Error):
    """A unit that was not written by us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A unit, and what has to lie on the node beside it.

    :ivar digest: SHA-256, in hex, of the text with zeros where the digest stands.
    :ivar quadlet: it is a .container file; else a .service.
    :ivar configs: by their directory's digest, then name: contents and mode.
    :ivar secrets: contents by podman's name of them.
    """

    text: str
    digest: str
    quadlet: bool
    configs: Mapping[str, Mapping[str, tuple[bytes, int]]] = field(default_factory=dict)
    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a unit says of itself.

    :ivar image: as the services file had it; pinned: by digest.
    :ivar config: digest of its configs' directory; None without configs.
    :ivar intact: the digest fits the text: nobody edited it.
    """

    project: str
    service: str
    image: str
    pinned: str
    config: str | None
    digest: str
    intact: bool


def render(
    project: Project,
    service: str,
    *,
    pinned: str,
    beside: Collection[str],
    podman: tuple[int, int, int],
) -> Rendered:
    """Write a service's unit.

    :param pinned: the image by digest, REPOSITORY@sha256:HEX.
    :param beside: the services that are placed on the same node.
    :param podman: the node's version of it.
    :raises Error: podman is too old, or something cannot be carried; it names the service.
    """
    try:
        write = functools.partial(
            _text, project, service, pinned=pinned, beside=frozenset(beside), version=podman
        )
        digest = hashlib.sha256(write(digest=_BLANK).encode()).hexdigest()
        text = write(digest=digest)
    except UnitFileError as error:
        raise Error(f"service {service}: {error.message}", hint=error.hint) from error
    one = project.services[service]
    configs = config_directory.files(project, one)
    return Rendered(
        text=text,
        digest=digest,
        quadlet=_has_quadlet(podman),
        configs={config_directory.digest(configs): configs} if configs else {},
        secrets={
            secret_name(project, grant.name): project.secrets[grant.name] for grant in one.secrets
        },
    )


def record(text: str) -> Record:
    """Read what a unit says of itself.

    :raises RecordError: it has no record of ours, or a broken one.
    """
    try:
        found = [one for one in unit_file.parse(text) if one.name == systemd_unit.RECORD]
        entries = dict(found[0].entries) if len(found) == 1 else {}
        digest = entries["Digest"]
        (image,), (pinned,) = unit_file.split(entries["Image"]), unit_file.split(entries["Pinned"])
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise RecordError("a unit with a broken record of who wrote it")
        return Record(
            project=entries["Project"],
            service=entries["Service"],
            image=image,
            pinned=pinned,
            config=entries.get("Config"),
            digest=digest,
            intact=hashlib.sha256(text.replace(digest, _BLANK).encode()).hexdigest() == digest,
        )
    except (UnitFileError, KeyError, ValueError) as error:
        raise RecordError("a unit that was not written by provision services") from error


def _text(
    project: Project,
    service: str,
    *,
    pinned: str,
    beside: frozenset[str],
    version: podman.Version,
    digest: str,
) -> str:
    one = project.services[service]
    wanted = container(project, one, pinned=pinned, unit_digest=digest)
    if _has_quadlet(version):
        sections = quadlet.sections(project, one, wanted, beside=beside, version=version)
    else:
        sections = plain.sections(project, one, wanted, beside=beside)
    record_ = systemd_unit.record_section(project, one, pinned=pinned, digest=digest)
    return unit_file.serialize((record_, *sections))


_has_quadlet = podman.has_quadlet  # render()'s parameter has the module's name
