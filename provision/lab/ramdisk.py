"""Build the deploy ramdisk: ironic-python-agent, with this project's plugins, on Debian.

diskimage-builder and ironic-python-agent-builder do the work. Everything but Debian's packages is
fetched first, at pinned versions, and the build itself sees only local files: two builds from the
same state of Debian's archive hold the same software. docs/ramdisk.rst says what is in it and how
to look into one.
"""

import logging
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

import provision
from atomic_baremetal import paths
from atomic_baremetal.errors import Error
from provision.lab import apt_sources, artefacts, dib, ramdisk_sources

LOG = logging.getLogger(__name__)

KERNEL = "ironic-python-agent.kernel"
INITRAMFS = "ironic-python-agent.initramfs"

RELEASE = "bookworm"
SUITES = (RELEASE, f"{RELEASE}-updates", f"{RELEASE}-security")

BUILDERS = ("diskimage-builder", "ironic-python-agent-builder")
ELEMENTS = ("ironic-agent-iscsi", "local-wheelhouse", "ramdisk-bytecode", "slim-ramdisk")
BUILDERS_ELEMENTS = ("journal-to-console",)  # the console file of a lab's node tells what happened
DISTRIBUTION = "debian-minimal"
COMPRESSOR = "zstd -T0 -12"

TOOLS = {
    # program: Debian package
    "cpio": "cpio",
    "debootstrap": "debootstrap",
    "kpartx": "kpartx",
    "qemu-img": "qemu-utils",
    "rsync": "rsync",
    "sudo": "sudo",
    "setpriv": "util-linux",
    "unshare": "util-linux",
    "zstd": "zstd",
}


def ramdisk() -> Path:
    """Return the directory of KERNEL and INITRAMFS; build them if what they are made from changed.

    :raises Error: not root, a tool is missing, or the build failed; then with its log's last lines.
    """
    elements = elements_directory()
    code = Path(provision.__file__).parent
    agent_code = [code / "__init__.py", *sorted((code / "agent").glob("*.py"))]
    inputs: list[artefacts.Input] = [
        *(elements / name for name in ELEMENTS),
        *agent_code,
        *(f"{name} {version(name)}" for name in BUILDERS),
        *ramdisk_sources.INPUTS,
        *(Path(__file__), Path(dib.__file__)),
        *apt_sources.state_of(SUITES),
    ]
    return artefacts.cached("ramdisk", inputs, lambda target: _build(target, elements, code))


def elements_directory() -> Path:
    """Find the diskimage-builder elements: in the checkout, or where setup.py installed them.

    :raises Error: in neither place.
    """
    places = (
        Path(provision.__file__).parents[1] / "elements",
        Path(sys.prefix) / "share" / "atomic-baremetal" / "elements",
    )
    for place in places:
        if (place / ELEMENTS[0]).is_dir():
            return place
    raise Error(f"no diskimage-builder elements in {' or '.join(str(place) for place in places)}")


def _build(target: Path, elements: Path, code: Path) -> None:
    dib.check_machine("the deploy ramdisk", TOOLS)
    log = target.with_suffix(".log")  # beside the artefact: it outlives a failure
    work = target / "work"
    (work / "tmp").mkdir(parents=True)
    LOG.info("ramdisk: diskimage-builder at work, about three minutes; log: %s", log)
    added = [word for name in (*ELEMENTS, *BUILDERS_ELEMENTS) for word in ("-e", name)]
    dib.run(
        "ironic-python-agent-builder",
        *("-o", str(target / "ironic-python-agent"), "-r", RELEASE, *added),
        *("--extra-args", f"--logfile {log}"),
        DISTRIBUTION,
        environment=_environment(work, ramdisk_sources.fetched(), elements, code),
        work=work,
        log=log,
    )
    shutil.rmtree(work)
    for name in (KERNEL, INITRAMFS):
        if not (target / name).is_file():
            raise Error(f"diskimage-builder ended well but made no {name}", hint=f"its log: {log}")


def _environment(
    work: Path, sources: ramdisk_sources.Sources, elements: Path, code: Path
) -> dict[str, str]:
    return {
        **dib.environment_for(work, release=RELEASE, elements=elements),
        "TMPDIR": str(work / "tmp"),
        "DIB_IMAGE_CACHE": str(paths.cache() / "ramdisk-packages"),
        "DIB_CHECKSUM": "0",
        "DIB_DEBIAN_COMPONENTS": "main",
        "DIB_IPA_COMPRESS_CMD": COMPRESSOR,
        "DIB_LOCAL_WHEELHOUSE": str(sources.packages),
        "DIB_IRONIC_AGENT_ISCSI_SOURCE": str(code),
        **_local("ironic_python_agent", sources.agent),
        **_local("glean", sources.glean),
        **_local("requirements", sources.requirements),
    }


def _local(repository: str, tarball: Path) -> dict[str, str]:
    """Word the variables that make a tarball, of one top directory named like it, a source."""
    return {
        f"DIB_REPOTYPE_{repository}": "tar",
        f"DIB_REPOLOCATION_{repository}": f"file://{tarball}",
        f"DIB_REPOREF_{repository}": tarball.name.removesuffix(".tar.gz"),
    }
