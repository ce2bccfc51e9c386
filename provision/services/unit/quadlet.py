"""Write a service as a .container file for Quadlet, podman's generator of systemd units.

Quadlet reads a value, makes words of ``podman run`` of it and writes them into an ExecStart= that
systemd reads: two readers, one behind the other. Quadlet leaves specifiers and variables to
systemd, so they are written for systemd here, and then quoted for Quadlet. Three things it loses on
the way, in every version so far: an empty word (and all words behind it), a word that is a lone
semicolon, and U+0080. They travel as variables of the unit's own environment, which systemd puts in
last.

Source: containers/podman, ``pkg/systemd/parser/{split,unitfile}.go`` and ``pkg/systemd/quadlet``,
at v4.4.0, v4.9.5, v5.4.2 and v5.8.2.
"""

import re
from collections.abc import Iterator

from provision.services.model import Project, Service
from provision.services.unit import plain, podman, systemd_unit, unit_file
from provision.services.unit.container import Container
from provision.services.unit.podman import Option, Reading, Version
from provision.services.unit.unit_file import Section

EMPTY = "PROVISION_EMPTY"
X80 = "PROVISION_X80"
VARIABLES = {EMPTY: "", X80: "\u0080"}

_LINE = re.compile(r"[!#-~](?:[ -~]*[!#-\[\]-~])?")  # printable ASCII, no quote at either end
_TOKEN = re.compile(r"[A-Za-z0-9_./:=@,+-]+")
_UNITS = (".volume", ".image", ".network", ".container", ".build", ".pod")


def sections(
    project: Project,
    service: Service,
    container: Container,
    *,
    beside: frozenset[str],
    version: Version,
) -> tuple[Section, ...]:
    """Write [Unit], [Container], [Service] and [Install]."""
    # the line that Quadlet will write; 5.8 makes four characters of a blank
    line = unit_file.command(plain.run_words(container)).replace(" ", r"\x20")
    unit_file.check_line("ExecStart", line)
    healthy = version[:2] >= podman.NOTIFY_HEALTHY and service.healthcheck is not None
    entries = (
        ("ContainerName", container.name),
        ("Image", container.image),
        *((("Notify", "healthy"),) if healthy else ()),
        *(entry for option in container.options for entry in _entries(option, version)),
        *((("Exec", " ".join(map(_word, container.command))),) if container.command else ()),
    )
    used = " ".join(value for _, value in entries)
    variables = tuple(
        ("Environment", unit_file.quote(f"{name}={value}"))
        for name, value in VARIABLES.items()
        if f"${{{name}}}" in used
    )
    return (
        systemd_unit.unit_section(project, service, beside=beside),
        Section(name="Container", entries=entries),
        Section(
            name="Service",
            entries=variables + systemd_unit.service_entries(project, service, wait=not healthy),
        ),
        systemd_unit.install_section(),
    )


def _entries(option: Option, version: Version) -> Iterator[tuple[str, str]]:
    """Write an option by its key if that carries its value, else among podman's arguments."""
    key = podman.key(option.flag, version)
    value = "true" if option.value is None else option.value
    if key is not None and key.reading is Reading.WORDS:
        yield key.name, _word(value)
    elif key is not None and _fits(key.reading, unit_file.literal(value)):
        yield key.name, unit_file.literal(value)
    else:
        yield "PodmanArgs", _word(option.word())


def _fits(reading: Reading, literal: str) -> bool:
    """Say whether Quadlet reads a value, written for systemd, as it is."""
    if reading is Reading.LINE:
        # a volume's or network's name that ends like a file of Quadlet's is taken for that file
        is_unit = literal.partition(":")[0].endswith(_UNITS)
        return _LINE.fullmatch(literal) is not None and not is_unit
    return _TOKEN.fullmatch(literal) is not None


def _word(word: str) -> str:
    """Write a word for Quadlet, and for systemd behind it."""
    unit_file.check(word)
    literal = unit_file.literal(word).replace("\u0080", f"${{{X80}}}")
    if word in ("", ";"):
        literal += f"${{{EMPTY}}}"
    return unit_file.quote(literal)
