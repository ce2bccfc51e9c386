"""Turn a service into what ``podman run`` is asked for: options, an image, a command.

This is the one model behind both ways to write a unit. What podman would read as something else
than what the services file says (a comma in a list, a colon in a path) is written another way, or
refused.
"""

import functools
import hashlib
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from atomic_baremetal.errors import Error
from provision.services.model import Grant, Healthcheck, Mount, MountKind, Port, Project, Service
from provision.services.unit import config_directory
from provision.services.unit.podman import Option

LABEL = "io.atomic-baremetal."
UNIT_LABEL = f"{LABEL}unit"  # whose value is the digest of the unit that started the container

_SIMPLE_PATH = re.compile(r"[A-Za-z0-9_./@+-]+")
# of a health check's first word podman reads these as its own, in any case of letters
_HEALTH_WORDS = ("CMD", "CMD-SHELL", "NONE")


class CarryError(Error):
    """Something in a services file that podman has no way to be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """What a service's container is run with.

    :ivar options: in the order they are written.
    :ivar command: words behind the image; empty: the image's own.
    """

    name: str
    options: tuple[Option, ...]
    image: str
    command: tuple[str, ...] = ()


def container(project: Project, service: Service, *, pinned: str, unit_digest: str) -> Container:
    """Say what a service's container is run with.

    :param pinned: the image by digest.
    :param unit_digest: of the unit that it will be in.
    :raises CarryError: something that podman cannot be told.
    """
    options = (
        *_identity(project, service, unit_digest),
        *_process(service),
        *_environment(service),
        *_isolation(service),
        *_network(service),
        *(_mount(project, service, mount) for mount in service.mounts),
        *_configs(project, service),
        *(_secret(project, service, grant) for grant in service.secrets),
        *_limits(service),
        *(_health(service, service.healthcheck) if service.healthcheck else ()),
        *([Option(flag="--no-healthcheck")] if service.no_healthcheck else ()),
    )
    return Container(
        name=project.unit(service.name),
        options=options,
        image=pinned,
        command=service.command or (),
    )


def secret_name(project: Project, secret: str) -> str:
    """Name a secret in podman: another content is another name.

    The fingerprint is slow to compute on purpose: who reads it cannot try many contents.
    """
    return _secret_name(project.name, secret, project.secrets[secret])


def seconds(value_s: float) -> str:
    """Write a duration as podman reads it (Go's time.ParseDuration)."""
    whole = round(value_s * 1000)
    return f"{whole // 1000}s" if whole % 1000 == 0 else f"{whole}ms"


def stop_timeout_s(service: Service) -> int:
    """Return for how long podman lets a container end by itself: whole seconds, rounded up."""
    return math.ceil(service.stop_grace_period_s)


@functools.lru_cache(maxsize=256)
def _secret_name(project: str, secret: str, content: bytes) -> str:
    fingerprint = hashlib.scrypt(
        content, salt=f"{project}/{secret}".encode(), n=2**14, r=8, p=1, dklen=8
    )
    return f"{project}-{secret}-{fingerprint.hex()}"


def _identity(project: Project, service: Service, unit_digest: str) -> Iterator[Option]:
    yield Option(flag="--pull", value="never")
    yield Option(flag="--log-driver", value="journald")
    yield Option(flag="--label", value=f"{LABEL}project={project.name}")
    yield Option(flag="--label", value=f"{LABEL}service={service.name}")
    yield Option(flag="--label", value=f"{UNIT_LABEL}={unit_digest}")
    for name, value in service.labels:
        if not name or "=" in name:
            raise CarryError(f"service {service.name}: {name!r} is no name of a label")
        yield Option(flag="--label", value=f"{name}={value}")


def _process(service: Service) -> Iterator[Option]:
    if service.entrypoint is not None:
        yield Option(flag="--entrypoint", value=_json(service.entrypoint))
    if service.user is not None:
        yield Option(flag="--user", value=service.user)
    if service.working_dir is not None:
        yield Option(flag="--workdir", value=service.working_dir)
    if service.stop_signal is not None:
        yield Option(flag="--stop-signal", value=service.stop_signal)
    yield Option(flag="--stop-timeout", value=str(stop_timeout_s(service)))


def _environment(service: Service) -> Iterator[Option]:
    for name, value in service.environment:
        if not name or "=" in name or any(character.isspace() for character in name):
            raise CarryError(
                f"service {service.name}: {name!r} is no name of an environment variable"
            )
        if "\r\n" in value:
            # it reads its own list of variables through CSV, and that loses the carriage return
            raise CarryError(
                f"service {service.name}: podman cannot be told a value with a carriage return"
                f" before a line feed, as {name} has in the environment",
                hint="put it into a config",
            )
        yield Option(flag="--env", value=f"{name}={value}")


def _isolation(service: Service) -> Iterator[Option]:
    if service.privileged:
        yield Option(flag="--privileged")
    for flag, value in (
        ("--pid", service.pid),
        ("--ipc", service.ipc),
        ("--cgroupns", service.cgroup),
    ):
        if value is not None:
            yield Option(flag=flag, value=value)
    yield from (Option(flag="--cap-add", value=one) for one in service.cap_add)
    yield from (Option(flag="--cap-drop", value=one) for one in service.cap_drop)
    yield from (Option(flag="--device", value=_csv(one)) for one in service.devices)
    if service.read_only:
        # as Compose means it: podman's own default puts writable /tmp, /var/tmp and /run in
        yield Option(flag="--read-only")
        yield Option(flag="--read-only-tmpfs", value="false")


def _network(service: Service) -> Iterator[Option]:
    yield Option(flag="--network", value=service.network_mode.value)
    if service.hostname is not None:
        yield Option(flag="--hostname", value=service.hostname)
    yield from (Option(flag="--publish", value=_port(port)) for port in service.ports)


def _limits(service: Service) -> Iterator[Option]:
    if service.mem_limit_bytes is not None:
        yield Option(flag="--memory", value=f"{service.mem_limit_bytes}b")
    if service.shm_size_bytes is not None:
        yield Option(flag="--shm-size", value=f"{service.shm_size_bytes}b")
    if service.pids_limit is not None:
        yield Option(flag="--pids-limit", value=str(service.pids_limit))


def _health(service: Service, check: Healthcheck) -> Iterator[Option]:
    yield Option(flag="--health-cmd", value=_health_command(service, check))
    yield Option(flag="--health-interval", value=seconds(check.interval_s))
    yield Option(flag="--health-timeout", value=seconds(check.timeout_s))
    yield Option(flag="--health-retries", value=str(check.retries))
    yield Option(flag="--health-start-period", value=seconds(check.start_period_s))
    # systemd then starts it anew: podman's own restart would go past the unit
    yield Option(flag="--health-on-failure", value="kill")


def _health_command(service: Service, check: Healthcheck) -> str:
    """Write a health check's words so that podman hands just them to the container.

    A JSON list of one word would go through a shell; "CMD WORD" does not, but is split at blanks.
    """
    first = check.test[0] if check.test else ""
    if not first or first.upper() in _HEALTH_WORDS:
        raise CarryError(
            f"service {service.name}: podman reads a health check that begins with {first!r}"
            " as something else",
            hint="write the program's whole path",
        )
    if len(check.test) > 1:
        return _json(check.test)
    if first.split() != [first]:
        raise CarryError(
            f"service {service.name}: podman cannot be told a health check of a single word with"
            " blanks in it",
            hint='use ["CMD", "/bin/sh", "-c", "..."], or a path without blanks',
        )
    return f"CMD {first}"


def _mount(project: Project, service: Service, mount: Mount) -> Option:
    options = ["ro"] if mount.read_only else []
    if mount.kind is MountKind.TMPFS:
        if _SIMPLE_PATH.fullmatch(mount.target):
            return Option(flag="--tmpfs", value=":".join([mount.target, *options]))
        return _long_mount(service, "tmpfs", None, mount.target, options)
    source = mount.source
    if mount.kind is MountKind.VOLUME:
        source = f"{project.name}_{mount.source}"
    if _SIMPLE_PATH.fullmatch(source) and _SIMPLE_PATH.fullmatch(mount.target):
        short = [mount.propagation] if mount.propagation else []
        return _short_mount(source, mount.target, [*options, *short])
    long = [f"bind-propagation={mount.propagation}"] if mount.propagation else []
    return _long_mount(service, mount.kind.value, source, mount.target, [*options, *long])


def _short_mount(source: str, target: str, options: list[str]) -> Option:
    parts = [source, target, *([",".join(options)] if options else [])]
    return Option(flag="--volume", value=":".join(parts))


def _long_mount(
    service: Service, kind: str, source: str | None, target: str, options: list[str]
) -> Option:
    """Write a mount as a line of CSV, which carries what podman's short way splits at."""
    for path in (source or "", target):
        if "\r\n" in path:
            raise CarryError(
                f"service {service.name}: podman cannot be told a path with a carriage return"
                " before a line feed"
            )
    fields = [f"type={kind}"]
    if source is not None:
        fields.append(f"source={source}")
    fields += [f"destination={target}", *options]
    return Option(flag="--mount", value=",".join(map(_csv, fields)))


def _configs(project: Project, service: Service) -> Iterator[Option]:
    if not service.configs:
        return
    digest = config_directory.digest(config_directory.files(project, service))
    for grant in service.configs:
        source = config_directory.path(project.name, service.name, digest, grant.name)
        # z: where SELinux is enforced, a container may read only what is labelled for containers
        if _SIMPLE_PATH.fullmatch(grant.target):
            yield _short_mount(source, grant.target, ["ro", "z"])
        else:
            yield _long_mount(service, "bind", source, grant.target, ["ro", "relabel=shared"])


def _secret(project: Project, service: Service, grant: Grant) -> Option:
    if "," in grant.target:
        raise CarryError(
            f"service {service.name}: podman cannot be told a secret's path with a comma in it",
            hint="give the secret another target",
        )
    value = ",".join(
        (
            secret_name(project, grant.name),
            "type=mount",
            f"target={grant.target}",
            f"uid={grant.uid}",
            f"gid={grant.gid}",
            f"mode={grant.mode:04o}",
        )
    )
    return Option(flag="--secret", value=value)


def _port(port: Port) -> str:
    address = port.address or ""
    if ":" in address:
        address = f"[{address.strip('[]')}]"
    there = f"{port.published}:{port.target}/{port.protocol}"
    return f"{address}:{there}" if address else there


def _csv(field: str) -> str:
    """Write a field of comma-separated values, as Go's encoding/csv reads it."""
    if not re.search(r'[,"\n\r]|^\s', field):
        return field
    return '"' + field.replace('"', '""') + '"'


def _json(words: tuple[str, ...]) -> str:
    return json.dumps(list(words), ensure_ascii=False)
