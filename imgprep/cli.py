"""The command line `imgprep`: an image in, a bundle out, and from there into Glance."""

import logging
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import click

from atomic_baremetal import cli, output
from atomic_baremetal.errors import Error
from imgprep import bundle, convert, inspect, luks, precheck
from imgprep.bundle import Bundle
from imgprep.plan import Request, name_of
from imgprep.precheck import BASE_FORMATS, ImageFormat

LOG = logging.getLogger(__name__)
VISIBILITIES = ("public", "private", "shared", "community")
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
@click.argument(
    "images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "-o",
    "--output",
    "directory",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where the bundle goes; a bundle there is replaced. With several IMAGEs: the directory"
    " that their bundles go into, each as NAME.  [default: ./NAME]",
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
    *("--append-karg", "append"),
    metavar="ARG",
    multiple=True,
    help="Append a kernel argument; may be repeated.",
)
@click.option(
    *("--delete-karg", "delete"),
    metavar="ARG",
    multiple=True,
    help="Delete a kernel argument, wherever the image has it; may be repeated.",
)
@click.option(
    *("--checksum", "checksums"),
    metavar="ALGO:HEX",
    multiple=True,
    help="Refuse an IMAGE with another checksum, before anything in it is looked at; with several"
    " IMAGEs, one for each in their order.",
)
@click.option(
    "--isolate",
    is_flag=True,
    help="With several IMAGEs: an appliance for each, so that a hostile one cannot reach another.",
)
@KEY
@click.option("--register", "and_register", is_flag=True, help="Put the bundle into Glance, too.")
@click.option("--dry-run", is_flag=True, help="Print what would be done, and do nothing.")
@cli.format_option
@click.pass_obj
def atomic_to_pxe(  # noqa: PLR0917 - click passes by name
    os_cloud: str | None,
    images: tuple[Path, ...],
    directory: Path | None,
    name: str | None,
    index: int,
    base_format: str,
    append: tuple[str, ...],
    delete: tuple[str, ...],
    checksums: tuple[str, ...],
    isolate: bool,
    keys: tuple[str, ...],
    and_register: bool,
    dry_run: bool,
    format_: str,
) -> int:
    """Make a bundle of each IMAGE: kernel, ramdisk, root partition, manifest. It is only read."""
    pattern = Request(
        image=images[0],
        name=name,
        directory=directory,
        index=index,
        base_format=ImageFormat(base_format),
        append=append,
        delete=delete,
        keys=[luks.parse(key) for key in keys],
    )
    requests = _requests(pattern, images, checksums)
    if dry_run:
        plans = [_caught(partial(_planned, one, and_register)) for one in requests]
        return _report(requests, plans, format_)
    glance = _registry().Glance.connect(os_cloud) if and_register else None
    groups = [[one] for one in requests] if isolate else [requests]
    made = [one for group in groups for one in convert.convert_all(group)]
    done = [_caught(partial(_registered, one, glance)) for one in made]
    return _report(requests, done, format_)


def _requests(pattern: Request, images: Sequence[Path], checksums: Sequence[str]) -> list[Request]:
    if checksums and len(checksums) != len(images):
        raise click.UsageError(f"{len(images)} images, {len(checksums)} checksums: one for each")
    wanted = [
        replace(pattern, image=image, checksum=checksum)
        for image, checksum in zip_longest(images, checksums)
    ]
    if len(images) == 1:
        return wanted
    if pattern.name is not None:
        raise click.UsageError("--name is for one image")
    above = pattern.directory or Path()
    places = [above / name_of(image) for image in images]
    if len(set(places)) < len(places):
        raise click.UsageError("two of the images have the same name")
    return [
        replace(request, directory=place) for request, place in zip(wanted, places, strict=True)
    ]


def _planned(request: Request, and_register: bool) -> dict[str, Any]:
    return {**convert.plan(request).to_json(), "register": and_register}


def _registered(made: Bundle | Error, glance: Any) -> dict[str, Any]:
    if isinstance(made, Error):
        raise made
    if glance is not None:
        registry = _registry()
        registry.register(glance, made, registry.Options())
    return made.manifest.to_json()


def _caught(step: Callable[[], dict[str, Any]]) -> dict[str, Any] | Error:
    try:
        return step()
    except Error as error:
        return error


def _report(
    requests: Sequence[Request], outcomes: Sequence[dict[str, Any] | Error], format_: str
) -> int:
    """Print what became of each image: one as such, several as a list.

    :returns: the exit status.
    """
    done = [one for one in outcomes if not isinstance(one, Error)]
    if len(requests) == 1:
        for error in outcomes:
            if isinstance(error, Error):
                raise error
        output.emit(done[0], format_=format_)
        return 0
    for request, error in zip(requests, outcomes, strict=True):
        if isinstance(error, Error):
            named = "" if error.message.startswith(str(request.image)) else f"{request.image}: "
            LOG.error("imgprep: %s%s", named, error)
    columns = ("name", "kernel_cmdline")
    table = output.rows(columns, [[one[column] for column in columns] for one in done])
    output.emit(done, format_=format_, table=table)
    return 0 if len(done) == len(outcomes) else 1


def _registry() -> ModuleType:
    """Import what speaks to Glance, which takes half a second, only when it is wanted."""
    from imgprep import registry

    return registry


@imgprep.command("register")
@BUNDLE
@click.option(
    "--visibility",
    type=click.Choice(VISIBILITIES),
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
    registry = _registry()
    options = registry.Options(visibility=visibility, legacy_ami=legacy_ami)
    done = registry.register(registry.Glance.connect(os_cloud), loaded, options)
    output.emit(done.to_json(), format_=format_)


@imgprep.command("unregister")
@click.argument("name")
@cli.format_option
@click.pass_obj
def unregister(os_cloud: str | None, name: str, format_: str) -> None:
    """Remove the three images of bundle NAME from Glance."""
    registry = _registry()
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
