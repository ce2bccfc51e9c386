"""Read what a node shows of itself."""

import base64
import hashlib
import io
import json
import tarfile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.services.host import Container, FileState, Observed, OnNode
from provision.services.node import observed
from provision.services.node.answers import Unreadable

HEX = "ab" * 32
STATE, UNITS = "/var/lib/provision-services/p", "/etc/systemd/system"
TEXT = "[Service]\nExecStart=x\n[X-Provision]\nProject=p\nService=web\n"
BARE = {
    "podman": b"podman version 4.3.1\n",
    "systemd": b"systemd 252 (252.39-1~deb12u2)\n+PAM\n",
    "texts": b"",
    "tree": b"",
    "hashes": b"",
    "states": b"",
    "containers": b"",
    "images": b"[]\n",
    "secrets": b"",
}


def printed(**parts: Any) -> bytes:
    """Print as the script does; a part is its output, or (status, output, errors)."""
    lines = []
    for name, part in {**BARE, **parts}.items():
        if part is None:
            continue
        status, output, errors = part if isinstance(part, tuple) else (0, part, b"")
        fields = (base64.b64encode(output).decode(), base64.b64encode(errors).decode())
        lines.append(f"{name} {status} {fields[0]} {fields[1]}\n")
    return ("".join(lines) + "end\n").encode()


