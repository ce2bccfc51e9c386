"""The command line `imgprep`: an image in, a bundle out, and from there into Glance."""

import logging
import signal
from pathlib import Path
from typing import NoReturn

import click

from atomic_baremetal import cli, output
from imgprep import bundle, convert, inspect, luks, precheck, registry
from imgprep.convert import Request
from imgprep.precheck import BASE_FORMATS, ImageFormat

IMAGE = click.argument("image", type=click.Path(path_type=Path))
KEY = click.option(
    "--key",
    "keys",
    metavar="ID:file:FILE",
    multiple=True,
    help="What opens an encrypted partition: the passphrase in FILE's first line, or ID:key:STRING;"
    " ID is /dev/sdaN, the UUID of its LUKS header, or `all`.",
)
BUNDLE = click.argument("bundle_", metavar="DIR|MANIFEST", type=click.Path(path_type=Path))


def main() -> NoReturn:
    """Run the command line; being told to end or to hang up is an interruption like Ctrl-C."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    cli.main(imgprep, prog_name="imgprep")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@cli.common
@click.pass_context
def imgprep(
    context: click.Context, os_cloud: str | None, quiet: bool, verbose: bool, debug: bool
) -> None:
    """Take an image of an ostree operating system apart into what a machine network-boots."""
    cli.set_up_logging(quiet=quiet, verbose=verbose, debug=debug)
    if not debug:  # what it logs, our errors say
        logging.getLogger("oslo_utils.imageutils").setLevel(logging.CRITICAL)
    context.obj = os_cloud


@imgprep.command("inspect")
@IMAGE
@KEY
@cli.format_option
def inspect_(image: Path, keys: tuple[str, ...], format_: str) -> None:
    """Tell what is in IMAGE: partitions, root, boot, deployments. IMAGE is only read."""
    opening = [luks.parse(key) for key in keys]
    found = inspect.to_json(inspect.inspect(precheck.check(image), keys=opening))
    output.emit(found, format_=format_)


@imgprep.command("atomic-to-pxe")
@IMAGE
@click.option(
    "-o",
    "--output",
    "directory",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where the bundle goes; a bundle there is replaced.  [default: ./NAME]",
)
@click.option("--name", help="The bundle's name.  [default: IMAGE's name without its endings]")
@click.option(
    "--deployment",
    "index",
    metavar="INDEX",
    type=int,
    default=0,
    show_default=True,
    help="Which deployment, as inspect numbers them; 0 is the one the image boots by default.",
)
@click.option(
    "--base-format",
    type=click.Choice([format_.value for format_ in BASE_FORMATS]),
    default=ImageFormat.QCOW2.value,
    show_default=True,
    help="The base's format: qcow2 uploads and deploys faster, raw is what every tool reads.",
)
@click.option(
    "--append-karg", "append", metavar="ARG", multiple=True, help="Add a kernel argument."
)
@click.option(
    "--delete-karg", "delete", metavar="ARG", multiple=True, help="Leave out a kernel argument."
)
@click.option("--checksum", metavar="ALGO:HEX", help="Refuse an IMAGE with another checksum.")
@KEY
@click.option("--register", "and_register", is_flag=True, help="Put the bundle into Glance, too.")
@click.option("--dry-run", is_flag=True, help="Print what would be done, and do nothing.")
@cli.format_option
@click.pass_obj
def atomic_to_pxe(  # noqa: PLR0917 - click passes by name
    os_cloud: str | None,
    image: Path,
    directory: Path | None,
    name: str | None,
    index: int,
    base_format: str,
    append: tuple[str, ...],
    delete: tuple[str, ...],
    checksum: str | None,
    keys: tuple[str, ...],
    and_register: bool,
    dry_run: bool,
    format_: str,
) -> None:
    """Make a bundle of IMAGE: kernel, ramdisk, root partition, manifest. IMAGE is only read."""
    request = Request(
        image=image,
        name=name,
        directory=directory,
        index=index,
        base_format=ImageFormat(base_format),
        append=append,
        delete=delete,
        checksum=checksum,
        keys=[luks.parse(key) for key in keys],
    )
    if dry_run:
        plan = convert.plan(request).to_json()
        output.emit({**plan, "register": and_register}, format_=format_)
        return
    glance = registry.Glance.connect(os_cloud) if and_register else None
    made = convert.convert(request)
    if glance is not None:
        registry.register(glance, made, registry.Options())
    output.emit(made.manifest.to_json(), format_=format_)


@imgprep.command("register")
@BUNDLE
@click.option(
    "--visibility",
    type=click.Choice(registry.VISIBILITIES),
    help="Who sees the images.  [default: Glance's default; public in a cloud without projects]",
)
@click.option(
    "--legacy-ami",
    is_flag=True,
    help="Register the base as ami/ami, the way of 2014; `direct` deploys of today refuse that.",
)
@cli.format_option
@click.pass_obj
def register(
    os_cloud: str | None, bundle_: Path, visibility: str | None, legacy_ami: bool, format_: str
) -> None:
    """Put a bundle into Glance as three images; what is there already stays."""
    loaded = bundle.load(bundle_)
    bundle.verify(loaded)
    options = registry.Options(visibility=visibility, legacy_ami=legacy_ami)
    done = registry.register(registry.Glance.connect(os_cloud), loaded, options)
    output.emit(done.to_json(), format_=format_)


@imgprep.command("unregister")
@click.argument("name")
@cli.format_option
@click.pass_obj
def unregister(os_cloud: str | None, name: str, format_: str) -> None:
    """Remove the three images of bundle NAME from Glance."""
    done = registry.unregister(registry.Glance.connect(os_cloud), name)
    output.emit(done.to_json(), format_=format_)


@imgprep.command("verify")
@BUNDLE
@cli.format_option
def verify(bundle_: Path, format_: str) -> None:
    """Compare the files of a bundle with its manifest."""
    loaded = bundle.load(bundle_)
    bundle.verify(loaded)
    output.emit(loaded.manifest.to_json(), format_=format_)
