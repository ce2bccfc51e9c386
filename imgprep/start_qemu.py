"""Start qemu for libguestfs, with an appliance that boots faster, or has booted already.

libguestfs runs this program as its qemu; what is wanted comes in the environment, from
`imgprep.hypervisor`. It has the standard library and nothing else.
"""

import json
import os
import re
import socket
import sys
from pathlib import Path
from typing import Any

SETTINGS = "IMGPREP_QEMU"
# what a saved appliance consists of, and the socket to save it through
IDENTITY, ROOT, MEMORY, MONITOR = "identity.json", "root.qcow2", "memory", "monitor"
GREETING = 0xF5F55FF5.to_bytes(4, "big")  # GUESTFS_LAUNCH_FLAG: what guestfsd says first


def main() -> None:
    """Become qemu; it ends when its caller does."""
    settings, words = json.loads(os.environ[SETTINGS]), sys.argv[1:]
    if "-kernel" in words:  # else it is only asked what it can do
        words = changed(words, settings)
    os.execvp("setpriv", ["setpriv", "--pdeathsig", "KILL", "--", settings["qemu"], *words])  # noqa: S606 - it takes this one's place


def changed(words: list[str], settings: dict[str, Any]) -> list[str]:
    """Start the unpacked kernel, if the packed one is still what was unpacked.

    And make ready to save the appliance, or go on with a saved one, if that is wanted.
    """
    kernel = words.index("-kernel") + 1
    if Path(words[kernel]).samefile(settings["packed"]):
        words = [*words[:kernel], settings["unpacked"], *words[kernel + 1 :]]
    if settings["saving"]:
        return saved(words, Path(settings["saving"]), settings["qemu"])
    if settings["resuming"]:
        return resumed(words, Path(settings["resuming"]), settings["qemu"])
    return words


def saved(words: list[str], place: Path, qemu: str) -> list[str]:
    """Boot from an overlay that can be kept, with a monitor to save the memory through."""
    (place / IDENTITY).write_text(json.dumps(identity(words, qemu)))
    monitor = ["-qmp", f"unix:{place / MONITOR},server=on,wait=off"]
    return [*_with_root(words, f"file={place / ROOT}"), *monitor]


def resumed(words: list[str], place: Path, qemu: str) -> list[str]:
    """Go on where an appliance was saved; its greeting, which was said then, is said for it."""
    if json.loads((place / IDENTITY).read_text()) != identity(words, qemu):
        sys.exit("imgprep: what was saved is not of this appliance")
    channel = next(one for one in words if one.endswith(",id=channel0"))
    daemon = socket.socket(socket.AF_UNIX)
    daemon.connect(_value("path", channel))
    daemon.sendall(GREETING)
    connected, memory = daemon.detach(), os.open(place / MEMORY, os.O_RDONLY)
    os.set_inheritable(connected, True)
    os.set_inheritable(memory, True)
    words = [f"socket,fd={connected},id=channel0" if one is channel else one for one in words]
    words = _with_root(words, f"file={place / ROOT},snapshot=on")
    return [*words, "-incoming", f"fd:{memory}"]


def identity(words: list[str], qemu: str) -> list[Any]:
    """Return what has to be the same for a saved appliance to be of use.

    That is all but the image, the socket, and what is only there to be read. When the appliance is
    built anew, its root gets another UUID, which is among the kernel's arguments.
    """
    same = [re.sub(r" (guestfs_verbose|TERM)=\S*", "", one) for one in words]
    same = [one for one in same if not one.endswith(",id=channel0") and ",id=hd0," not in one]
    root = _value("file", _root_drive(words))
    named = [qemu, root, *(words[words.index(one) + 1] for one in ("-kernel", "-initrd"))]
    status = [Path(one).stat() for one in named]
    return [same, [[one.st_dev, one.st_ino, one.st_size] for one in status]]


def _root_drive(words: list[str]) -> str:
    return next(one for one in words if ",id=appliance," in one)


def _with_root(words: list[str], file: str) -> list[str]:
    drive = _root_drive(words)
    kept = f"{file},id=appliance,cache=unsafe,if=none,format=qcow2"
    return [kept if one is drive else one for one in words]


def _value(key: str, option: str) -> str:
    """Return a value of one of qemu's options; a comma in it is written twice."""
    found = re.search(rf"(?:^|,){key}=((?:[^,]|,,)*)", option)
    return found[1].replace(",,", ",") if found else ""


if __name__ == "__main__":
    main()
