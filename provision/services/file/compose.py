"""Load a file of services: the strict subset of Compose that docs/services.rst describes.

What is not understood is refused, never ignored; all that is wrong is said at once, by line.
"""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from provision.services import order
from provision.services.file import definitions, unhandled, values, yaml_file
from provision.services.file.attachments import Awaited, Scope
from provision.services.file.fields import Field
from provision.services.file.problems import FileError, Problem, Problems
from provision.services.file.service_keys import X_PROVISION, service
from provision.services.model import Condition, Project, Registry, Service

__all__ = ["FileError", "load"]

LOG = logging.getLogger(__name__)
T = TypeVar("T")
TOP = ("name", "version", "services", "volumes", "configs", "secrets", X_PROVISION)


def load(path: Path, *, environ: Mapping[str, str] = os.environ) -> Project:
    """Read a file of services, and the files of configs and secrets that it names.

    :param environ: where `environment:` of a secret is looked up.
    :raises FileError: names the file, each line that is wrong, and what is wrong there.
    """
    try:
        data = definitions.read_file(path, most=yaml_file.LARGEST_BYTES)
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from error
    problems = Problems(path)
    project = None
    with problems.gathered():
        top = Field(node=yaml_file.parse(data, problems), where="", problems=problems)
        project = _project(path, top, environ)
    problems.check()
    assert project is not None  # noqa: S101 - else there was a problem
    return project


def _project(path: Path, top: Field, environ: Mapping[str, str]) -> Project:
    if not top.is_mapping():
        top.fail("the file is not a mapping", hint="services: NAME: image: ...")
    keys = top.keys(TOP, unhandled=unhandled.TOP)
    if "services" not in keys:
        top.fail("the file has no services", hint="services: NAME: image: ...")
    if "version" in keys:
        LOG.warning("%s:%d: 'version' is obsolete and ignored", path, keys["version"].line)
    directory = path.parent
    name = ""
    with top.problems.gathered():
        name = _name(keys, path)
    volumes = _definitions(keys, "volumes", "volume", definitions.volume)
    return Project(
        name=name,
        services=_services(keys),
        volumes=tuple(sorted(volumes)),
        configs=_definitions(
            keys, "configs", "config", lambda field: definitions.config(field, directory)
        ),
        secrets=_definitions(
            keys, "secrets", "secret", lambda field: definitions.secret(field, directory, environ)
        ),
        registries=_registries(keys, directory),
    )


def _name(keys: Mapping[str, Field], path: Path) -> str:
    if "name" in keys:
        return keys["name"].read(values.name)
    try:
        return values.name(path.stem)
    except values.Wrong as wrong:
        raise Problem(
            1,
            f"a project is named as its file, and {wrong.what}",
            hint=f"name: at the top names it otherwise: {wrong.hint}",
        ) from wrong


def _definitions(
    keys: Mapping[str, Field], key: str, kind: str, read: Callable[[Field], T]
) -> dict[str, T]:
    """Read a mapping of the top: each value by its name."""
    found: dict[str, T] = {}
    if key not in keys:
        return found
    problems = keys[key].problems
    with problems.gathered():
        for name, key_field, field in keys[key].entries(kind=kind):
            with problems.gathered():
                key_field.judged(lambda name=name: values.name(name))  # type: ignore[misc]
                found[name] = read(field)
    return found


def _services(keys: Mapping[str, Field]) -> dict[str, Service]:
    """Read the services, in the file's order, and check what they ask of each other."""
    field = keys["services"]
    found: dict[str, Service] = {}
    awaited: list[Awaited] = []
    with field.problems.gathered():
        entries = field.entries(kind="service")
        if not entries:
            field.fail("there is no service")
        scope = Scope(
            service="",
            services={one for one, _, _ in entries},
            volumes=_names(keys, "volumes"),
            configs=_names(keys, "configs"),
            secrets=_names(keys, "secrets"),
            awaited=awaited,
        )
        for name, key_field, value in entries:
            with field.problems.gathered():
                key_field.judged(lambda name=name: values.name(name))  # type: ignore[misc]
                found[name] = service(value, replace(scope, service=name))
    _check_health(awaited, found)
    _check_circle(awaited)
    return found


def _names(keys: Mapping[str, Field], key: str) -> set[str]:
    """Name what the file defines, right or wrong."""
    if key not in keys or not keys[key].is_mapping():
        return set()
    return {name for name, _, _ in keys[key].entries()}


def _check_health(awaited: Sequence[Awaited], services: Mapping[str, Service]) -> None:
    for one in awaited:
        dependency = services.get(one.dependency.service)
        if one.dependency.condition != Condition.HEALTHY or dependency is None:
            continue
        if dependency.healthcheck is None:
            with one.field.problems.gathered():
                one.field.fail(
                    f"service {dependency.name!r} has no healthcheck, so it is never healthy",
                    hint="give it one, or wait for condition: service_started",
                )


def _check_circle(awaited: Sequence[Awaited]) -> None:
    """Note services that wait for each other for ever, on whatever hosts they are."""
    depends: dict[str, list[str]] = {}
    for one in awaited:
        depends.setdefault(one.service, []).append(one.dependency.service)
    circle = order.circle(depends)
    if not circle:
        return
    at = next(
        one for one in awaited if (one.service, one.dependency.service) == (circle[0], circle[1])
    )
    with at.field.problems.gathered():
        at.field.fail(f"the services wait for each other in a circle: {' -> '.join(circle)}")


def _registries(keys: Mapping[str, Field], directory: Path) -> dict[str, Registry]:
    if X_PROVISION not in keys:
        return {}
    with keys[X_PROVISION].problems.gathered():
        ours = keys[X_PROVISION].keys(("registries",))
        if "registries" in ours:
            return definitions.registries(ours["registries"], directory)
    return {}
