"""Any string comes through a file of services as it is, or is refused."""

import os
import random
import re
import shlex
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from provision.services.file import compose
from provision.services.file.yaml_file import BREAKS, NONCHARACTER
from provision.services.model import Service
from provision.services.unit import render
from tests import hostile_strings
from tests.unit.provision.services.file.loading import load, refusal

STRINGS = list(hostile_strings.STRINGS)
ENVIRON = {"A": "x"}
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")).filter(
    lambda text: not NONCHARACTER.search(text) and "\r\n" not in text
)


def escaped(text: str) -> str:
    """Write a text in double quotes, in ASCII alone."""
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    code = ord(character)
    if character.isascii() and character.isprintable() and character not in '"\\':
        return character
    return f"\\U{code:08x}" if code > 0xFFFF else f"\\u{code:04x}"


def in_place(pattern: str, text: str) -> Any:
    """Put a text, its dollars doubled, into each place that says TEXT; in data, not in YAML."""

    def put(data: Any) -> Any:
        if isinstance(data, dict):
            return {put(key): put(value) for key, value in data.items()}
        if isinstance(data, list):
            return [put(one) for one in data]
        return data.replace("TEXT", text.replace("$", "$$")) if isinstance(data, str) else data

    return put(yaml.safe_load(pattern))


def quoted(data: Any) -> str:
    """Write data as YAML on one line, every text in double quotes."""
    if isinstance(data, dict):
        return "{" + ", ".join(f"{quoted(key)}: {quoted(data[key])}" for key in data) + "}"
    if isinstance(data, list):
        return "[" + ", ".join(map(quoted, data)) + "]"
    return "~" if data is None else escaped(data)


def dumped(data: Any) -> str:
    """Write data as PyYAML chooses to: texts plain, in single or double quotes, and folded."""
    return yaml.safe_dump(data, allow_unicode=True, sort_keys=False)


Find = Callable[[Service], str]
# the keys of a service with a text among them, and how the text is found again
PLACES: dict[str, tuple[str, Find]] = {
    "environment": ("environment: {A: TEXT}", lambda web: dict(web.environment)["A"]),
    "environment list": ("environment: [A=TEXT]", lambda web: dict(web.environment)["A"]),
    "label": ("labels: {a: TEXT}", lambda web: dict(web.labels)["a"]),
    "command": ("command: [run, TEXT]", lambda web: (web.command or ())[1]),
    "entrypoint": ("entrypoint: [run, TEXT]", lambda web: (web.entrypoint or ())[1]),
    "health check": (
        "healthcheck: {test: [CMD, check, TEXT]}",
        lambda web: web.healthcheck.test[1] if web.healthcheck else "",
    ),
    "health check for a shell": (
        "healthcheck: {test: TEXT}",
        lambda web: web.healthcheck.test[2] if web.healthcheck else "",
    ),
}
PATHS: dict[str, tuple[str, Find]] = {
    "source": (
        "volumes: [{type: bind, source: TEXT, target: /x}]",
        lambda web: web.mounts[0].source,
    ),
    "target": ("volumes: [{type: tmpfs, target: TEXT}]", lambda web: web.mounts[0].target),
    "working directory": ("working_dir: TEXT", lambda web: web.working_dir or ""),
    "config's target": (
        "configs: [{source: a, target: TEXT}]",
        lambda web: web.configs[0].target,
    ),
    "secret's target": (
        "secrets: [{source: a, target: TEXT}]",
        lambda web: web.secrets[0].target,
    ),
}
# only what has a name of its own; what is refused is refused for all
STRICT = (
    "services: {web: {image: TEXT}}",
    "services: {TEXT: {image: r.example/web}}",
    "services: {web: {image: r.example/web, TEXT: x}}",
    "services: {web: {image: r.example/web, user: TEXT}}",
    "services: {web: {image: r.example/web, hostname: TEXT}}",
    "services: {web: {image: r.example/web, environment: {TEXT: x}}}",
    "services: {web: {image: r.example/web, labels: {TEXT: x}}}",
    "services: {web: {image: r.example/web, ports: [TEXT]}}",
    "services: {web: {image: r.example/web, volumes: [TEXT]}}",
    "services: {web: {image: r.example/web, devices: [TEXT]}}",
    "services: {web: {image: r.example/web, stop_signal: TEXT}}",
    "services: {web: {image: r.example/web, cap_add: [TEXT]}}",
    "services: {web: {image: r.example/web, network_mode: TEXT}}",
    "services: {web: {image: r.example/web, mem_limit: TEXT}}",
    "services: {web: {image: r.example/web, depends_on: [TEXT]}}",
    "services: {web: {image: r.example/web, x-provision: {hosts: TEXT}}}",
    "services: {web: {image: r.example/web, x-provision: {labels: {TEXT: x}}}}",
    "services: {web: {image: r.example/web}}\nname: TEXT",
    "services: {web: {image: r.example/web}}\nvolumes: {TEXT: }",
    "services: {web: {image: r.example/web}}\nconfigs: {TEXT: {content: x}}",
    "services: {web: {image: r.example/web}}\nsecrets: {a: {environment: TEXT}}",
    "services: {web: {image: r.example/web}}\nx-provision: {registries: {TEXT: {}}}",
)


