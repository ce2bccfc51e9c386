"""Kill conversions at chosen points, run them again, and look for what is lost or left.

python -m tests.functional.imgprep.killing IMAGE [TIMES]     all points, so often each; 3 by default

Each kill is followed by a run of its own to the end.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from atomic_baremetal import paths
from imgprep import bundle
from imgprep.bundle import Bundle

HERE = Path(__file__).parent
MARK = "IMGPREP_TEST_RUN"
GONE_S = 10.0  # libguestfs looks every two seconds whether its caller is alive
POINTS = (
    "os.mkdir {home}/.out.imgprep 1",
    "open {home}/.out.imgprep 1",
    "fcntl.flock 1",
    "os.mkdir .out.imgprep/run-* 1",
    "os.mkdir run-*/bundle 1",
    "start qemu-img create 1",
    "start qemu-img convert 1",
    "open run-*/sectors 1",
    "start qemu-img convert 2",
    "guestfs.set_tmpdir 1",
    "guestfs.launch 1",
    "guestfs.launch 1+0.05",
    "guestfs.debug 1",
    "guestfs.debug 1+0.05",
    "guestfs.debug 1+0.5",
    "guestfs.blkid 1",
    "guestfs.lvs 1",
    "guestfs.mount_ro 2+0.1",
    "guestfs.pread 1",
    "guestfs.download 1",
    "guestfs.download 2",
    "guestfs.remount 1",
    "guestfs.write 1",
    "guestfs.shutdown 1",
    "guestfs.shutdown 1+0.02",
    "start qemu-img map 1",
    "open run-*/piece-1 1",
    "start qemu-io unsafe 1",
    "start qemu-io unsafe 1+0.02",
    "os.remove run-*/piece-0 1",
    "open bundle/small-base 1",
    "open bundle/small.json 1",
    "open bundle/small-base 2",
    "os.rename run-*/bundle 1|ctypes.dlsym renameat2 1",
    "shutil.rmtree {home}/.out.imgprep 1",
    "os.rmdir {home}/.out.imgprep 1",
    # of a run that has no saved appliance to go on with, and saves one
    "first: os.mkdir saved/new-* 1",
    "first: guestfs.launch 1+0.05",
    "first: guestfs.launch 1+3",
    "first: guestfs.debug 1+0.5",
    "first: connect monitor 1",
    "first: connect monitor 1+0.05",
    "first: os.rename saved/new-* 1",
    "first: guestfs.launch 2",
)
FIRST = "first: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A directory that the bundle `out` is made in, and a run's environment.

    :param before: what a bundle that was there before the kill says, None when there was none.
    :param first: no appliance was saved on this machine yet.
    """

    home: Path
    before: Bundle | None
    first: bool = False

    @property
    def out(self) -> Path:
        return self.home / "out"

    def arguments(self, image: Path) -> tuple[str | Path, ...]:
        return ("atomic-to-pxe", image, "-o", self.out, "--name", "small")

    def environment(self, mark: str) -> dict[str, str]:
        temporary = self.home.with_suffix(".tmp")
        temporary.mkdir(exist_ok=True)
        # the appliance is cached where temporary files go, unless told otherwise
        own = {MARK: mark, "TMPDIR": str(temporary), "LIBGUESTFS_CACHEDIR": "/var/tmp"}
        if self.first:
            own["XDG_CACHE_HOME"] = str(self.cache)
            verdict = Path("appliance", "accelerator.json")  # is not made anew
            made = self.cache / paths.NAME / verdict
            made.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(paths.cache() / verdict, made)
        return {**os.environ, **own, "PYTHONPATH": str(HERE.parents[2])}

    @property
    def cache(self) -> Path:
        return self.home.with_suffix(".cache")


