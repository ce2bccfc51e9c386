"""Be the `provision` command: read what is asked, call one story, print what came of it."""

import importlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from atomic_baremetal import cli as manners
from atomic_baremetal import cloud, output, paths
from atomic_baremetal.errors import CloudError, Error

LOG = logging.getLogger(__name__)
F = TypeVar("F", bound=Callable[..., Any])
LATER = {  # names that stay, for what is not built yet
    "direct": "today's whole-disk deploy",
    "ramdisk": "booting without a disk",
    "bootc": "bootable containers",
}
DEFAULT_WAIT_S = 1800


class Commands(click.Group):
    """Find groups of commands when they are asked for: other commands need not load them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List ours, the lab's and the services'."""
        return sorted([*super().list_commands(ctx), "lab", "services"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find a command; None: there is no such command."""
        if cmd_name == "lab":
            lab: click.Command = importlib.import_module("provision.lab.cli").lab
            return lab
        if cmd_name == "services":
            services = importlib.import_module("provision.services.cli")
            group: click.Command = services.mounted(lambda: deployed_hosts(ctx.obj))
            return group
        return super().get_command(ctx, cmd_name)


def deployed_hosts(os_cloud: str | None) -> Any:
    """Ask the cloud for the hosts that services can run on."""
    from provision import deployed
    from provision.baremetal import IronicBareMetal
    from provision.known_hosts import KnownHosts

    found = deployed.hosts(
        IronicBareMetal(cloud.connect(os_cloud)), KnownHosts(paths.state() / "known_hosts")
    )
    for name, why in found.passed_over.items():
        LOG.info("%s is passed over: %s", name, why)
    return replace(found, registries=deployed.lab_registries(os_cloud))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@manners.common
@click.pass_context
def provision(
    ctx: click.Context, os_cloud: str | None, quiet: bool, verbose: bool, debug: bool
) -> None:
    """Put an image on bare metal nodes, and services on them."""
    manners.set_up_logging(quiet=quiet, verbose=verbose, debug=debug)
    ctx.obj = os_cloud


def waiting(default_s: int) -> Callable[[F], F]:
    """Add --wait SECONDS; the command gets `wait`."""
    return click.option(
        "--wait",
        type=click.FloatRange(min=0, min_open=True),
        default=default_s,
        show_default=True,
        metavar="SECONDS",
        help="How long to wait at most.",
    )


@provision.command()
@click.argument("inventory", type=click.Path(path_type=Path))
@waiting(900)
@manners.format_option
@click.pass_obj
def enroll(os_cloud: str | None, inventory: Path, wait: float, format_: str) -> None:
    """Create or update the nodes of the file INVENTORY in Ironic, and make them available."""
    from provision import enroll as story
    from provision import present
    from provision.clock import SystemClock
    from provision.inventory import read
    from provision.registry import IronicRegistry

    machines = read(inventory)
    registry = IronicRegistry(cloud.connect(os_cloud))
    done = story.enroll(machines, registry, SystemClock(), limit_s=wait)
    present.emit([present.enrolment(one) for one in done], format_)
    fail({one.machine.name: one.error for one in done if one.error is not None}, of=len(done))


@provision.command()
@click.option("--flavor", required=True, metavar="F", help="Ironic's resource class to take from.")
@click.option("--image", required=True, metavar="NAME", help="The image in Glance: name or id.")
@click.option("--count", type=click.IntRange(1), default=1, show_default=True, metavar="N")
@click.option(
    "--name",
    "pattern",
    metavar="PATTERN",
    help="Host name; {n} counts from 1. [default: IMAGE-{n}]",
)
@click.option(
    "--ssh-key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Public key that may log in. [default: the first of ~/.ssh/id_{ed25519,ecdsa,rsa}.pub]",
)
@click.option(
    "--user-data",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="For cloud-init, beside ours: cloud-config or a script.",
)
@click.option("--kernel-append", multiple=True, metavar="ARG", help="One more kernel argument.")
@click.option(
    "--root-gb", type=click.IntRange(1), metavar="GIB", help="Size of the root partition."
)
@click.option(
    "--deploy",
    type=click.Choice(["iscsi", *LATER]),
    default="iscsi",
    show_default=True,
    help="How the image gets on the node; see docs.",
)
@click.option(
    "--via",
    type=click.Choice(["ironic", "nova"]),
    default="ironic",
    show_default=True,
    help="Whom to ask for nodes.",
)
@click.option("--candidate", multiple=True, metavar="NODE", help="Take only such nodes.")
@click.option(
    "--services",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Services to run on the nodes (docs/services.rst).",
)
@click.option(
    "--wait",
    type=click.FloatRange(min=0, min_open=True),
    default=DEFAULT_WAIT_S,
    show_default=True,
    metavar="SECONDS",
    help="Until the last node answers ssh, and has its services.",
)
@click.option("--no-wait", is_flag=True, help="Leave when Ironic has accepted the deploys.")
@click.option("--keep-on-failure", is_flag=True, help="Leave failed nodes as they are.")
@click.option("--dry-run", is_flag=True, help="Name the nodes and the arguments; change nothing.")
@manners.format_option
@click.pass_obj
def nodes(os_cloud: str | None, /, *, format_: str, **asked: Any) -> None:
    """Take nodes, put an image on each, wait until each answers ssh with the key made for it."""
    from provision import lease, present
    from provision.baremetal import IronicBareMetal
    from provision.events import Phase

    refuse_what_comes_later(deploy=asked["deploy"], via=asked["via"])
    if asked["services"] is not None and asked["no_wait"]:
        raise click.UsageError("--services needs hosts that answer: leave --no-wait away")
    connection = cloud.connect(os_cloud)
    delivery = services_for(os_cloud, connection, asked)
    order = resolve(connection, **asked)
    if asked["dry_run"]:
        plans = lease.plan(order, IronicBareMetal(connection))
        present.emit([present.planned(one, order) for one in plans], format_)
        return
    leases = deploy(
        connection,
        order,
        wait_s=None if asked["no_wait"] else asked["wait"],
        keep_on_failure=asked["keep_on_failure"],
        delivery=delivery,
    )
    present.emit([present.host(one, order) for one in leases], format_)
    for one in leases:
        if one.phase is Phase.DONE:
            LOG.info("connect: provision ssh %s", one.host_name)
    fail({one.host_name: one.error for one in leases if one.error is not None}, of=len(leases))


def services_for(os_cloud: str | None, connection: Any, asked: Mapping[str, Any]) -> Any:
    """Load the file of services that `nodes` was given, before any node is taken; None: none."""
    if asked["services"] is None:
        return None
    from provision import deployed, keys
    from provision.baremetal import IronicBareMetal
    from provision.known_hosts import KnownHosts

    return deployed.BackgroundDelivery(
        asked["services"],
        IronicBareMetal(connection),
        KnownHosts(paths.state() / "known_hosts"),
        identity=keys.private_key_of(asked["ssh_key"] or keys.default_public_key_file(Path.home())),
        registries=deployed.lab_registries(os_cloud),
        wait_s=asked["wait"],
    )


def deploy(
    connection: Any,
    order: Any,
    *,
    wait_s: float | None,
    keep_on_failure: bool,
    delivery: Any = None,
) -> list[Any]:
    """Put the story's tools together and run it, its events drawn on stderr."""
    from provision import nodes as story
    from provision.baremetal import IronicBareMetal
    from provision.clock import SystemClock
    from provision.events import Run
    from provision.known_hosts import KnownHosts
    from provision.screen import screen
    from provision.ssh import BackgroundProber

    with screen() as drawn:
        tools = story.Tools(
            baremetal=IronicBareMetal(connection),
            known_hosts=KnownHosts(paths.state() / "known_hosts"),
            prober=BackgroundProber(),
            clock=SystemClock(),
            run=Run.start(paths.state() / "runs", show=drawn.show),
            delivery=delivery,
        )
        LOG.debug("events: %s", tools.run.file)
        return story.provision(order, tools, wait_s=wait_s, keep_on_failure=keep_on_failure)


def resolve(connection: Any, **asked: Any) -> Any:
    """Turn the options of `nodes` into an order: read files, find the image, check everything."""
    from provision import images, keys, order
    from provision.config_drive import check_user_data

    order.check_candidates(asked["candidate"], asked["count"])
    key_file = asked["ssh_key"] or keys.default_public_key_file(Path.home())
    public_key = keys.read_public_key(key_file)
    user_data = None
    if asked["user_data"] is not None:
        user_data = read_text(asked["user_data"])
        check_user_data(user_data)
    if asked["pattern"] is not None:  # before Glance is asked: it costs nothing
        order.host_names(asked["pattern"], asked["count"])
    image = images.find(connection, asked["image"])
    wanted = order.Order(
        host_names=order.host_names(
            asked["pattern"] or order.default_pattern(image.name), asked["count"]
        ),
        resource_class=asked["flavor"],
        image=image,
        public_key=public_key,
        candidates=tuple(asked["candidate"]),
        kernel_append=asked["kernel_append"],
        root_size_gib=asked["root_gb"],
        user_data=user_data,
    )
    if not image.kernel_cmdline:
        LOG.warning("image %r carries no kernel arguments (property kernel_cmdline)", image.name)
    LOG.debug("kernel arguments: %s", wanted.kernel_arguments)
    return wanted


def refuse_what_comes_later(*, deploy: str, via: str) -> None:
    """Refuse, by name, what the command line promises and this version cannot do."""
    if deploy in LATER:
        raise Error(f"--deploy {deploy} ({LATER[deploy]}) is not built yet", hint="there is iscsi")
    if via == "nova":
        raise Error("--via nova is not built yet", hint="there is ironic")


def read_text(path: Path) -> str:
    """Read a text file.

    :raises Error: it cannot be read, or is no text.
    """
    try:
        return path.read_text()
    except OSError as error:
        raise Error(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Error(f"{path} is not text") from error


@provision.command("list")
@manners.format_option
@click.pass_obj
def list_(os_cloud: str | None, format_: str) -> None:
    """List the nodes: what they are, what runs on them."""
    from provision import images, present
    from provision.baremetal import IronicBareMetal

    connection = cloud.connect(os_cloud)
    found = IronicBareMetal(connection).nodes()
    names: dict[str, str] = {}
    if any(node.image_id for node in found):
        try:
            names = images.names(connection)
        except CloudError as error:  # the nodes are listed all the same, with their images' ids
            LOG.warning("no image names: %s", error)
    present.emit([present.node(one, names) for one in found], format_)


@provision.command()
@click.argument("node")
@manners.format_option
@click.pass_obj
def show(os_cloud: str | None, node: str, format_: str) -> None:
    """Show one NODE: by host name, node name or uuid."""
    from provision import lookup, present
    from provision.baremetal import IronicBareMetal
    from provision.known_hosts import KnownHosts

    found = lookup.find(IronicBareMetal(cloud.connect(os_cloud)), node)
    pinned = KnownHosts(paths.state() / "known_hosts").key(found.node.uuid) if found.node else None
    output.emit(present.details(found, pinned), format_=format_)


@provision.command(context_settings={"ignore_unknown_options": True})
@click.argument("node")
@click.option("-l", "--user", "--ssh-user", default="root", show_default=True, help="Log in as.")
@click.option(
    "-i", "--identity", type=click.Path(path_type=Path), help="Private key to log in with."
)
@click.option("-p", "--port", type=click.IntRange(1, 65535), help="[default: the node's]")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def ssh(
    os_cloud: str | None,
    /,
    *,
    node: str,
    user: str,
    identity: Path | None,
    port: int | None,
    command: Sequence[str],
) -> NoReturn:
    """Log in to NODE, or run CMD there (after --), if its host key is the pinned one."""
    from provision import lookup
    from provision import ssh as client
    from provision.baremetal import IronicBareMetal
    from provision.known_hosts import KnownHosts

    found = lookup.find(IronicBareMetal(cloud.connect(os_cloud)), node)
    known_hosts = KnownHosts(paths.state() / "known_hosts")
    target = client.target(found.name, found.node, known_hosts)
    words = client.argv(
        address=target.address,
        port=port or target.port,
        user=user,
        alias=target.alias,
        known_hosts=known_hosts.path,
        identity=identity,
        command=command,
    )
    client.become(words)


@provision.command()
@click.argument("nodes", nargs=-1, required=True, metavar="NODE...")
@waiting(DEFAULT_WAIT_S)
@manners.format_option
@click.pass_obj
def release(os_cloud: str | None, nodes: Sequence[str], wait: float, format_: str) -> None:
    """Tear down what runs on each NODE, wait until it is available again, forget its host key."""
    from provision import present
    from provision import release as story
    from provision.baremetal import IronicBareMetal
    from provision.clock import SystemClock
    from provision.known_hosts import KnownHosts

    baremetal = IronicBareMetal(cloud.connect(os_cloud))
    claims, errors = story.find_claims(baremetal, nodes)
    work = story.Release(
        baremetal,
        KnownHosts(paths.state() / "known_hosts"),
        SystemClock(),
        until_available=True,
        report=lambda one: LOG.info("%s: %s", one.claim.name, one.said) if one.ok else None,
    )
    try:
        done = work.run(claims, limit_s=wait)
    except KeyboardInterrupt:
        LOG.error("stopped; not available yet: %s", " ".join(one.name for one in work.left))
        raise
    present.emit([present.returned(one) for one in done], format_)
    errors.update({one.claim.name: one.said for one in done if not one.ok})
    fail(errors, of=len(nodes))


def fail(errors: dict[str, str | None], *, of: int) -> None:
    """End with status 1 if there is an error: each on its own line.

    :param errors: by what they are about.
    """
    if not errors:
        return
    *others, last = [f"{name}: {error}" for name, error in errors.items()]
    for text in others:
        LOG.error("%s", text)
    if of > 1:
        LOG.error("%s", last)
        last = f"{len(errors)} of {of} failed"
    raise Error(last)


def main() -> NoReturn:
    """Be the console script."""
    manners.main(provision, prog_name="provision")
