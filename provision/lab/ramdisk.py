"""Build the deploy ramdisk: ironic-python-agent, with this project's plugins, on Debian.

diskimage-builder and ironic-python-agent-builder do the work. Everything but Debian's packages is
fetched first, at pinned versions, and the build itself sees only local files: two builds from the
same state of Debian's archive hold the same software. docs/ramdisk.rst says what is in it and how
to look into one.
"""

import logging
import os
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

import provision
from atomic_baremetal import command, paths
from atomic_baremetal.errors import CommandError, Error
from provision.lab import apt_sources, artefacts, ramdisk_sources

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

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BUILD_LIMIT_S = 1800.0
TOOLS = {
    # program: Debian package
    "cpio": "cpio",
    "debootstrap": "debootstrap",
    "kpartx": "kpartx",
    "qemu-img": "qemu-utils",
    "rsync": "rsync",
    "sudo": "sudo",
    "unshare": "util-linux",
    "zstd": "zstd",
}
LAST_LINES = 8


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
        Path(__file__),
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
    _check_machine()
    sources = ramdisk_sources.fetched()
    log = target.with_suffix(".log")  # beside the artefact: it outlives a failure
    work = target / "work"
    (work / "tmp").mkdir(parents=True)
    LOG.info("ramdisk: diskimage-builder at work, about three minutes; log: %s", log)
    argv = _builder_argv(
        target / "ironic-python-agent", log, _environment(work, sources, elements, code)
    )
    try:
        command.run(*argv, timeout_s=BUILD_LIMIT_S, cwd=work)
    except CommandError as error:
        raise Error(
            f"the deploy ramdisk could not be built: {error.message}\n{_last_lines(log)}",
            hint=f"the whole log: {log}",
        ) from error
    shutil.rmtree(work)
    for name in (KERNEL, INITRAMFS):
        if not (target / name).is_file():
            raise Error(f"diskimage-builder ended well but made no {name}", hint=f"its log: {log}")


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise Error(
            "building the deploy ramdisk needs root: it works in a chroot",
            hint="run this as root; what root built, everybody can use",
        )
    missing = {package for program, package in TOOLS.items() if not shutil.which(program)}
    if missing:
        raise Error(
            "building the deploy ramdisk needs programs that are not installed",
            hint=f"apt-get install {' '.join(sorted(missing))}",
        )


def _builder_argv(output: Path, log: Path, environment: dict[str, str]) -> list[str]:
    """Word the builder's command so that nothing of the host reaches it and nothing of it stays.

    In namespaces of its own, its mounts vanish and its processes die with it, however it ends; to
    remove its working directory can then never remove what was mounted there. ``env -i``: the
    host's Python, pip and TLS settings are wrong in the chroot.
    """
    added = [word for name in (*ELEMENTS, *BUILDERS_ELEMENTS) for word in ("-e", name)]
    return [
        *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
        *("env", "-i", *(f"{name}={value}" for name, value in environment.items())),
        str(Path(sys.executable).with_name("ironic-python-agent-builder")),
        *("-o", str(output), "-r", RELEASE, *added),
        *("--extra-args", f"--logfile {log}"),
        DISTRIBUTION,
    ]


def _environment(
    work: Path, sources: ramdisk_sources.Sources, elements: Path, code: Path
) -> dict[str, str]:
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{SYSTEM_PATH}",
        "HOME": str(work),
        "LANG": "C.UTF-8",
        "TMPDIR": str(work / "tmp"),
        "ELEMENTS_PATH": str(elements),
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
    machine = apt_sources.read()
    for variable, suite in (
        ("DIB_DISTRIBUTION_MIRROR", RELEASE),
        ("DIB_DEBIAN_SECURITY_MIRROR", f"{RELEASE}-security"),
    ):
        if archive := apt_sources.archive_of(machine, suite):
            environment[variable] = archive
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        if value := os.environ.get(name) or os.environ.get(name.upper()):
            environment[name] = value
    return environment


def _local(repository: str, tarball: Path) -> dict[str, str]:
    """Word the variables that make a tarball, of one top directory named like it, a source."""
    return {
        f"DIB_REPOTYPE_{repository}": "tar",
        f"DIB_REPOLOCATION_{repository}": f"file://{tarball}",
        f"DIB_REPOREF_{repository}": tarball.name.removesuffix(".tar.gz"),
    }


def _last_lines(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return "it wrote no log"
    return "\n".join(f"  {line}" for line in lines[-LAST_LINES:])
