"""Kill a conversion again and again, and let two of them meet; `killing` has all the points."""

import subprocess
import sys
import time
from pathlib import Path

from tests.functional.imgprep.killing import Place, kill_at, left_since, sockets, whole_and_alone

POINTS = (
    "os.mkdir run-*/bundle 1",
    "guestfs.launch 1+1",
    "guestfs.write 1",
    "os.rename run-*/bundle 1|ctypes.dlsym renameat2 1",
)


def test_a_run_after_killed_ones_finds_its_way_and_keeps_others_out(
    image: Path, tmp_path: Path
) -> None:
    """Each run finds what the killed one before it left; the last one is let through."""
    place = Place(home=tmp_path / "home", before=None)
    place.home.mkdir()
    there = sockets()
    for point in POINTS:
        kill_at(point, image, place)
        assert [path.name for path in place.home.iterdir()] == [".out.imgprep"]
    argv = [sys.executable, "-m", "imgprep", *place.arguments(image)]
    env = place.environment("")
    dead = set(place.home.glob(".out.imgprep/run-*"))
    with subprocess.Popen(argv, env=env, stderr=subprocess.PIPE, text=True) as first:
        limit = time.monotonic() + 60
        while not set(place.home.glob(".out.imgprep/run-*/bundle")) - {
            left / "bundle" for left in dead
        }:
            assert time.monotonic() < limit and first.poll() is None
            time.sleep(0.02)
        second = subprocess.run(argv, env=env, capture_output=True, text=True)
        _out, said = first.communicate()
        assert first.returncode == 0, said
    assert (second.returncode, second.stderr) == (
        1,
        f"imgprep: another imgprep is making {place.out} at this moment"
        " (wait for it, or name another place with -o)\n",
    )
    whole_and_alone(place)
    assert not left_since(there)
