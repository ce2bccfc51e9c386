"""Decide what a conversion does: from a request, by way of what is in the image."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from atomic_baremetal import kernel_arguments
from imgprep import bundle, checksum, deployment, fstab, precheck
from imgprep import inspect as inspection_
from imgprep.appliance import Appliance
from imgprep.bundle import Deployed
from imgprep.deployment import Deployment
from imgprep.fstab import Edited
from imgprep.inspect import Inspection
from imgprep.luks import Key
from imgprep.precheck import ImageError, ImageFormat, Source

LOG = logging.getLogger(__name__)
FSTAB_LIMIT_BYTES = 256 << 10
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

    @property
    def is_edited(self) -> bool:
        """Tell whether the base will differ from the partition."""
        return self.edited is not None and bool(self.edited.removed)

    def to_json(self) -> dict[str, Any]:
        """Arrange the plan as `--dry-run` prints it."""
        base = self.inspection.base
        return {
            "name": self.name,
            "directory": str(self.directory),
            "deployment": asdict(deployed(self.deployment)),
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
class Job:
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


def check(request: Request) -> Job:
    """Check a request as far as that goes without opening the image.

    :raises ImageError: the image is not what its checksum says, or not safe to open.
    :raises BundleError: the bundle cannot be put where it should go.
    """
    if request.checksum:  # before anything in the image is looked at
        checksum.verify(request.image, request.checksum)
    source = precheck.check(request.image)
    name = bundle.check_name(name_of(request.image) if request.name is None else request.name)
    directory = request.directory or Path(name)
    bundle.check_place(directory)
    return Job(request=request, source=source, name=name, directory=directory)


def decide(appliance: Appliance, job: Job) -> Plan:
    """Look into the image and decide.

    :raises ImageError: the image cannot be used.
    """
    request = job.request
    inspection = inspection_.look(appliance, job.source, keys=request.keys)
    chosen = deployment.pick(inspection.deployments, request.index)
    arguments = kernel_arguments.edit(
        chosen.arguments, append=request.append, delete=request.delete
    )
    for argument in request.delete:
        if argument not in chosen.arguments:
            LOG.info("no kernel argument to delete: %s", argument)
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
    with appliance.mounted(inspection.layout.root, boot=inspection.layout.boot):
        if not appliance.is_file(path):
            return None
        if appliance.resolve(path) != path:
            raise ImageError(f"{path} in the image is a symbolic link", hint="make it a file")
        content = appliance.read(path, limit_bytes=FSTAB_LIMIT_BYTES)
    return fstab.without_boot(content, in_base=inspection.in_base)


def deployed(one: Deployment) -> Deployed:
    """Arrange a deployment as a manifest names it."""
    return Deployed(
        stateroot=one.stateroot,
        checksum=one.checksum,
        serial=one.serial,
        bootcsum=one.bootcsum,
        kernel_version=one.kernel_version,
    )


def say(decided: Plan) -> None:
    """Narrate what was decided that nobody asked for."""
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