def packed(files: dict[str, str | None]) -> bytes:
    """Pack texts as tar -P does; None is a symbolic link."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path, text in files.items():
            member = tarfile.TarInfo(path)
            if text is None:
                member.type, member.linkname = tarfile.SYMTYPE, "/dev/null"
            else:
                member.size = len(text.encode())
            tar.addfile(member, io.BytesIO((text or "").encode()))
    return stream.getvalue()


def container(name: str = "p-web", **more: Any) -> dict[str, Any]:
    labels = {
        "io.atomic-baremetal.project": "p",
        "io.atomic-baremetal.service": "web",
        "io.atomic-baremetal.unit": "0123",
    }
    return {
        "Id": "c0ffee",
        "Name": name,
        "ImageName": f"r:5000/web@sha256:{HEX}",
        "ImageDigest": f"sha256:{HEX}",
        "State": {
            "Status": "running",
            "StartedAt": "2026-11-20T17:46:18.950189296Z",
            "Health": {"Status": "healthy"},
        },
        "Config": {"User": "1000", "Labels": labels},
        **more,
    }


def dump(*containers: dict[str, Any]) -> bytes:
    return json.dumps(list(containers)).encode()


def test_a_bare_node() -> None:
    assert observed.parse(printed(), "p") == Observed(podman=(4, 3, 1), systemd=252)


def test_a_service_that_runs() -> None:
    shown = (
        "Id=p-web.service\nActiveState=active\nSubState=running\nNRestarts=2\nResult=success\n"
        "ActiveEnterTimestamp=Fri 2026-11-20 17:45:25 UTC\nUnitFileState=enabled\n\n"
        "Id=p-db.service\nActiveState=failed\nSubState=failed\nNRestarts=0\nUnitFileState=masked\n"
        "ActiveEnterTimestamp=\n"
    )
    files: dict[str, str | None] = {
        f"{UNITS}/p-db.service": None,
        f"{UNITS}/p-web.service": TEXT,
        f"{STATE}/web/current": TEXT,
        f"{STATE}/web/previous": "before",
        f"{STATE}/db/current": "db",
    }
    found = observed.parse(
        printed(
            texts=packed(files),
            tree=b"d 555 0:0 web/config/abc\0f 444 0:0 web/config/abc/a\nb\0",
            hashes=HEX.encode() + b"  ./web/config/abc/a\nb\0",
            states=shown.encode(),
            containers=dump(container()),
            images=json.dumps([{"RepoDigests": ["a@sha256:1"]}, {"RepoDigests": None}]).encode(),
            secrets=b"one\ntwo\n",
        ),
        "p",
    )
    assert found == Observed(
        podman=(4, 3, 1),
        systemd=252,
        services={
            "db": OnNode(
                service="db", unit="", current="db", active="failed", sub="failed", enabled=False
            ),
            "web": OnNode(
                service="web",
                unit=TEXT,
                current=TEXT,
                previous="before",
                active="active",
                sub="running",
                restarts=2,
                since=1795196725.0,
                container=Container(
                    name="p-web",
                    id="c0ffee",
                    image=f"r:5000/web@sha256:{HEX}",
                    state="running",
                    health="healthy",
                    unit_digest="0123",
                    started_at=1795196778.950189,
                    user="1000",
                ),
                configs={"abc/a\nb": FileState(sha256=HEX, mode=0o444)},
            ),
        },
        images=frozenset({"a@sha256:1"}),
        secrets=frozenset({"one", "two"}),
    )


def test_containers_are_ours_or_strangers_or_another_projects() -> None:
    def labelled(**labels: str) -> dict[str, Any]:
        named = {f"io.atomic-baremetal.{key}": value for key, value in labels.items()}
        return {"Config": {"Labels": named}}

    found = observed.parse(
        printed(
            containers=dump(
                container("z", Config={"Labels": None}),
                container("p-web", **labelled(project="p", service="web")),
                container("copy", **labelled(project="p", service="web")),
                container("q-web", **labelled(project="q", service="web")),
                container("a", Config={}, State={}, ImageName="a:1"),
            )
        ),
        "p",
    )
    assert [one.name for one in found.strangers] == ["a", "copy", "z"]
    assert found.strangers[0].image == f"a@sha256:{HEX}"
    assert (found.strangers[0].health, found.strangers[0].started_at) == (None, 0.0)
    assert list(found.services) == ["web"]


def test_a_container_that_ended_meanwhile_is_left_out() -> None:
    error = b"Error: inspecting object: no such container c0ffee\n"
    found = observed.parse(printed(containers=(125, dump(container()), error)), "p")
    assert list(found.services) == ["web"]


def test_a_unit_of_a_project_with_a_longer_name_is_not_ours() -> None:
    other = TEXT.replace("Project=p", "Project=p-b").replace("Service=web", "Service=c")
    texts = packed({f"{UNITS}/p-b-c.service": other, f"{UNITS}/p-x.service": "[Service]\n"})
    assert observed.parse(printed(texts=texts), "p").services == {}
    found = observed.parse(printed(texts=texts), "p-b")
    assert found.services["c"].unit == other


def test_a_plain_unit_hides_the_one_of_quadlet_as_in_systemd() -> None:
    texts = packed(
        {
            "/etc/containers/systemd/p-web.container": TEXT + "quadlet",
            f"{UNITS}/p-web.service": TEXT,
        }
    )
    assert observed.parse(printed(texts=texts), "p").services["web"].unit == TEXT


@pytest.mark.parametrize(
    ("entry", "name", "state"),
    [
        (b"d 555 0:0 s/config/abc", None, None),
        (b"d 755 0:0 s/config/abc", "abc", FileState(sha256="", mode=0o755, kind="directory")),
        (b"d 555 0:0 s/config/abc/d", "abc/d", FileState(sha256="", mode=0o555, kind="directory")),
        (
            b"d 555 7:0 s/config/abc",
            "abc",
            FileState(sha256="", mode=0o555, kind="directory of owner 7:0"),
        ),
        (
            b"f 4755 1:1 s/config/abc/x",
            "abc/x",
            FileState(sha256="", mode=0o4755, kind="file of owner 1:1"),
        ),
        (b"l 777 0:0 s/config/x", "x", FileState(sha256="", mode=0o777, kind="symbolic link")),
        (b"p 644 0:0 s/config/x", "x", FileState(sha256="", mode=0o644, kind="fifo")),
        (b"? 644 0:0 s/config/x", "x", FileState(sha256="", mode=0o644, kind="special file")),
        (
            b"f 444 0:0 s/config/abc/\xff f\\n \n",
            "abc/\\xff f\\n \n",
            FileState(sha256="", mode=0o444),
        ),
    ],
)
def test_what_is_in_a_config_directory(
    entry: bytes, name: str | None, state: FileState | None
) -> None:
    found = observed.parse(printed(tree=entry + b"\0"), "p").services
    if name is None:
        assert found == {}
    else:
        assert found["s"].configs == {name: state}


@given(st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1))
def test_any_file_name_is_told_apart(name: str) -> None:
    digest = hashlib.sha256(name.encode()).hexdigest()
    path = f"web/config/abc/{name}".encode()
    other = b"f 444 0:0 web/config/abd/x\0"
    found = observed.parse(
        printed(
            tree=b"f 444 0:0 " + path + b"\0" + other,
            hashes=digest.encode() + b"  ./" + path + b"\0",
        ),
        "p",
    )
    assert found.services["web"].configs == {
        f"abc/{name}": FileState(sha256=digest, mode=0o444),
        "abd/x": FileState(sha256="", mode=0o444),
    }


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXTS, TEXTS | st.sampled_from(["web", "a.b_c-d"]))
def test_any_label_name_or_user_is_carried(user: str, service: str) -> None:
    labels = {"io.atomic-baremetal.project": "p", "io.atomic-baremetal.service": service}
    config = {"User": user, "Labels": labels}
    found = observed.parse(printed(containers=dump(container(f"p-{service}", Config=config))), "p")
    one = Container(
        name=f"p-{service}",
        id="c0ffee",
        image=f"r:5000/web@sha256:{HEX}",
        state="running",
        health="healthy",
        started_at=1795196778.950189,
        user=user,
    )
    if service in ("web", "a.b_c-d"):
        assert found.services == {service: OnNode(service=service, container=one)}
    else:  # hardly ever a name
        assert [*found.strangers, *(two.container for two in found.services.values())] == [one]


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"podman": (127, b"", b"podman: not found")}, "it has no podman"),
        ({"podman": None}, "it has no podman"),
        ({"systemd": (127, b"", b"")}, "it has no systemd"),
        ({"podman": b"docker 1"}, "its podman names no version: 'docker 1'"),
        ({"texts": None}, "it said nothing of texts"),
        ({"texts": (0, b"x" * 600, b"")}, "the texts of its units cannot be read: invalid header"),
        (
            {"states": (1, b"", b"x\nFailed to connect to bus: Host is down\n")},
            "looking at its states failed: Failed to connect to bus: Host is down",
        ),
        (
            {"containers": (125, b"", b"Error: database is locked\n")},
            "looking at its containers failed: Error: database is locked",
        ),
        (
            {"images": b"["},
            "podman's list of images cannot be read: Expecting value: line 1 column 2 (char 1)",
        ),
        ({"images": b"{}"}, "podman's list of images is none"),
        ({"secrets": (3, b"", b"")}, "looking at its secrets failed: 3"),
    ],
)
def test_what_went_wrong_is_said(parts: dict[str, Any], said: str) -> None:
    with pytest.raises(Unreadable) as refused:
        observed.parse(printed(**parts), "p")
    assert str(refused.value) == said


@pytest.mark.parametrize(
    ("name", "repository"),
    [
        ("a", "a"),
        ("a:1", "a"),
        ("r:5000/a", "r:5000/a"),
        ("r:5000/a/b:1", "r:5000/a/b"),
        ("r:5000/a:1@sha256:00", "r:5000/a"),
        ("a@sha256:00", "a"),
    ],
)
def test_a_repository_is_a_name_without_tag_and_digest(name: str, repository: str) -> None:
    assert observed.repository(name) == repository
