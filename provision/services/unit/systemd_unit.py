"""Write what both kinds of unit say to systemd: order, limits of time, restarts, our record.

A service comes back whatever made it end, for ever: at a reboot, after its death, after a failed
start. A dependency is waited for but never taken along: neither its failure nor its restart stops
what depends on it.
"""

import math

from provision.services.model import Healthcheck, Project, Service
from provision.services.unit import config_directory, unit_file
from provision.services.unit.container import stop_timeout_s
from provision.services.unit.unit_file import Section

PODMAN = "/usr/bin/podman"
RECORD = "X-Provision"

RESTART_S = 5
# What starting and stopping takes besides what the service itself is granted. An emulated node
# under load took a minute to start a container.
START_S = 180
STOP_S = 60

# Inside the start period a failed check is not counted, so it can be asked for at will; afterwards
# each one would bring "unhealthy" nearer, so only podman's own timer asks.
_WAIT = (
    "end=$(($(date +%s) + $2)); "
    "while :; do "
    "if [ $(date +%s) -lt $end ]; then podman healthcheck run $1 >/dev/null 2>&1; fi; "
    "case $(podman container inspect --format '{{.State.Status}}/{{.State.Health.Status}}' $1) in "
    "running/healthy) exit 0;; "
    "running/starting) sleep 1;; "
    "*) echo $1 did not become healthy >&2; exit 1;; "
    "esac; done"
)

# Where a container shares the host's processes, conmon becomes the parent of those it leaves behind
# (a hypervisor's guests), and waits for them too before it ends: systemd would take the service for
# running, and a stop would last until its limit. So conmon goes when the container has gone.
_WATCH = (
    "pid=$(podman container inspect --format '{{.State.Pid}}' $1) && [ $pid -gt 0 ] || exit 1; "
    "{ while kill -0 $pid; do sleep 1; done; sleep 5; kill -KILL $MAINPID; } "
    "</dev/null >/dev/null 2>&1 &"
)


def unit_section(
    project: Project,
    service: Service,
    *,
    beside: frozenset[str],
    extra: tuple[tuple[str, str], ...] = (),
) -> Section:
    """Write [Unit].

    :param beside: the services of the same node, on which systemd can wait.
    """
    units = ["network-online.target"]
    units += [
        f"{project.unit(dependency.service)}.service"
        for dependency in service.depends_on
        if dependency.service in beside and dependency.host is None
    ]
    return Section(
        name="Unit",
        entries=(
            ("Description", f"{service.name} of {project.name}"),
            *(("Wants", unit) for unit in units),
            *(("After", unit) for unit in units),
            *extra,
            ("StartLimitIntervalSec", "0"),
        ),
    )


def service_entries(
    project: Project, service: Service, *, wait: bool
) -> tuple[tuple[str, str], ...]:
    """Write the part of [Service] that is ours to say whoever runs podman.

    :param wait: nobody else waits for the service to become healthy.
    """
    name = project.unit(service.name)
    stop = (PODMAN, "stop", "--ignore", f"--time={stop_timeout_s(service)}", name)
    entries = [("Restart", "always"), ("RestartSec", str(RESTART_S))]
    entries.append(("TimeoutStartSec", str(start_timeout_s(service))))
    entries.append(("TimeoutStopSec", str(stop_timeout_s(service) + STOP_S)))
    if wait and service.healthcheck:
        start_s = str(math.ceil(service.healthcheck.start_period_s))
        waiting = ("/bin/sh", "-c", _WAIT, "wait", name, start_s)
        entries.append(("ExecStartPost", unit_file.command(waiting)))
    if service.pid == "host":
        watching = ("/bin/sh", "-c", _WATCH, "watch", name)
        entries.append(("ExecStartPost", unit_file.command(watching)))
        entries += [("KillSignal", "SIGKILL"), ("SuccessExitStatus", "SIGKILL")]
    entries.append(("ExecStop", unit_file.command(stop)))
    return tuple(entries)


def install_section() -> Section:
    """Write [Install]."""
    return Section(name="Install", entries=(("WantedBy", "multi-user.target"),))


def record_section(project: Project, service: Service, *, pinned: str, digest: str) -> Section:
    """Write our own section, which neither systemd nor Quadlet reads."""
    configs = config_directory.files(project, service)
    entries = [
        ("Project", project.name),
        ("Service", service.name),
        ("Image", unit_file.quote(service.image)),
        ("Pinned", unit_file.quote(pinned)),
    ]
    if configs:
        entries.append(("Config", config_directory.digest(configs)))
    for name, file in configs.items():
        entries.append(("ConfigFile", f"{name} {config_directory.digest({name: file})}"))
    entries.append(("Digest", digest))
    return Section(name=RECORD, entries=tuple(entries))


def start_timeout_s(service: Service) -> int:
    """Return for how long a start may last: podman's own verdict has to come before it ends."""
    return START_S + math.ceil(_verdict_s(service.healthcheck) if service.healthcheck else 0)


def _verdict_s(check: Healthcheck) -> float:
    """Return after how many seconds a health check has called a container healthy or not."""
    return check.start_period_s + (check.retries + 1) * (check.interval_s + check.timeout_s)
