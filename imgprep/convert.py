"""Turn images of ostree hosts into what a machine network-boots: kernel, ramdisk and the root
partition.

The source image is only read. One session of the appliance looks, copies kernel and ramdisk out and
edits the deployment's fstab, through an overlay; beside it, one pass of qemu-img copies the root
partition, and what the session changed is written over the copy in the end.
"""

import contextlib
import errno
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from atomic_baremetal.errors import Error
from imgprep import base, bundle, overlay, progress, session
from imgprep import inspect as inspection_
from imgprep import plan as planning
from imgprep.appliance import Appliance
from imgprep.base import Copy
from imgprep.bundle import Base, Bundle, Manifest, SourceImage
from imgprep.drive import Drive
from imgprep.partition_table import Extent
from imgprep.plan import Job, Plan, Request
from imgprep.precheck import ImageError
from imgprep.qemu_img import NoSpaceError

__all__ = ["Plan", "Request", "convert", "convert_all", "plan"]
LOG = logging.getLogger(__name__)
BOOT_FILE_LIMIT_BYTES = 2 << 30
MARGIN_BYTES = 64 << 20  # what the overlay may take: a replayed journal, the edit


def plan(request: Request) -> Plan:
    """Look into the image and decide, without writing anything.

    :raises ImageError: the image cannot be used.
    """
    job = planning.check(request)
    with (
        overlay.temporary(job.source) as path,
        progress.phase("looking into the image"),
        session.launched(path) as appliance,
    ):
        return planning.decide(appliance, job)


def convert(request: Request) -> Bundle:
    """Make a bundle of an image.

    :raises ImageError: the image cannot be used.
    :raises BundleError: the bundle cannot be put where it should go.
    :raises BusyError: another run is making it.
    :raises NoSpaceError: there is not enough room for it.
    """
    [made] = convert_all([request])
    if isinstance(made, Error):
        raise made
    return made


def convert_all(requests: Sequence[Request]) -> list[Bundle | Error]:
    """Make bundles of several images, in one session of one appliance; of many, in several.

    One that fails does not keep the others from being made. But they share a kernel: an image that
    takes the appliance over can change what is made of the others.

    :returns: in the order of the requests; an error in the place of a bundle that was not made.
    """
    works = [_Work(request) for request in requests]
    with ExitStack() as every:
        for number, work in enumerate(works):
            every.push(work.undo)
            work.attempt(work.check)
            work.attempt(work.prepare, early=number == 0)
        ready = [work for work in works if work.error is None]
        most = len(session.DISKS)
        for at in range(0, len(ready), most):
            _look(ready[at : at + most])
        for work in works:
            work.attempt(work.finish)
    return [work.result() for work in works]