def test_there_are_many() -> None:
    assert len(STRINGS) > 500


def texts_for(place: str) -> list[str]:
    """List what the place takes: the environment cannot have a carriage return and line feed."""
    return [text for text in STRINGS if "\r\n" not in text or not place.startswith("environment")]


def services(keys: str, texts: Sequence[str]) -> dict[str, Any]:
    """Make the data of a file with a service for each text."""
    image = {"image": "r.example/web"}
    return {
        "services": {
            f"web{number}": image | in_place(keys, text) for number, text in enumerate(texts)
        },
        "configs": {"a": {"content": ""}},
        "secrets": {"a": {"environment": "A"}},
    }


def found(written: str, find: Find) -> list[str]:
    return [find(web) for web in load(written, environ=ENVIRON).services.values()]


@pytest.mark.parametrize("place", PLACES)
def test_a_text_arrives_as_it_is(place: str) -> None:
    keys, find = PLACES[place]
    texts = texts_for(place)
    assert found(quoted(services(keys, texts)), find) == texts


@pytest.mark.parametrize("place", PLACES)
def test_a_text_as_another_program_writes_it_arrives_too(place: str) -> None:
    """But where PyYAML leaves out what YAML 1.2 needs to see the same text."""
    keys, find = PLACES[place]
    taken = texts_for(place)
    texts = [text for text in taken if not set(text) & set(BREAKS) and text not in {"0o7", "1e3"}]
    assert found(dumped(services(keys, texts)), find) == texts
    for text in set(taken) - set(texts):
        try:
            assert found(dumped(services(keys, [text])), find) == [text]
        except compose.FileError as error:
            assert "YAML readers" in str(error)


@pytest.mark.parametrize("text", hostile_strings.REFUSED + hostile_strings.NONCHARACTERS)
def test_what_nobody_can_carry_is_refused_with_its_line(text: str) -> None:
    said = refusal("\n\n" + quoted(services("command: [run, TEXT]", [text])), environ=ENVIRON)
    assert said.startswith("shop.yaml:3: a text with ")


def test_a_config_arrives_as_it_is() -> None:
    contents = {
        f"a{number}": in_place("content: TEXT", text) for number, text in enumerate(STRINGS)
    }
    data = {"services": {"web": {"image": "r.example/web"}}, "configs": contents}
    project = load(quoted(data))
    assert [project.configs[name].decode() for name in contents] == STRINGS


def good_paths(place: str) -> list[str]:
    wrong = re.compile(r"[\x00-\x1f\x7f]|/\.\.(/|$)" + ("|," if "secret" in place else ""))
    paths = (f"/x{text}" for text in STRINGS)
    return [path for path in paths if not wrong.search(path) and len(path.encode()) < 256]


