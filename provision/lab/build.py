"""Build what the lab boots and runs: ``python -m provision.lab.build WHAT``.

Prints where the result is: the ramdisk's directory, the image's file, the images' layouts.
"""

from pathlib import Path

import click

from atomic_baremetal import cli


def ramdisk() -> Path:
    """Return the directory of the deploy ramdisk's kernel and initramfs; build them if need be."""
    from provision.lab import ramdisk as builder

    return builder.ramdisk()


def sample_image() -> Path:
    """Return the sample Atomic host image, a qcow2; build it if need be."""
    from provision.lab import sample_image as builder

    return builder.sample_image()


def service_images() -> list[Path]:
    """Return the OCI layouts of the example services' images; build them if need be."""
    from provision.lab import service_images as builder

    return list(builder.service_images().values())


@click.command()
@click.argument("what", type=click.Choice(("ramdisk", "sample-image", "service-images")))
@click.option(
    "--check-reproducible",
    is_flag=True,
    help="Build the sample image's ostree tree twice from nothing and compare the commits.",
)
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.option("--debug", is_flag=True, help="Say everything, each command included.")
def build(what: str, check_reproducible: bool, quiet: bool, debug: bool) -> None:
    """Build WHAT unless it is in the cache, and print where it is."""
    cli.set_up_logging(quiet=quiet, verbose=False, debug=debug)
    if check_reproducible:
        if what != "sample-image":
            raise click.UsageError("--check-reproducible is for the sample image")
        from provision.lab import sample_image as builder

        click.echo(builder.check_reproducible())
        return
    if what == "service-images":
        for layout in service_images():
            click.echo(layout)
        return
    click.echo(ramdisk() if what == "ramdisk" else sample_image())


if __name__ == "__main__":
    cli.main(build, prog_name="python -m provision.lab.build")
