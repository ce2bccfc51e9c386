"""Run the scripts for nodes on this machine, in a directory, with a podman and systemctl that have
state but run nothing."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from provision.services.host import Observed, OnNode
from provision.services.node import observed, ssh_host
from provision.services.node.observed import Places

# A unit is up when its text, as it was at the last daemon-reload, does not say "broken".
SYSTEMCTL = r"""#!/bin/sh
echo "systemctl $*" >>"$FAKE/log"
verb=
set_verb() { [ -n "$verb" ] || verb=$1; }
units=
while [ $# -gt 0 ]; do
    case $1 in
        -p) shift ;;
        --version) echo "systemd 252 (252.39-1)"; exit ;;
        -*) ;;
        *.service) units="$units ${1%.service}" ;;
        *) set_verb "$1" ;;
    esac
    shift
done
case $verb in
    daemon-reload)
        rm -rf "$FAKE/loaded"; mkdir -p "$FAKE/loaded"
        for file in "$QUADLET"/*.container "$UNITS"/*.service; do
            [ ! -e "$file" ] || { name=${file##*/}; cp "$file" "$FAKE/loaded/${name%.*}"; }
        done ;;
    enable) for unit in $units; do
        [ -e "$UNITS/$unit.service" ] || { echo "no $unit" >&2; exit 1; }; touch "$FAKE/on/$unit"
    done ;;
    disable) for unit in $units; do rm -f "$FAKE/on/$unit"; done ;;
    restart)
        [ ! -e "$FAKE/hang" ] || sleep 60
        for unit in $units; do
            rm -f "$FAKE/up/$unit"
            [ -e "$FAKE/loaded/$unit" ] || { echo "Unit $unit.service not found." >&2; exit 5; }
            ! grep -q broken "$FAKE/loaded/$unit" || { echo "Job for $unit failed." >&2; exit 1; }
            cp "$FAKE/loaded/$unit" "$FAKE/up/$unit"
        done ;;
    stop) for unit in $units; do rm -f "$FAKE/up/$unit"; done ;;
    reset-failed) ;;
    show) for unit in $units; do
        echo "Id=$unit.service"
        if [ -e "$FAKE/up/$unit" ]; then echo ActiveState=active; echo SubState=running
        else echo ActiveState=inactive; echo SubState=dead; fi
        echo NRestarts=0
        if [ -e "$FAKE/vendor/$unit" ]; then echo "FragmentPath=/lib/systemd/system/$unit.service"
        elif [ -e "$UNITS/$unit.service" ]; then echo "FragmentPath=$UNITS/$unit.service"
        else echo FragmentPath=; fi
        if [ ! -e "$UNITS/$unit.service" ]; then echo UnitFileState=
        elif [ -e "$FAKE/on/$unit" ]; then echo UnitFileState=enabled
        else echo UnitFileState=disabled; fi
        echo
    done ;;
    *) echo "unknown verb $verb" >&2; exit 64 ;;
esac
"""
PODMAN = r"""#!/bin/sh
echo "podman $*" >>"$FAKE/log"
case "$1 $2" in
    "--version ") echo "podman version ${PODMAN_VERSION:-4.3.1}" ;;
    "secret ls") ls "$FAKE/secrets" ;;
    "secret create")
        [ ! -e "$FAKE/secrets/$3" ] || { echo "Error: $3: secret name in use" >&2; exit 125; }
        cp "$4" "$FAKE/secrets/.new" && mv "$FAKE/secrets/.new" "$FAKE/secrets/$3" ;;
    "secret rm") rm "$FAKE/secrets/$3" ;;
    "ps -a" | "rm -f") ;;
    "images --digests") cat "$FAKE/images" ;;
    "container inspect") exit 125 ;;
    *) echo "unknown: $*" >&2; exit 64 ;;
esac
"""
# stands for a program: at its KILL_AT-th use of all such programs, the script is killed instead
KILLER = r"""#!/bin/sh
count=$(($(cat "$FAKE/count" 2>/dev/null || echo 0) + 1))
echo $count >"$FAKE/count"
if [ "$count" = "$KILL_AT" ]; then
    kill -9 "$(cat "$FAKE/script")"
    exit 1
fi
exec REAL "$@"
"""
KILLERS = ("mv", "cp", "rm", "sync", "mkdir", "chmod", "tar")


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What became of a script."""

    status: int
    output: bytes
    errors: str


class Node:
    """A directory that is a node to the scripts."""

    def __init__(self, top: Path, *, like: "Node | None" = None) -> None:
        """Make a node without anything, or a copy of another."""
        if like is not None:
            shutil.copytree(like.top, top, symlinks=True)
        self.top = top
        self.fake = top / "fake"
        self.places = Places(
            state=str(top / "state"),
            quadlet=str(top / "quadlet"),
            units=str(top / "units"),
            owner=f"{os.geteuid()}:{os.getegid()}",
        )
        for name in ("bin", "killers", "secrets", "on", "up", "vendor", "loaded"):
            (self.fake / name).mkdir(parents=True, exist_ok=True)
        (top / "units").mkdir(exist_ok=True)
        (self.fake / "images").write_text("[]")
        for name, text in (("systemctl", SYSTEMCTL), ("podman", PODMAN)):
            self._program("bin", name, text)
        self._program("bin", "journalctl", "#!/bin/sh\n")
        for name in KILLERS:
            self._program("killers", name, KILLER.replace("REAL", f"/bin/{name}"))
        for name in ("systemctl", "podman"):
            real = str(self.fake / "bin" / name)
            self._program("killers", name, KILLER.replace("REAL", real))

    def _program(self, directory: str, name: str, text: str) -> None:
        path = self.fake / directory / name
        path.write_text(text)
        path.chmod(0o755)

    def run(
        self,
        verb: str,
        *words: str,
        data: bytes = b"",
        project: str = "p",
        kill_at: int | None = None,
        lock_s: float = 5,
        shell: str = "sh",
    ) -> Done:
        """Run a verb's script to its end.

        :param kill_at: kill it, as a power cut would, in place of its n-th use of a program that
            changes something.
        """
        stdin = ssh_host.compose(
            verb,
            project,
            *words,
            lock_s=lock_s,
            places=self.places,
            run=str(self.top / "run"),
            containers=str(self.top / "containers"),
        )
        (self.fake / "count").unlink(missing_ok=True)
        killers = [] if kill_at is None else [str(self.fake / "killers")]
        path = ":".join([*killers, str(self.fake / "bin"), os.environ["PATH"]])
        process = subprocess.Popen(
            [shell, "-c", f'echo $$ >"$FAKE/script"; {ssh_host.RUN_SCRIPT}'],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={
                "PATH": path,
                "FAKE": str(self.fake),
                "UNITS": self.places.units,
                "QUADLET": self.places.quadlet,
                "KILL_AT": str(kill_at),
            },
        )
        output, errors = process.communicate(stdin + data, timeout=60)
        return Done(status=process.returncode, output=output, errors=errors.decode())

    def observe(self, project: str = "p") -> Observed:
        done = self.run("observe", project=project)
        assert (done.status, done.errors) == (0, "")
        return observed.parse(done.output, project, self.places)

    def service(self, name: str = "web") -> OnNode:
        return self.observe().services[name]

    def secrets(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.fake / "secrets").iterdir()}

    def log(self) -> list[str]:
        """What podman and systemctl were asked."""
        path = self.fake / "log"
        return path.read_text().splitlines() if path.exists() else []
