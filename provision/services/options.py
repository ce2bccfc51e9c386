"""Give the commands of services the same options: which hosts, how they are reached, how long."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
DEFAULT_WAIT_S = 900


def file_argument(*, required: bool = True) -> Callable[[F], F]:
    """Add the argument FILE; the command gets `file`."""
    return click.argument("file", type=click.Path(path_type=Path), required=required)


def speak_up(_: click.Context, __: click.Parameter, verbose: bool) -> None:
    """Let -v be said at the end of the line, too, where one adds it to a line from before."""
    if verbose:
        logging.getLogger("provision").setLevel(logging.DEBUG)


HOST_OPTIONS = (  # the last one is shown first
    click.option(
        "-v",
        "--verbose",
        is_flag=True,
        expose_value=False,
        callback=speak_up,
        help="Say also how: as before `services`.",
    ),
    click.option(
        "--parallel",
        type=click.IntRange(1),
        default=10,
        show_default=True,
        metavar="N",
        help="How many nodes are asked at once.",
    ),
    click.option(
        "--registry-ca",
        multiple=True,
        metavar="HOST:PORT=FILE",
        help="Certificates (PEM) to trust for a registry, beside the file's.",
    ),
    click.option(
        "-i",
        "--identity",
        type=click.Path(path_type=Path),
        metavar="KEY",
        help="Private key to log in with. [default: as ssh]",
    ),
    click.option(
        "--ssh-user", default="root", show_default=True, metavar="USER", help="Log in as."
    ),
    click.option(
        "--hosts",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="The hosts there are. [default: the cloud's deployed nodes]",
    ),
    click.option(
        "--on",
        multiple=True,
        metavar="PATTERN",
        help="Only hosts named so; !PATTERN leaves out. [default: all]",
    ),
)


def on_hosts(command: F) -> F:
    """Add the options that choose and reach hosts; the command gets `reach`, a mapping."""
    names = ("on", "hosts", "ssh_user", "identity", "registry_ca", "parallel")

    def collected(**given: Any) -> Any:
        reach = {name: given.pop(name) for name in names}
        return command(reach=reach, **given)

    collected.__doc__ = command.__doc__
    collected.__name__ = command.__name__
    collected.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    found: Any = collected
    for option in HOST_OPTIONS:
        found = option(found)
    return found  # type: ignore[no-any-return]


def waiting(command: F) -> F:
    """Add --wait; the command gets `wait`."""
    return click.option(
        "--wait",
        type=click.FloatRange(min=0, min_open=True),
        default=DEFAULT_WAIT_S,
        show_default=True,
        metavar="SECONDS",
        help="The limit of each service: half to come up, half to be put back.",
    )(command)


def at_a_time(command: F) -> F:
    """Add --serial; the command gets `serial`."""
    return click.option(
        "--serial",
        type=click.IntRange(1),
        metavar="N",
        help="Change so many nodes at a time. [default: 1 where something that runs is touched]",
    )(command)
