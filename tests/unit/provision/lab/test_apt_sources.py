"""Reading apt's sources, of which machines have two kinds in every taste."""

from pathlib import Path

import pytest

from provision.lab import apt_sources
from provision.lab.apt_sources import Source

MAIN = Source(uri="http://a.example/debian", suite="bookworm", components=("main",))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("deb http://a.example/debian bookworm main", [MAIN]),
        ("deb http://a.example/debian/ bookworm main # ours", [MAIN]),
        ("  deb\thttp://a.example/debian  bookworm\tmain", [MAIN]),
        ("deb [arch=amd64 signed-by=/k.gpg] http://a.example/debian bookworm main", [MAIN]),
        ("deb [ arch=amd64 ] http://a.example/debian bookworm main", [MAIN]),
        (
            "deb https://a.example/debian bookworm main contrib non-free-firmware",
            [
                Source(
                    uri="https://a.example/debian",
                    suite="bookworm",
                    components=("main", "contrib", "non-free-firmware"),
                )
            ],
        ),
        ("deb file:/srv/x ./", [Source(uri="file:/srv/x", suite="./", components=())]),
        ("deb-src http://a.example/debian bookworm main", []),
        ("# deb http://a.example/debian bookworm main", []),
        ("debhttp://a.example/debian bookworm main", []),
        ("", []),
    ],
)
def test_one_line(line: str, expected: list[Source]) -> None:
    assert apt_sources.parse_one_line(line) == expected


def test_deb822() -> None:
    text = """\
# made by the installer
Types: deb deb-src
URIs: http://a.example/debian/
Suites: bookworm
 bookworm-updates
# a remark between the lines
 bookworm-backports
components: main contrib
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 Suites: none
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
URIs: http://b.example/ http://c.example/x
Suites: bookworm-security
Components: main


Types: deb-src
URIs: http://d.example
Suites: bookworm
Components: main

Enabled: no
Types: deb
URIs: http://e.example
Suites: bookworm
Components: main
"""
    both = ("main", "contrib")
    assert apt_sources.parse_deb822(text) == [
        Source(uri="http://a.example/debian", suite="bookworm", components=both),
        Source(uri="http://a.example/debian", suite="bookworm-updates", components=both),
        Source(uri="http://a.example/debian", suite="bookworm-backports", components=both),
        Source(uri="http://b.example", suite="bookworm-security", components=("main",)),
        Source(uri="http://c.example/x", suite="bookworm-security", components=("main",)),
    ]


def test_read_takes_what_apt_takes(tmp_path: Path) -> None:
    parts = tmp_path / "sources.list.d"
    parts.mkdir()
    (tmp_path / "sources.list").write_text("deb http://first.example bookworm main\n")
    (parts / "b.list").write_text("deb http://third.example bookworm main\n")
    (parts / "a.sources").write_text(
        "Types: deb\nURIs: http://second.example\nSuites: bookworm\nComponents: main\n"
    )
    (parts / "c.list.disabled").write_text("deb http://never.example bookworm main\n")
    assert [source.uri for source in apt_sources.read(tmp_path)] == [
        "http://first.example",
        "http://second.example",
        "http://third.example",
    ]


def test_read_on_a_machine_without_apt(tmp_path: Path) -> None:
    assert apt_sources.read(tmp_path / "none") == []


def test_archive_of() -> None:
    sources = [
        Source(uri="cdrom:[Debian]", suite="bookworm", components=("main",)),
        Source(uri="http://contrib.example", suite="bookworm", components=("contrib",)),
        Source(uri="http://trixie.example", suite="trixie", components=("main",)),
        MAIN,
        Source(uri="http://later.example", suite="bookworm", components=("main",)),
    ]
    assert apt_sources.archive_of(sources, "bookworm") == "http://a.example/debian"
    assert apt_sources.archive_of(sources, "bookworm", "contrib") == "http://contrib.example"
    assert apt_sources.archive_of(sources, "bookworm-security") is None


def test_state_of_tells_contents_and_no_mirror(tmp_path: Path) -> None:
    for mirror in ("one.example", "two.example"):
        lists = tmp_path / mirror
        lists.mkdir()
        (lists / f"{mirror}_debian_dists_bookworm_InRelease").write_text("main")
        (lists / f"{mirror}_sec_dists_bookworm-security_InRelease").write_text("security")
        (lists / f"{mirror}_old_dists_bookworm-updates_Release").write_text("updates")
        (lists / f"{mirror}_debian_dists_trixie_InRelease").write_text("another")
        (lists / f"{mirror}_debian_dists_bookworm_main_binary-amd64_Packages").write_text("big")
    suites = ("bookworm", "bookworm-updates", "bookworm-security")
    state = apt_sources.state_of(suites, tmp_path / "one.example")
    assert state == [b"main", b"security", b"updates"]
    assert apt_sources.state_of(suites, tmp_path / "two.example") == state
    assert apt_sources.state_of(suites, tmp_path / "none") == []