class _Work:
    """The making of one bundle, step by step. Once a step has failed, the others do nothing."""

    job: Job
    new: Path
    over: Path
    drive: Drive
    plan: Plan
    copy: Copy | None = None
    error: Error | None = None
    made: Bundle | None = None

    def __init__(self, request: Request) -> None:
        self._request = request
        self.undo = ExitStack()
        self._copying = ExitStack()

    def attempt(self, step: Callable[..., None], **options: bool) -> None:
        """Take a step unless one has failed; if it fails, undo what was done."""
        if self.error is not None:
            return
        try:
            try:
                step(**options)
            except (Error, OSError) as error:
                self.undo.__exit__(type(error), error, error.__traceback__)  # may word it anew
                raise
        except Error as error:
            self.error = error

    def result(self) -> Bundle | Error:
        """Return what became of it."""
        made = self.error or self.made
        assert made is not None  # noqa: S101 - all steps were taken
        return made

    def check(self) -> None:
        """Check the request without opening the image."""
        self.job = planning.check(self._request)

    def prepare(self, *, early: bool) -> None:
        """Make all ready for the session.

        :param early: to copy what is likely to be the base from now on.
        """
        directory = self.job.directory
        self.undo.enter_context(_space_watched(directory))
        self.new = self.undo.enter_context(bundle.written(directory))
        self.undo.push(self._copying)
        base.require_space(self.new, MARGIN_BYTES)
        self.over = overlay.make(self.job.source, directory=self.new.parent)
        self.drive = Drive.of(self.over)
        likely = base.likely(self.drive.table)
        if early and likely is not None:
            self._start(likely)

    def _start(self, extent: Extent) -> None:
        """Copy a partition from now on; another one that was begun is given up."""
        target, format_ = self._file("base"), self.job.request.base_format
        self._copying.close()
        target.unlink(missing_ok=True)
        self.copy = self._copying.enter_context(
            base.started(self.job.source, extent, target, format_=format_)
        )

    def _file(self, part: str) -> Path:
        return self.new / f"{self.job.name}-{part}"

    def look(self, appliance: Appliance) -> None:
        """Do all that needs the appliance."""
        with progress.phase("looking into the image"):
            self.plan = planning.decide(appliance, self.job)
        part = self.plan.inspection.base
        extent = Extent(
            number=part.number, start_bytes=part.start_bytes, size_bytes=part.size_bytes
        )
        if self.copy is None or self.copy.extent != extent:
            self._start(extent)
        with progress.phase("copying kernel and ramdisk"):
            self._copy_boot_files(appliance)
        if self.plan.is_edited:
            with progress.phase("editing the fstab"):
                _edit(appliance, self.plan)
        planning.say(self.plan)

    def _copy_boot_files(self, appliance: Appliance) -> None:
        layout, one = self.plan.inspection.layout, self.plan.deployment
        with appliance.mounted(layout.root, boot=layout.boot):
            total = sum(appliance.size_bytes(path) for path in (one.kernel, *one.ramdisks))
            if total > BOOT_FILE_LIMIT_BYTES:
                raise ImageError(f"kernel and ramdisk of this image are too large: {total} bytes")
            base.require_space(self.new, total)
            appliance.copy_out(one.kernel, self._file("kernel"))
            first, *others = one.ramdisks
            appliance.copy_out(first, self._file("ramdisk"))
            part = self.new.parent / "ramdisk"
            for path in others:
                appliance.copy_out(path, part)
                with self._file("ramdisk").open("ab") as joined, part.open("rb") as ramdisk:
                    shutil.copyfileobj(ramdisk, joined)
                part.unlink()

    def finish(self) -> None:
        """Bring the base up to date, describe all, and put the bundle in its place."""
        assert self.copy is not None  # noqa: S101 - looked
        self.copy.finish()
        format_ = self.job.request.base_format
        if self.plan.is_edited:
            base.update(self._file("base"), self.over, self.copy.extent, format_=format_)
        manifest = self._manifest()
        bundle.write_manifest(self.new, manifest)
        self.undo.close()
        self.made = Bundle(directory=self.job.directory, manifest=manifest)

    def _manifest(self) -> Manifest:
        source, inspection = self.job.source, self.plan.inspection
        return Manifest(
            schema=bundle.SCHEMA,
            name=self.job.name,
            source=SourceImage(
                file=source.path.name,
                format=source.format.value,
                virtual_size_bytes=source.virtual_size_bytes,
            ),
            kernel=bundle.describe(self._file("kernel")),
            ramdisk=bundle.describe(self._file("ramdisk")),
            base=Base(
                **asdict(bundle.describe(self._file("base"))),
                format=self.job.request.base_format.value,
                virtual_size_bytes=inspection.base.size_bytes,
                content=inspection_.base_content(inspection),
            ),
            kernel_cmdline=self.plan.kernel_cmdline,
            deployment=planning.deployed(self.plan.deployment),
        )


def _look(works: Sequence[_Work]) -> None:
    """Do all that needs the appliance, for all these images in one session of it."""
    try:
        with progress.phase("starting the appliance"), ExitStack() as launch:
            drives = [work.drive for work in works]
            appliances = launch.enter_context(session.shared(drives))
            running = launch.pop_all()
        with running:
            for work, appliance in zip(works, appliances, strict=True):
                work.attempt(lambda work=work, appliance=appliance: work.look(appliance))
    except Error as error:  # of the appliance itself
        for work in works:
            work.attempt(_raiser(error))


def _raiser(error: Error) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def _edit(appliance: Appliance, decided: Plan) -> None:
    layout = decided.inspection.layout
    if decided.edited is not None:
        with appliance.mounted(layout.root, boot=layout.boot, writable=True):
            appliance.replace(decided.fstab, decided.edited.content)


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