def kill_at(point: str, image: Path, place: Place) -> None:
    """Run until the point, and check what is there right after the kill.

    The final name holds what was there before, the whole new bundle, or nothing; and no process of
    that run is left after a while.
    """
    mark = uuid.uuid4().hex
    point = point.removeprefix(FIRST).format(home=place.home.name)
    argv = [sys.executable, HERE / "killed.py", point, *place.arguments(image)]
    done = subprocess.run(argv, env=place.environment(mark), capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, (point, done.returncode, done.stderr)
    if place.out.exists() or place.before is not None:
        bundle.verify(bundle.load(place.out))
    limit = time.monotonic() + GONE_S
    while alive := marked(mark):
        assert time.monotonic() < limit, (point, alive)
        time.sleep(0.1)


def run_again(image: Path, place: Place) -> Bundle:
    """Run to the end, and check that nothing else is there afterwards."""
    mark = uuid.uuid4().hex
    argv = [sys.executable, "-m", "imgprep", *place.arguments(image)]
    done = subprocess.run(argv, env=place.environment(mark), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    made = whole_and_alone(place)
    assert marked(mark) == []
    return made


def whole_and_alone(place: Place) -> Bundle:
    """Check that there is a bundle, all of it, and nothing else."""
    made = bundle.load(place.out)
    bundle.verify(made)
    assert [path.name for path in place.home.iterdir()] == ["out"]
    assert sorted(path.name for path in place.out.iterdir()) == [
        *("small-base", "small-kernel", "small-ramdisk", "small.json")
    ]
    assert list(place.home.with_suffix(".tmp").iterdir()) == []
    if place.first:
        saved = place.cache / paths.NAME / "appliance" / "saved"
        assert [path.name for path in saved.iterdir()] == ["512"]
    return made


def marked(mark: str) -> list[str]:
    """List the processes that came from one run, whosever children they are by now."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if wanted in environ.read_bytes().split(b"\0"):
                found.append((environ.parent / "cmdline").read_text().replace("\0", " ")[:80])
        except OSError:
            continue  # it has ended
    return [command for command in found if command]


def sockets() -> set[Path]:
    """List the appliances' sockets that nobody holds."""
    in_use = {line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines()}
    return {path for path in Path("/tmp").glob("libguestfs??????/*") if str(path) not in in_use}


def left_since(there: set[Path]) -> set[Path]:
    """List the sockets that are new and stay: another program's session may just be ending."""
    limit = time.monotonic() + GONE_S
    left = sockets() - there
    while left and time.monotonic() < limit:
        time.sleep(0.5)
        left &= sockets()
    return left


def old_bundle(like: Bundle, out: Path) -> Bundle:
    """Put another bundle of the same name in the place."""
    shutil.copytree(like.directory, out)
    manifest = replace(like.manifest, kernel_cmdline="root=old")
    bundle.write_manifest(out, manifest)
    return Bundle(directory=out, manifest=manifest)


def main() -> None:
    image = Path(sys.argv[1]).absolute()
    times = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    work = Path(f"killing-{os.getpid()}").absolute()
    (work / "first").mkdir(parents=True)
    first = run_again(image, Place(home=work / "first", before=None))
    wrong = 0
    for turn, (at, point) in product(range(times), enumerate(POINTS)):
        home = work / f"{at}-{turn}"
        home.mkdir()
        # every other time there is a bundle already, which must not be lost
        before = old_bundle(first, home / "out") if turn % 2 else None
        place = Place(home=home, before=before, first=point.startswith(FIRST))
        wrong += not is_as_wanted(point, image, place)
        for path in (home, home.with_suffix(".tmp"), place.cache):
            shutil.rmtree(path, ignore_errors=True)
    print(f"{len(POINTS)} points, {times} times each: {wrong} wrong", flush=True)
    shutil.rmtree(work)
    sys.exit(wrong > 0)


def is_as_wanted(point: str, image: Path, place: Place) -> bool:
    """Kill at one point, then run to the end; say how that went."""
    there, verdict, began = sockets(), "ok", time.monotonic()
    killed = began
    try:
        kill_at(point, image, place)
        killed = time.monotonic()
        made = run_again(image, place)
        assert made.manifest.kernel_cmdline != "root=old"
        assert not (left := left_since(there)), left
    except AssertionError as error:
        verdict = f"WRONG: {str(error)[-500:]}"
    ended = time.monotonic()
    print(f"{point:60} {killed - began:5.1f} s + {ended - killed:4.1f} s {verdict}", flush=True)
    return verdict == "ok"


if __name__ == "__main__":
    main()
