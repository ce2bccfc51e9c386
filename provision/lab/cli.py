"""`provision lab`: the embedded lab's commands."""

import sys
from pathlib import Path

import click

from atomic_baremetal.cli import format_option
from atomic_baremetal.output import console, emit, rows
from provision.lab.model import MOST_NODES, LabError
from provision.lab.status import Status


@click.group()
def lab() -> None:
    """Run Ironic, Glance and virtual machines on this computer.

    The lab lives in a network namespace of its own and needs root. ATOMIC_LAB names another than
    `default`. While it is up, and no cloud is named, it is the cloud of all commands.
    """


@lab.command()
@click.option(
    "--nodes",
    type=click.IntRange(1, MOST_NODES),
    help="How many nodes; a new lab has 2. Odd ones: ssh, BIOS. Even ones: Redfish, UEFI.",
)
@click.option(
    "--ramdisk",
    envvar="ATOMIC_RAMDISK_DIR",
    show_envvar=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The directory of your own deploy ramdisk (docs/lab.rst). Without it ours is built.",
)
def up(nodes: int | None, ramdisk: Path | None) -> None:
    """Start the lab, or what is missing of it."""
    from provision.lab import up as story

    story.up(nodes, ramdisk=ramdisk)


@lab.command()
@format_option
def status(format_: str) -> None:
    """Show services and nodes; exit status 1 unless every service is up."""
    from provision.lab import record
    from provision.lab.status import status as look

    name = record.name()
    found = look(name, record.load(name))
    if format_ == "table":
        _draw(found)
    else:
        emit(found.as_data(), format_=format_)
    sys.exit(0 if found.up else 1)


@lab.command()
def env() -> None:
    """Print a clouds.yaml for other clients.

    `provision lab env > clouds.yaml; export OS_CLOUD=lab-default`
    """
    from provision.lab import record

    name = record.name()
    there = record.load(name)
    if there is None or not there.clouds_file.exists():
        raise LabError(f"the lab {name!r} is not up", hint="start it: provision lab up")
    click.echo(there.clouds_file.read_text(), nl=False)


@lab.command()
@click.option("--keep-logs", is_flag=True, help="Keep the logs beside the lab's directory.")
def down(keep_logs: bool) -> None:
    """End the lab.

    No process, namespace, machine, mount or file of it is left; what is, is named.
    """
    from provision.lab import down as story

    story.down(keep_logs=keep_logs)


@lab.command("push-images")
@format_option
def push_images(format_: str) -> None:
    """Put the example services' images into the lab's registry; build them if need be.

    What is there already is not sent again.
    """
    from provision.lab.push import push_images as push

    pushed = push()
    data = [{"image": one.image, "digest": one.digest} for one in pushed]
    table = rows(("image", "digest"), [(one.image, one.digest) for one in pushed])
    emit(data, format_=format_, table=table)


@lab.command()
@click.argument("service")
def restart(service: str) -> None:
    """Start one service anew.

    The machines keep running. `provision lab status` lists the services.
    """
    from provision.lab import up as story

    story.restart(service)


def _draw(found: Status) -> None:
    out = console(stderr=False)
    if not found.services:
        out.print(f"There is no lab {found.lab!r}. Start it: provision lab up", markup=False)
        return
    out.print(f"lab {found.lab}, cloud {found.cloud}, in {found.directory} (log/: logs, consoles)")
    out.print()
    out.print(
        rows(
            ("service", "state", "pid", "address", "problem"),
            [
                (one.name, "up" if one.up else "down", one.pid, one.address, one.problem)
                for one in found.services
            ],
        )
    )
    out.print()
    out.print(
        rows(
            ("node", "driver", "boot mode", "provision state", "power", "address"),
            [
                (
                    one.name,
                    one.driver,
                    one.boot_mode,
                    one.provision_state,
                    one.power_state,
                    one.address,
                )
                for one in found.nodes
            ],
        )
    )
