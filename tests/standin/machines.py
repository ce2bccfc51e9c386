"""Boot, stop and end stand-in hosts."""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from provision.lab.processes import descendants
from tests.standin import root, wire

BOOT_S = 120
STOP_S = 100  # systemd kills a unit that does not stop after 90 seconds
KILL_S = 20
POLL_S = 0.1
RUNS = "running-"
# $1 lower, $2 directory of the host, $3 its network namespace; the rest is for LOOP. What is
# mounted here is seen by this process and its children alone.
MOUNT = """\
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root" &&
mount --bind "$3" "$2/network" && shift 3 && exec "$@"
"""
# Runs as the first process of a namespace, all of which ends with it. nspawn leaves with 133 when
# the host reboots. A signal to the group is for nspawn, which has it too.
LOOP = """\
trap : TERM
while :; do
    "$@" &
    nspawn=$!
    wait $nspawn; status=$?
    while kill -0 $nspawn 2>/dev/null; do wait $nspawn; status=$?; done
    [ $status = 133 ] || exit $status
done
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command on a host came to."""

    status: int
    out: str
    err: str


@dataclass(kw_only=True)
class Host:
    """One stand-in host.

    :ivar host_key: its public ssh host key, "ssh-ed25519 BASE64".
    :ivar identity: the private key that root and `ops` let in.
    :ivar directory: of its own files on this machine; `console` there is its console's log.
    """

    name: str
    address: str
    port: int
    host_key: str
    identity: Path
    directory: Path
    _holder: int
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def run(
        self,
        *argv: str,
        user: str = "root",
        stdin: bytes | None = None,
        timeout_s: float = 120,
        ok: bool = True,
    ) -> str:
        """Run words on the host by ssh, as a shell there reads them; return its output.

        :param ok: fail on any status but 0.
        """
        answer = self.ask(*argv, user=user, stdin=stdin, timeout_s=timeout_s)
        assert answer.status == 0 or not ok, f"{self.name}: {argv}: {answer}"
        return answer.out

    def ask(
        self, *argv: str, user: str = "root", stdin: bytes | None = None, timeout_s: float = 120
    ) -> Answer:
        """Run words on the host by ssh, as a shell there reads them, whatever comes of it."""
        known = self.directory / "known_hosts"
        options = ["BatchMode=yes", f"UserKnownHostsFile={known}", "StrictHostKeyChecking=yes"]
        options += ["ConnectTimeout=5", "IdentitiesOnly=yes", "LogLevel=ERROR"]
        done = subprocess.run(
            [
                *("ssh", "-F", "none", "-i", self.identity, "-p", str(self.port)),
                *(word for option in options for word in ("-o", option)),
                *(f"{user}@{self.address}", "--", *argv),
            ],
            **({"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}),
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
        said = (done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
        return Answer(status=done.returncode, out=said[0], err=said[1])

    def start(self, *, wait: bool = True) -> None:
        """Switch the host on, unless it is; wait until it lets root in."""
        if self._process is None or self._process.poll() is not None:
            self._process = _boot(self)
        if wait:
            self.wait()

    def wait(self, timeout_s: float = BOOT_S) -> None:
        """Wait until the host lets root in."""
        deadline = time.monotonic() + timeout_s
        while (answer := self.ask("true")).status != 0:
            ended = self._process is None or self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                console = (self.directory / "console").read_text(errors="replace")[-2000:]
                raise AssertionError(f"{self.name} does not answer: {answer.err}\n{console}")
            time.sleep(POLL_S)

    def stop(self) -> None:
        """Shut the host down in good order."""
        if self._process:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(STOP_S)

    def cut(self) -> None:
        """Cut the host's power."""
        if self._process:
            _kill(self._process)

    def reboot(self) -> None:
        """Shut the host down and switch it on again; wait until it lets root in."""
        self.stop()
        self.start()

    @property
    def is_on(self) -> bool:
        return self._process is not None and self._process.poll() is None


class Hosts(tuple[Host, ...]):
    """Stand-in hosts on one wire.

    :ivar wire_address: this machine's address there.
    :ivar directory: of their files on this machine; goes with them.
    """

    wire_address: str
    directory: Path


@contextmanager
def hosts(count: int) -> Iterator[Hosts]:
    """Boot so many stand-in hosts at once; `standin-1`, and so on. They end with the block."""
    lower = root.root()
    home = lower.parent.parent
    _remove_unowned(home)
    top = Path(tempfile.mkdtemp(prefix=f"{RUNS}{os.getpid()}-", dir=home))
    try:
        with wire.wire() as net:
            identity = _key(top / "identity")
            joined = [net.join() for _ in range(count)]
            made = [
                _make(top, f"standin-{number}", address, holder, identity)
                for number, (address, holder) in enumerate(joined, 1)
            ]
            _introduce(made, net.address)
            found = Hosts(made)
            found.wire_address, found.directory = net.address, top
            try:
                for host in made:
                    host.start(wait=False)
                for host in made:
                    host.wait()
                yield found
            finally:
                for host in made:
                    host.cut()
    finally:
        shutil.rmtree(top)


def _remove_unowned(home: Path) -> None:
    """Remove the files of hosts whose owner was killed."""
    for left in home.glob(f"{RUNS}*"):
        if not Path("/proc", left.name.removeprefix(RUNS).partition("-")[0]).exists():
            shutil.rmtree(left, ignore_errors=True)


def _make(top: Path, name: str, address: str, holder: int, identity: Path) -> Host:
    """Write what makes a host itself over the common root: name, keys."""
    directory = top / name
    for part in ("upper", "work", "root", "containers"):
        (directory / part).mkdir(parents=True)
    (directory / "network").touch()
    upper = directory / "upper"
    (upper / "etc" / "ssh").mkdir(parents=True)
    (upper / "etc" / "hostname").write_text(f"{name}\n")
    key = _key(upper / "etc" / "ssh" / "ssh_host_ed25519_key")
    public = " ".join(key.with_suffix(".pub").read_text().split()[:2])
    (directory / "known_hosts").write_text(f"{address} {public}\n")
    for home, uid in (("root", 0), (f"home/{root.USER}", 1000)):
        if home != "root":
            (upper / "home").mkdir()
        (upper / home).mkdir(mode=0o700)
        (upper / home / ".ssh").mkdir(mode=0o700)
        allowed = upper / home / ".ssh" / "authorized_keys"
        shutil.copyfile(identity.with_suffix(".pub"), allowed)
        for path in (upper / home, allowed.parent, allowed):
            os.chown(path, uid, uid)
    return Host(
        name=name,
        address=address,
        port=22,
        host_key=public,
        identity=identity,
        directory=directory,
        _holder=holder,
    )


def _introduce(made: list[Host], wire_address: str) -> None:
    """Let each host know the others and the registry by name."""
    lines = ["127.0.0.1 localhost", f"{wire_address} registry.lab"]
    lines += [f"{host.address} {host.name}" for host in made]
    for host in made:
        (host.directory / "upper" / "etc" / "hosts").write_text("\n".join(lines) + "\n")


def _boot(host: Host) -> subprocess.Popen[bytes]:
    directory = host.directory
    nspawn: list[str | Path] = [
        *("systemd-nspawn", "--boot", "--register=no", "--directory", directory / "root"),
        *(f"--machine={host.name}", f"--network-namespace-path={directory / 'network'}"),
        *("--console=pipe", "--resolv-conf=off", "--timezone=off", "--link-journal=no"),
        *("--capability=all", "--system-call-filter=add_key keyctl bpf"),
        # podman's layers cannot lie on an overlay
        f"--bind={directory / 'containers'}:/var/lib/containers",
    ]
    if not Path("/run/systemd/system").exists():  # else it asks systemd for a unit of its own
        nspawn.append("--keep-unit")
    with (directory / "console").open("ab") as console:
        return subprocess.Popen(
            [
                *(*wire.tied(), "unshare", "--mount", "--propagation", "private"),
                *("sh", "-c", MOUNT, "sh", root.root(), directory),
                f"/proc/{host._holder}/ns/net",
                *("unshare", "--pid", "--fork", "--kill-child", "--mount-proc"),
                *("sh", "-c", LOOP, "sh", *nspawn),
            ],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={
                **os.environ,
                "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
                "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",  # podman's networks set /proc/sys/net
            },
        )


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a host, and wait until it is gone to its last process: they hold its files."""
    with contextlib.ExitStack() as stack:
        handles = []
        for one in descendants(process.pid):
            with contextlib.suppress(ProcessLookupError):
                handle = os.pidfd_open(one.pid)
                stack.callback(os.close, handle)
                handles.append(handle)
        process.kill()
        process.wait(KILL_S)
        deadline = time.monotonic() + KILL_S
        while handles:
            ended, _, _ = select.select(handles, [], [], max(0, deadline - time.monotonic()))
            assert ended, f"{len(handles)} processes of a stand-in host did not end when killed"
            handles = [handle for handle in handles if handle not in ended]


def _key(path: Path) -> Path:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "standin", "-f", path], check=True
    )
    return path
