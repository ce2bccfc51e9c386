"""Find the Debian archive that this machine uses: what is built from Debian comes from there.

Reads apt's two formats, one-line (``*.list``) and deb822 (``*.sources``). A machine without sources
of the wanted release (another release, another distribution) leaves the choice to the build tool,
which knows Debian's own servers.

*Suite*: a release ("bookworm") or one of its companions ("bookworm-security"). *Component*: "main".

Source: sources.list(5), apt 2.6.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

APT = Path("/etc/apt")
LISTS = Path("/var/lib/apt/lists")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One archive and one suite that apt takes binary packages from."""

    uri: str  # without the slash at its end
    suite: str
    components: tuple[str, ...]


def read(apt: Path = APT) -> list[Source]:
    """Read the machine's sources, in apt's order; empty on a machine without apt."""
    found: list[Source] = []
    for path in (apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))):
        if not path.is_file():
            continue
        text = path.read_text(errors="replace")
        if path.suffix == ".list":
            found += parse_one_line(text)
        elif path.suffix == ".sources":
            found += parse_deb822(text)
    return found


def parse_one_line(text: str) -> list[Source]:
    """Read ``deb [options] URI SUITE COMPONENT...`` lines; options do not matter here."""
    found = []
    for line in text.splitlines():
        match = re.match(r"deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)((?:\s+\S+)*)", _uncomment(line))
        if match:
            uri, suite, components = match.groups()
            found.append(_source(uri, suite, components.split()))
    return found


def parse_deb822(text: str) -> list[Source]:
    """Read stanzas of Types, URIs, Suites and Components; a disabled one is left out."""
    found = []
    for stanza in _stanzas(text):
        if "deb" not in stanza.get("types", "").split():
            continue
        if stanza.get("enabled", "yes").strip().lower() in ("no", "false", "0", "off", "without"):
            continue
        components = stanza.get("components", "").split()
        found += [
            _source(uri, suite, components)
            for uri in stanza.get("uris", "").split()
            for suite in stanza.get("suites", "").split()
        ]
    return found


def archive_of(sources: Iterable[Source], suite: str, component: str = "main") -> str | None:
    """Return the first archive on the web that has the suite; None when there is none.

    :returns: a URI without the slash at its end.
    """
    for source in sources:
        web = source.uri.startswith(("http://", "https://"))
        if web and source.suite == suite and component in source.components:
            return source.uri
    return None


def state_of(suites: Iterable[str], lists: Path = LISTS) -> list[bytes]:
    """Return apt's signed Release files of these suites: they vouch for every package's checksum.

    Not their names, which tell the mirror: two mirrors of one state are equal.

    :returns: contents, sorted; empty when apt has none.
    """
    return sorted(
        path.read_bytes()
        for suite in suites
        for kind in ("InRelease", "Release")
        for path in lists.glob(f"*_dists_{suite}_{kind}")
    )


def _source(uri: str, suite: str, components: Iterable[str]) -> Source:
    return Source(uri=uri.rstrip("/"), suite=suite, components=tuple(components))


def _uncomment(line: str) -> str:
    return line.partition("#")[0].strip()


def _stanzas(text: str) -> Iterator[dict[str, str]]:
    stanza: dict[str, str] = {}
    field = ""
    for line in [*text.splitlines(), ""]:
        if line.startswith("#"):  # may stand between a field and its continuation
            continue
        if not line.strip():
            if stanza:
                yield stanza
            stanza, field = {}, ""
        elif line[0].isspace():
            if field:
                stanza[field] += " " + line.strip()
        else:
            field, _, value = line.partition(":")
            field = field.strip().lower()
            stanza[field] = value.strip()
