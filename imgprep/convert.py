"""Turn an image of an ostree host into what a machine network-boots: kernel, ramdisk and the root
partition.

The source image is only read. One session of the appliance looks, copies kernel and ramdisk out and
edits the deployment's fstab, through an overlay; then one pass of qemu-img copies the root
partition.
"""

import contextlib
import errno
import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from atomic_baremetal import kernel_arguments
from imgprep import appliance as guest
from imgprep import bundle, checksum, deployment, fstab, overlay, precheck, progress, qemu_img
from imgprep import inspect as inspection_
from imgprep.appliance import Appliance
from imgprep.bundle import Base, Bundle, Deployed, Manifest, SourceImage
from imgprep.deployment import Deployment
from imgprep.fstab import Edited
from imgprep.inspect import Inspection
from imgprep.luks import Key
from imgprep.precheck import ImageError, ImageFormat, Source
from imgprep.qemu_img import NoSpaceError

LOG = logging.getLogger(__name__)
FSTAB_LIMIT_BYTES = 1 << 20
BOOT_FILE_LIMIT_BYTES = 2 << 30
MARGIN_BYTES = 64 << 20  # what the overlay may take: a replayed journal, the edit
ENDINGS = (".qcow2", ".qcow", ".raw", ".img", ".xz", ".gz", ".zst")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to convert, and how.

    :param name: of the bundle; None for the image's file name without its endings.
    :param directory: None for ./NAME.
    :param index: of the deployment, 0 is the default one.
    :param checksum: `ALGO:HEX` that the image must have, None not to ask.
    :param keys: what opens its encrypted partitions.
    """

    image: Path
    name: str | None = None
    directory: Path | None = None
    index: int = 0
    base_format: ImageFormat = ImageFormat.QCOW2
    append: Sequence[str] = ()
    delete: Sequence[str] = ()
    checksum: str | None = None
    keys: Sequence[Key] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a conversion does, decided from what is in the image.

    :param edited: the deployment's fstab; None when there is none to edit.
    """

    name: str
    directory: Path
    inspection: Inspection
    deployment: Deployment
    kernel_cmdline: str
    base_format: ImageFormat
    fstab: str
    edited: Edited | None

    def to_json(self) -> dict[str, Any]:
        """Arrange the plan as `--dry-run` prints it."""
        base = self.inspection.base
        return {
            "name": self.name,
            "directory": str(self.directory),
            "deployment": asdict(_deployed(self.deployment)),
            "kernel": self.deployment.kernel,
            "ramdisks": list(self.deployment.ramdisks),
            "kernel_cmdline": self.kernel_cmdline,
            "base": {
                "partition": base.number,
                "offset_bytes": base.start_bytes,
                "virtual_size_bytes": base.size_bytes,
                "format": self.base_format.value,
                "content": inspection_.base_content(self.inspection),
            },
            "fstab_lines_removed": [
                line.decode(errors="backslashreplace")
                for line in (self.edited.removed if self.edited else ())
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """A request that has been checked as far as that goes without opening the image."""

    request: Request
    source: Source
    name: str
    directory: Path


def name_of(image: Path) -> str:
    """Return an image's file name without its endings."""
    name = image.name
    while name.endswith(ENDINGS):
        name = name.rpartition(".")[0]
    return name


def plan(request: Request) -> Plan:
    """Look into the image and decide, without writing anything.

    :raises ImageError: the image cannot be used.
    """
    job = _checked(request)
    with (
        overlay.temporary(job.source) as path,
        progress.phase("looking into the image"),
        guest.launched(path) as appliance,
    ):
        return _decide(appliance, job)


def convert(request: Request) -> Bundle:
    """Make a bundle of an image.

    :raises ImageError: the image cannot be used.
    :raises BundleError: the bundle cannot be put where it should go.
    :raises NoSpaceError: there is not enough room for it.
    """
    job = _checked(request)
    with _space_watched(job.directory), bundle.written(job.directory) as new:
        _require_space(new, MARGIN_BYTES)
        over = overlay.make(job.source, directory=new.parent)
        decided = _session(over, job, new)
        _say(decided)
        base = _export(decided, over, new)
        manifest = _manifest(decided, base, new)
        bundle.write_manifest(new, manifest)
    return Bundle(directory=job.directory, manifest=manifest)


def _checked(request: Request) -> _Job:
    if request.checksum:  # before anything in the image is looked at
        checksum.verify(request.image, request.checksum)
    source = precheck.check(request.image)
    name = bundle.check_name(name_of(request.image) if request.name is None else request.name)
    directory = request.directory or Path(name)
    bundle.check_place(directory)
    return _Job(request=request, source=source, name=name, directory=directory)


def _session(over: Path, job: _Job, new: Path) -> Plan:
    """Do all that needs the appliance, in one session of it."""
    with progress.phase("starting the appliance"), contextlib.ExitStack() as session:
        appliance = session.enter_context(guest.launched(over))
        leave = session.pop_all()
    with leave:
        with progress.phase("looking into the image"):
            decided = _decide(appliance, job)
        with progress.phase("copying kernel and ramdisk"):
            _copy_boot_files(appliance, decided, new)
        if decided.edited is not None and decided.edited.removed:
            with progress.phase("editing the fstab"):
                _edit(appliance, decided, decided.edited)
    return decided


def _decide(appliance: Appliance, job: _Job) -> Plan:
    request = job.request
    inspection = inspection_.look(appliance, job.source, keys=request.keys)
    chosen = deployment.pick(inspection.deployments, request.index)
    arguments = kernel_arguments.edit(
        chosen.arguments, append=request.append, delete=request.delete
    )
    path = f"{chosen.path}/etc/fstab"
    return Plan(
        name=job.name,
        directory=job.directory,
        inspection=inspection,
        deployment=chosen,
        kernel_cmdline=" ".join(arguments),
        base_format=request.base_format,
        fstab=path,
        edited=_edited(appliance, inspection, path),
    )


def _edited(appliance: Appliance, inspection: Inspection, path: str) -> Edited | None:
    with appliance.mounted(inspection.layout.root):
        if not appliance.is_file(path):
            return None
        if appliance.resolve(path) != path:
            raise ImageError(f"{path} in the image is a symbolic link", hint="make it a file")
        content = appliance.read(path, limit_bytes=FSTAB_LIMIT_BYTES)
    return fstab.without_boot(content, in_base=inspection.in_base)


def _copy_boot_files(appliance: Appliance, decided: Plan, new: Path) -> None:
    layout = decided.inspection.layout
    one = decided.deployment
    with appliance.mounted(layout.root, boot=layout.boot):
        total = sum(appliance.size_bytes(path) for path in (one.kernel, *one.ramdisks))
        if total > BOOT_FILE_LIMIT_BYTES:
            raise ImageError(f"kernel and ramdisk of this image are too large: {total} bytes")
        _require_space(new, total)
        appliance.copy_out(one.kernel, new / f"{decided.name}-kernel")
        part = new.parent / "ramdisk"
        with (new / f"{decided.name}-ramdisk").open("wb") as joined:
            for path in one.ramdisks:
                appliance.copy_out(path, part)
                with part.open("rb") as ramdisk:
                    shutil.copyfileobj(ramdisk, joined)
                part.unlink()


def _edit(appliance: Appliance, decided: Plan, edited: Edited) -> None:
    with appliance.mounted(decided.inspection.layout.root, writable=True):
        appliance.replace(decided.fstab, edited.content)


def _say(decided: Plan) -> None:
    for variable in decided.deployment.variables:
        LOG.info("left out of the kernel arguments, a boot loader variable: %s", variable)
    for note in decided.deployment.notes:
        LOG.info("%s", note)
    for line in decided.edited.removed if decided.edited else ():
        LOG.info("taken out of %s: %s", decided.fstab, line.decode(errors="backslashreplace"))
    if not any(word.startswith("root=") for word in decided.kernel_cmdline.split()):
        LOG.info("the kernel arguments name no root=: the ramdisk has to find it by itself")
    subvolume = decided.inspection.layout.root.subvolume
    if subvolume and deployment.subvolume_of(decided.kernel_cmdline.split()) != subvolume:
        LOG.info("the root is the subvolume %s, which no rootflags= names", subvolume)


def _export(decided: Plan, over: Path, new: Path) -> Base:
    """Copy the root partition; from the source itself when nothing in it was edited.

    Mounting alone, read-only, can replay a journal into the overlay.
    """
    source, part = decided.inspection.source, decided.inspection.base
    extent = partial(qemu_img.extent, offset_bytes=part.start_bytes, size_bytes=part.size_bytes)
    wanted = extent(source.path, format_=source.format)
    total = qemu_img.measure(wanted)
    if decided.edited is not None and decided.edited.removed:
        wanted = extent(over, format_=ImageFormat.QCOW2)
        total += qemu_img.measure(wanted)  # counts the overlay's own clusters alone
    path = new / f"{decided.name}-base"
    _require_space(new, total)
    with progress.growing("copying the root partition", path, total_bytes=total):
        qemu_img.convert(wanted, path, format_=decided.base_format)
    return Base(
        **asdict(bundle.describe(path)),
        format=decided.base_format.value,
        virtual_size_bytes=part.size_bytes,
        content=inspection_.base_content(decided.inspection),
    )


def _manifest(decided: Plan, base: Base, new: Path) -> Manifest:
    source = decided.inspection.source
    return Manifest(
        schema=bundle.SCHEMA,
        name=decided.name,
        source=SourceImage(
            file=source.path.name,
            format=source.format.value,
            virtual_size_bytes=source.virtual_size_bytes,
        ),
        kernel=bundle.describe(new / f"{decided.name}-kernel"),
        ramdisk=bundle.describe(new / f"{decided.name}-ramdisk"),
        base=base,
        kernel_cmdline=decided.kernel_cmdline,
        deployment=_deployed(decided.deployment),
    )


def _deployed(one: Deployment) -> Deployed:
    return Deployed(
        stateroot=one.stateroot,
        checksum=one.checksum,
        serial=one.serial,
        bootcsum=one.bootcsum,
        kernel_version=one.kernel_version,
    )


def _require_space(directory: Path, needed_bytes: int) -> None:
    free = shutil.disk_usage(directory).free
    if free < needed_bytes:
        raise NoSpaceError(
            f"{progress.size(needed_bytes)} are needed and {progress.size(free)} are free"
        )


@contextlib.contextmanager
def _space_watched(directory: Path) -> Iterator[None]:
    """Word every way of finding the disk full alike."""
    where = directory.absolute().parent
    hint = "free some space there, or name another place with -o"
    try:
        yield
    except NoSpaceError as error:
        raise NoSpaceError(f"not enough room in {where}: {error.message}", hint=hint) from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise NoSpaceError(f"not enough room in {where}: the disk is full", hint=hint) from error
