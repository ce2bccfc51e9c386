"""Running diskimage-builder: what it is given, and what is left when it fails."""

import json
import sys
from pathlib import Path

import pytest

from atomic_baremetal.errors import Error
from provision.lab import dib

RECORDER = """\
#!/bin/sh
printf '%s\\n' "$@" > {directory}/argv
"""


def fake(directory: Path, name: str, text: str) -> None:
    path = directory / name
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of fake programs, in front of the real ones; no loop devices."""
    directory = tmp_path / "bin"
    directory.mkdir()
    fake(directory, "losetup", "#!/bin/sh\n")
    fake(directory, "setpriv", RECORDER.format(directory=tmp_path))
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    return directory


def test_the_build_gets_namespaces_and_only_the_environment_given(
    programs: Path, tmp_path: Path
) -> None:
    dib.run(
        "disk-image-create",
        *("-o", tmp_path / "root"),
        environment={"ONE": "1", "TWO": "a b"},
        work=tmp_path,
        log=tmp_path / "log",
    )
    assert (tmp_path / "argv").read_text().splitlines() == [
        *("--pdeathsig", "KILL"),
        *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
        *("env", "-i", "ONE=1", "TWO=a b"),
        str(Path(sys.executable).with_name("disk-image-create")),
        *("-o", str(tmp_path / "root")),
    ]


def test_a_failure_carries_the_end_of_the_log(programs: Path, tmp_path: Path) -> None:
    fake(programs, "setpriv", "#!/bin/sh\nexit 3\n")
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(20)))
    with pytest.raises(Error) as caught:
        dib.run("x", environment={}, work=tmp_path, log=log)
    last = "\n".join(f"  line {number}" for number in range(12, 20))
    assert str(caught.value) == (
        f"diskimage-builder failed: setpriv failed with status 3\n{last} (the whole log: {log})"
    )


def test_a_failure_before_any_log_says_so(programs: Path, tmp_path: Path) -> None:
    fake(programs, "setpriv", "#!/bin/sh\nexit 3\n")
    log = tmp_path / "log"
    with pytest.raises(Error) as caught:
        dib.run("x", environment={}, work=tmp_path, log=log)
    assert str(caught.value) == (
        "diskimage-builder failed: setpriv failed with status 3\n"
        f"it wrote no log (the whole log: {log})"
    )


def test_loop_devices_of_a_failed_build_are_detached_and_no_others(
    programs: Path, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    devices = [
        {"name": "/dev/loop0", "back-file": str(work / "dib_image.x" / "image0.raw")},
        {"name": "/dev/loop1", "back-file": f"{work}-of-somebody-else/image0.raw"},
        {"name": "/dev/loop2", "back-file": f"{work}/image1.raw (deleted)"},
    ]
    (tmp_path / "devices").write_text(json.dumps({"loopdevices": devices}))
    fake(
        programs,
        "losetup",
        f"""#!/bin/sh
[ "$1" = --json ] && exec cat {tmp_path}/devices
echo "$@" >> {tmp_path}/done
""",
    )
    fake(programs, "setpriv", "#!/bin/sh\nexit 1\n")
    with pytest.raises(Error):
        dib.run("x", environment={}, work=work, log=tmp_path / "log")
    assert (tmp_path / "done").read_text() == "--detach /dev/loop0\n--detach /dev/loop2\n"


def test_packages_come_from_this_machines_archive(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sources = dib.apt_sources.parse_one_line(
        "deb http://mirror.test/debian bookworm main\n"
        "deb http://mirror.test/security bookworm-security main\n"
    )
    monkeypatch.setattr(dib.apt_sources, "read", lambda: sources)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test:3128")
    monkeypatch.setenv("PIP_CERT", "/etc/host-only.pem")
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    environment = dib.environment_for(tmp_path, release="bookworm", elements=Path("/elements"))
    assert environment == {
        "PATH": f"{Path(sys.executable).parent}:{dib.SYSTEM_PATH}",
        "HOME": str(tmp_path),
        "USER": "root",
        "LANG": "C.UTF-8",
        "ELEMENTS_PATH": "/elements",
        "DIB_RELEASE": "bookworm",
        "DIB_LOCKFILES": str(tmp_path / "locks"),
        "DIB_NO_TMPFS": "1",
        "DIB_DISTRIBUTION_MIRROR": "http://mirror.test/debian",
        "DIB_DEBIAN_SECURITY_MIRROR": "http://mirror.test/security",
        "https_proxy": "http://proxy.test:3128",
    }


def test_a_machine_without_that_release_leaves_the_archive_to_the_builder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(dib.apt_sources, "read", list)
    environment = dib.environment_for(tmp_path, release="bookworm", elements=tmp_path)
    assert not [name for name in environment if name.endswith("_MIRROR")]
