"""Make the stand-ins' network: namespaces that live as long as their processes, and have no names.

    this machine           namespace of the bridge         namespace of each host
    standin-N, .1 --veth-- uplink | bridge | h-11  --veth-- eth0, .11

So killing the processes is all it takes to remove it.
"""

import contextlib
import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from provision.lab import network, record
from provision.lab.model import choose_subnet

FIRST_HOST = 11
IP_S = 20
END_S = 10


@dataclass(kw_only=True)
class Wire:
    """A bridge, and this machine's wire into it.

    :ivar address: of this machine on the wire.
    """

    subnet: int
    stack: ExitStack
    bridge: int
    hosts: int = field(default=0)

    @property
    def address(self) -> str:
        return f"192.168.{self.subnet}.1"

    def join(self) -> tuple[str, int]:
        """Make a network for another host; return its address, and who holds its namespace."""
        number = FIRST_HOST + self.hosts
        self.hosts += 1
        address = f"192.168.{self.subnet}.{number}"
        holder = _hold(self.stack)
        port = f"h-{number}"
        inside(
            self.bridge,
            *("link", "add", port, "type", "veth"),
            *("peer", "name", "eth0", "netns", str(holder)),
        )
        inside(self.bridge, "link", "set", port, "master", "bridge", "up")
        inside(holder, "address", "add", f"{address}/24", "dev", "eth0")
        for name in ("lo", "eth0"):
            inside(holder, "link", "set", name, "up")
        return address, holder


@contextmanager
def wire() -> Iterator[Wire]:
    """Make a bridge on a free network; all of it goes at the end of the block."""
    with ExitStack() as stack:
        bridge = _hold(stack)
        with network.choosing():
            others = [lab.network for lab in record.load_all()]
            subnet = choose_subnet([*network.taken(), *others])
            end = f"standin-{subnet}"
            _ip(
                *("link", "add", end, "type", "veth"),
                *("peer", "name", "uplink", "netns", str(bridge)),
            )
            _ip("address", "add", f"192.168.{subnet}.1/24", "dev", end)
            _ip("link", "set", end, "up")
        inside(bridge, "link", "add", "bridge", "type", "bridge")
        inside(bridge, "link", "set", "uplink", "master", "bridge", "up")
        inside(bridge, "link", "set", "bridge", "up")
        # its peer would take it along, but only once the kernel gets round to it
        stack.callback(_forget, end)
        yield Wire(subnet=subnet, stack=stack, bridge=bridge)


def tied() -> list[str]:
    """Word that a process dies with this one: with its thread, says the kernel, so the main one."""
    if threading.current_thread() is not threading.main_thread():
        return []
    return ["setpriv", "--pdeathsig", "KILL"]


def inside(holder: int, *words: str) -> None:
    """Run ip(8) in the network namespace of a process."""
    _run("nsenter", f"--net=/proc/{holder}/ns/net", "ip", *words)


def _hold(stack: ExitStack) -> int:
    """Start a process that keeps a new network namespace; return its number."""
    words = [*tied(), "unshare", "--net", "sh", "-c", "echo; exec sleep infinity"]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    stack.callback(_end, process)
    assert process.stdout
    # the namespace is there once it speaks
    assert process.stdout.readline(), f"{words[0]} made no network namespace"
    return process.pid


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait(END_S)
    if process.stdout:
        process.stdout.close()


def _forget(link: str) -> None:
    with contextlib.suppress(subprocess.CalledProcessError):
        _ip("link", "delete", link)


def _ip(*words: str) -> None:
    _run("ip", *words)


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=IP_S, check=False)
    if done.returncode:
        raise subprocess.CalledProcessError(
            done.returncode, json.dumps(words), done.stdout, done.stderr
        )
