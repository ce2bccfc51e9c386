"""Write a service as a plain systemd unit that runs ``podman run``: for podman before Quadlet.

It says what Quadlet of later versions makes of our .container files, so that a node behaves the
same before and after its podman was upgraded: conmon is the unit's main process and says when the
container runs, container and conmon lie in two cgroups below the unit's, and podman removes what a
crash left.
"""

from provision.services.model import Project, Service
from provision.services.unit import systemd_unit, unit_file
from provision.services.unit.container import Container
from provision.services.unit.systemd_unit import PODMAN
from provision.services.unit.unit_file import Section

RUN = ("--replace", "--rm", "--detach", "--cgroups=split", "--sdnotify=conmon")


def sections(
    project: Project, service: Service, container: Container, *, beside: frozenset[str]
) -> tuple[Section, ...]:
    """Write [Unit], [Service] and [Install]."""
    return (
        systemd_unit.unit_section(
            project, service, beside=beside, extra=(("RequiresMountsFor", "%t/containers"),)
        ),
        Section(
            name="Service",
            entries=(
                ("Type", "notify"),
                ("NotifyAccess", "all"),
                ("KillMode", "mixed"),
                ("Delegate", "yes"),
                ("SyslogIdentifier", "%N"),
                ("Environment", "PODMAN_SYSTEMD_UNIT=%n"),
                *systemd_unit.service_entries(project, service, wait=True),
                ("ExecStart", unit_file.command(run_words(container), wrap=True)),
                ("ExecStopPost", unit_file.command(remove_words(container.name))),
            ),
        ),
        systemd_unit.install_section(),
    )


def run_words(container: Container) -> tuple[str, ...]:
    """Write the words of ``podman run``."""
    return (
        PODMAN,
        "run",
        f"--name={container.name}",
        *RUN,
        *(option.word() for option in container.options),
        container.image,
        *container.command,
    )


def remove_words(name: str) -> tuple[str, ...]:
    """Write the words that remove what is left of a container; it is no error if nothing is."""
    return (f"-{PODMAN}", "rm", "--force", "--ignore", "--volumes", name)