@pytest.mark.parametrize("place", PATHS)
def test_a_path_arrives_as_it_is_or_is_refused(place: str) -> None:
    keys, find = PATHS[place]
    good = good_paths(place)
    assert len(good) > 200
    assert found(quoted(services(keys, good)), find) == list(map(os.path.normpath, good))
    bad = sorted({f"/x{text}" for text in STRINGS} - set(good))
    for path in random.Random(place).sample(bad, 40):  # noqa: S311
        said = refusal(quoted(services(keys, [path])), environ=ENVIRON)
        assert said.isprintable()


@pytest.mark.parametrize("place", [*PLACES, *PATHS])
def test_what_is_taken_can_be_written_into_a_unit(place: str) -> None:
    """Load refuses, with the line, all that podman cannot be told."""
    keys, _ = (PLACES | PATHS)[place]
    texts = texts_for(place) if place in PLACES else good_paths(place)
    project = load(quoted(services(keys, texts)), environ=ENVIRON)
    for name in project.services:
        unit = render.render(
            project, name, pinned=f"r.example/web@sha256:{'0' * 64}", beside=(), podman=(4, 3, 1)
        )
        assert render.record(unit.text).digest == unit.digest


@pytest.mark.parametrize("number", range(len(STRICT)))
def test_a_strange_name_is_refused_in_one_line_that_a_terminal_can_show(number: int) -> None:
    for text in STRINGS[number :: len(STRICT)]:
        try:
            load(quoted(in_place(STRICT[number], text)), environ=ENVIRON)
        except compose.FileError as error:
            said = str(error)
            assert said.isprintable(), text
            assert len(said) < 400
        else:
            assert text.isprintable()


@pytest.mark.parametrize("text", ["x" * 65_536, "é" * 32_768])
def test_how_long_a_text_may_be(text: str) -> None:
    pattern = "services: {web: {image: r.example/web, command: [run, TEXT]}}"
    assert load(quoted(in_place(pattern, text))).services["web"].command == ("run", text)
    assert refusal(quoted(in_place(pattern, text + "x"))) == (
        "shop.yaml:1: service 'web': command: a text of more than 65536 bytes"
        " (a config can be longer)"
    )
    pattern = (
        "services: {web: {image: r.example/web, environment: {A: TEXT}, command: [TEXT, TEXT]}}"
    )
    assert refusal(quoted(in_place(pattern, text[:-2]))) == (
        "shop.yaml:1: service 'web': more than 131072 bytes in environment, labels, commands and"
        " healthcheck (a config can be longer)"
    )


@settings(deadline=None)  # a busy machine is no failure
@given(TEXTS, TEXTS, st.binary(min_size=1))
def test_any_text_and_any_bytes_arrive_as_they_are(one: str, other: str, raw: bytes) -> None:
    pattern = (
        "services: {web: {image: r.example/web, command: [TEXT], environment: {A: TEXT}}}\n"
        "configs: {a: {content: TEXT}, b: {file: b}}\nsecrets: {c: {file: b}}\n"
    )
    data = in_place(pattern, one)
    data["services"]["web"]["labels"] = {"a": other.replace("$", "$$")}
    project = load(quoted(data), files={"b": raw})
    web = project.services["web"]
    assert (web.command, web.environment) == ((one,), (("A", one),))
    assert (web.labels, project.configs["a"].decode()) == ((("a", other),), one)
    assert (project.configs["b"], project.secrets["c"]) == (raw, raw)


@settings(deadline=None)  # a busy machine is no failure
@given(TEXTS)
def test_words_of_a_command_arrive_as_they_are(text: str) -> None:
    pattern = "services: {web: {image: r.example/web, command: TEXT}}"
    written = quoted(in_place(pattern, shlex.join(["run", text, "x"])))
    assert load(written).services["web"].command == ("run", text, "x")
