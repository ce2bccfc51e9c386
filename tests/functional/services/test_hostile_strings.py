"""Send hostile strings through all that lies between a services file and a container.

Real podman under a real systemd says what arrived: byte for byte what was given, or it was refused
before. Strings travel in bulk, so that it takes seconds.
"""

import io
import json
import re
import tarfile
from collections.abc import Iterator

import pytest

from provision.services.model import Healthcheck, Mount, MountKind, NetworkMode, Project, Service
from provision.services.unit import podman, render
from provision.services.unit.systemd_unit import PODMAN
from tests import quadlet, standin
from tests.hostile_strings import STRINGS
from tests.standin import Host

IMAGE = "localhost/tiny:1"
LOAD = f"""\
cat > /root/tiny.tar && podman load -q -i /root/tiny.tar && podman tag $(podman images -q) {IMAGE}
"""
DIGEST = f"registry.lab:5000/tiny@sha256:{'0' * 64}"
VARIABLES = tuple(
    (f"V{number}", one) for number, one in enumerate(STRINGS) if "\r\n" not in one
)  # the others are refused: tests/unit/provision/services/unit/test_render.py
LABELS = tuple((f"l{number}", one) for number, one in enumerate(STRINGS))
# names of directories: short enough, no slash, and not what podman refuses
NAMES = tuple(
    f"{number}{one}"
    for number, one in enumerate(STRINGS)
    if "/" not in one and "\r\n" not in one and len(one.encode()) < 200
)
TELL = """\
cat /proc/self/environ > /out/environ
cat /proc/self/mountinfo > /out/mountinfo
printf '%s\\0' "$@" > /out/words
trap 'exit 0' TERM
while :; do sleep 100 & wait $!; done
"""
TELL_HEALTH = "printf '%s\\0' \"$@\" > /out/health"
RECORDER = "#!/bin/sh\nprintf '%s\\0' \"$@\" > /root/words\n"
ONCE = """\
[Service]
Type=oneshot
Restart=no
ExecStartPost=
ExecStop=
ExecStopPost=
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    standin.need()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.add(standin.tiny(tmp_path_factory.mktemp("images")), arcname=".")
    with standin.hosts(1) as hosts:
        hosts[0].run(LOAD, stdin=packed.getvalue())
        yield hosts[0]


def service() -> Service:
    out = Mount(kind=MountKind.BIND, source="/out", target="/out")
    return Service(
        name="all",
        image=IMAGE,
        user="0:0",
        network_mode=NetworkMode.HOST,
        command=("/bin/sh", "-c", TELL, "tell", *STRINGS),
        environment=VARIABLES,
        labels=LABELS,
        mounts=(
            out,
            *(
                Mount(kind=MountKind.BIND, source=f"/from/{one}", target=f"/to/{one}")
                for one in NAMES
            ),
        ),
        healthcheck=Healthcheck(
            test=("/bin/sh", "-c", TELL_HEALTH, "tell", *STRINGS), start_period_s=60
        ),
    )


def unit(version: podman.Version, pinned: str) -> str:
    project = Project(name="hostile", services={"all": service()})
    return render.render(project, "all", pinned=pinned, beside=(), podman=version).text


def read(host: Host, path: str) -> tuple[str, ...]:
    """Read what a program on the host got: texts, a NUL behind each."""
    listed = host.run(f"od -An -v -tx1 {path}")
    return tuple(bytes.fromhex(listed).decode().split("\0")[:-1])


def directories() -> bytes:
    packed = io.BytesIO()
    # names as they are: those of the pax format are converted to what the host's locale is
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name in NAMES:
            entry = tarfile.TarInfo(f"from/{name}")
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
    return packed.getvalue()


def mounts(lines: str) -> set[tuple[str, str]]:
    """Read /proc/PID/mountinfo: what is mounted of its file system, and where."""

    def path(field: str) -> str:
        octets = re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), field.encode())
        return octets.decode()

    fields = (line.split(" ") for line in lines.split("\n") if line)
    return {(path(one[3]), path(one[4])) for one in fields}


def test_five_hundred_strings_reach_a_container_byte_for_byte(host: Host) -> None:
    assert min(len(VARIABLES), len(LABELS), len(NAMES)) >= 500
    host.run("mkdir -p /out && tar -C / -x", stdin=directories())
    place = "/etc/systemd/system/hostile-all.service"
    host.run(f"cat > {place} && systemctl daemon-reload", stdin=unit((4, 3, 1), IMAGE).encode())
    host.run("systemctl start hostile-all || { journalctl -u hostile-all -n 30 >&2; exit 1; }")
    try:
        assert read(host, "/out/words") == STRINGS
        assert read(host, "/out/health") == STRINGS
        told = dict(one.split("=", 1) for one in read(host, "/out/environ"))
        assert {name: told.get(name) for name, _ in VARIABLES} == dict(VARIABLES)
        labels = json.loads(
            host.run("podman inspect --format='{{json .Config.Labels}}' hostile-all")
        )
        assert {name: labels.get(name) for name, _ in LABELS} == dict(LABELS)
        lines = bytes.fromhex(host.run("od -An -v -tx1 /out/mountinfo")).decode()
        there = {(source.rpartition("/from/")[2], to) for source, to in mounts(lines)}
        assert {(one, f"/to/{one}") for one in NAMES} - there == set()
    finally:
        host.run("systemctl stop hostile-all")


@pytest.mark.parametrize("version", [(4, 4, 0), (4, 9, 5), (5, 4, 2)])
def test_systemd_hands_on_byte_for_byte_what_quadlet_made(
    host: Host, version: podman.Version
) -> None:
    made = quadlet.generate(quadlet.program(), "hostile-words", unit(version, DIGEST))
    begin = f"\nExecStart={PODMAN} "
    assert made.count(begin) == 1
    files = {
        "hostile-words.service": made.replace(begin, "\nExecStart=/root/recorder "),
        "hostile-words.service.d/once.conf": ONCE,
    }
    host.run("cat > /root/recorder && chmod +x /root/recorder", stdin=RECORDER.encode())
    host.run("mkdir -p /etc/systemd/system/hostile-words.service.d")
    for name, text in files.items():
        host.run(f"cat > /etc/systemd/system/{name}", stdin=text.encode())
    host.run("rm -f /root/words && systemctl daemon-reload && systemctl start hostile-words")
    words = read(host, "/root/words")
    assert words[-len(STRINGS) :] == STRINGS
    values = set(words)
    assert {f"{name}={value}" for name, value in VARIABLES} - values == set()
    assert {f"{name}={value}" for name, value in LABELS} - values == set()
    cid = "--cidfile=/run/hostile-words.cid"
    expected = tuple(cid if "--cidfile" in word else word for word in quadlet.exec_start(made))
    assert words == expected[1:]
