"""Build the example services' images: `examples/services/NAME/Containerfile`, on a Debian of ours.

buildah does the work, in namespaces and with storage of its own: none of this machine's images is
touched, and nothing stays mounted. Packages come from where this machine's apt gets its own, which
no image tells.

*Layout*: a directory as the OCI image specification has it, here with an image for each version.

Layers are compressed with zstd: an emulated node pulls MariaDB's 190 MB as 48 MB, in 180 seconds on
a machine that was busy besides, against 210 when they were not compressed. Both were bound by
writing the files.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import provision
from atomic_baremetal import command
from atomic_baremetal.errors import Error
from provision.lab import apt_sources, artefacts, debian, dib

NAMES = ("mariadb", "keystone", "libvirt")
# they differ in a label only, and so in their digests: something to upgrade to
VERSIONS = ("1", "2")
BASE = "debian"
BASE_PACKAGES = ("ca-certificates",)
BUILD_S = 900.0
DRIVER = "overlay"  # both programs are told, so that each finds what the other left
TOOLS = {"buildah": "buildah", "skopeo": "skopeo", "unshare": "util-linux", "tar": "tar"}
HINT = "docs/debugging.rst says how to run a logged command by hand"


def examples() -> Path:
    """Find the example services: in the checkout.

    :raises Error: they are not there.
    """
    place = Path(provision.__file__).parents[1] / "examples" / "services"
    if not (place / BASE / "Containerfile").is_file():
        raise Error(
            f"no example services in {place}", hint="run this from a checkout of the project"
        )
    return place


def service_images() -> Mapping[str, Path]:
    """Return each image's layout by its name; build those that something changed for."""
    return {name: service_image(name) for name in NAMES}


def service_image(name: str) -> Path:
    """Return an image's layout; build it if need be. Its versions are references in it."""

    def build(out: Path) -> None:
        dib.check_machine("the example services' images", TOOLS)
        with _storage(out) as storage:
            _take_base(storage)
            for version in VERSIONS:
                _build(storage, examples() / name, f"localhost/{name}:{version}", version)
                target = f"oci:{out / 'layout'}:{version}"
                _push(storage, f"localhost/{name}:{version}", target)

    inputs = [*_inputs(), examples() / BASE, examples() / name]
    return artefacts.cached(f"service-image-{name}", inputs, build) / "layout"


def base() -> Path:
    """Return the layout of the image that the others are made from; build it if need be."""

    def build(out: Path) -> None:
        dib.check_machine("the example services' images", TOOLS)
        with _storage(out) as storage:
            root, context = storage / "root", storage / "context"
            debian.bootstrap(root, BASE_PACKAGES, what="the example services' images")
            shutil.copytree(examples() / BASE, context)
            command.run(
                *("tar", "--create", "--numeric-owner", "--sort=name", "--xattrs"),
                *("--file", context / "debian.tar", "--directory", root, "."),
                timeout_s=BUILD_S,
                hint=HINT,
            )
            image = f"localhost/{BASE}:{debian.RELEASE}"
            _build(storage, context, image, debian.RELEASE)
            _push(storage, image, f"oci:{out / 'layout'}:{debian.RELEASE}")

    inputs = [*_inputs(), " ".join(BASE_PACKAGES), examples() / BASE]
    return artefacts.cached("service-image-base", inputs, build) / "layout"


def _inputs() -> list[artefacts.Input]:
    """Return what all images are made from: builders, and the state of Debian's archive."""
    return [
        Path(__file__),
        Path(debian.__file__),
        command.run("buildah", "--version", timeout_s=60).stdout,
        *apt_sources.state_of(debian.SUITES),
    ]


@contextmanager
def _storage(out: Path) -> Iterator[Path]:
    """Make buildah's own directory; it goes at the end."""
    storage = out / "work"
    storage.mkdir()
    (storage / "sources.list").write_text("\n".join(debian.machine_sources()) + "\n")
    try:
        yield storage
    finally:
        shutil.rmtree(storage)


def _build(storage: Path, context: Path, image: str, version: str) -> None:
    sources = f"{storage / 'sources.list'}:/etc/apt/sources.list:ro"
    _buildah(
        storage,
        *("build", "--isolation", "chroot", "--format", "oci", "--layers", "--pull-never"),
        *("--network", "host", "--volume", sources, "--build-arg", f"VERSION={version}"),
        *("--tag", image, context),
    )


def _take_base(storage: Path) -> None:
    """Put the base image where buildah finds it; its own `pull` takes no path with a dot in it."""
    source = f"oci:{base()}:{debian.RELEASE}"
    _skopeo(source, _stored(storage, f"localhost/{BASE}:{debian.RELEASE}"))


def _push(storage: Path, image: str, target: str) -> None:
    compression = ("--dest-compress-format", "zstd", "--dest-compress-level", "3")
    _skopeo(*compression, _stored(storage, image), target)


def _stored(storage: Path, image: str) -> str:
    """Name an image in buildah's storage as skopeo does (containers-transports(5))."""
    return f"containers-storage:[{DRIVER}@{storage / 'storage'}+{storage / 'run'}]{image}"


def _skopeo(*words: str) -> None:
    _run("skopeo", "copy", "--quiet", "--insecure-policy", *words)


def _buildah(storage: Path, *words: str | Path) -> str:
    places = ("--root", storage / "storage", "--runroot", storage / "run")
    return _run("buildah", "--storage-driver", DRIVER, *places, *words)


def _run(*words: str | Path) -> str:
    """Run a program; what it mounts and starts goes with it, and it with this process."""
    return command.run(
        *("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork"),
        *("--kill-child", "--mount-proc"),
        *words,
        timeout_s=BUILD_S,
        hint=HINT,
    ).stdout
