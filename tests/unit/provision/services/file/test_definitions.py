"""What a file of services defines besides services, and what is said of the file as a whole."""
# ruff: noqa: E501 - a case a line, with the whole of its error

import logging
import os
from pathlib import Path

import pytest

from provision.services.file import compose
from provision.services.file.definitions import LARGEST_SECRET_BYTES
from tests.unit.provision.services.file.loading import load, one_service, refusal

WEB = "services: {web: {image: r.example/web}}\n"
NEEDS = "services: NAME: image: ..."


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "1: the file is empty"),
        ("# nothing\n", "1: the file is empty"),
        ("[]", f"1: the file is not a mapping ({NEEDS})"),
        ("~", f"1: the file is not a mapping ({NEEDS})"),
        ("name: a", f"1: the file has no services ({NEEDS})"),
        ("services: {}", "1: services: there is no service"),
        ("services:", "1: services: not a mapping"),
        ("services: [web]", "1: services: not a mapping"),
        ("services: {web: r.example/web}", "1: service 'web': not a mapping"),
        ("services: {web: {}}", "1: service 'web': has no image (image: REGISTRY/IMAGE:TAG)"),
        ("services: {Web: {image: r.example/web}}", "1: services: 'Web' is not a name (a-z, 0-9, '_', '.' and '-', 63 at most, the first a letter or digit)"),
        (WEB + "serivces: {}", "2: unknown key 'serivces' at the top (did you mean 'services'?)"),
        (WEB + "networks: {}", "2: key 'networks' at the top: not handled here (network_mode is bridge, host or none)"),
        (WEB + "name: My Shop", "2: name: 'My Shop' is not a name (a-z, 0-9, '_', '.' and '-', 63 at most, the first a letter or digit)"),
        (WEB + "volumes: [data]", "2: volumes: not a mapping"),
        (WEB + "volumes: {data: x}", "2: volume 'data': not a mapping"),
        (WEB + "volumes: {Data: }", "2: volumes: 'Data' is not a name (a-z, 0-9, '_', '.' and '-', 63 at most, the first a letter or digit)"),
        (WEB + "volumes: {data: {external: true}}", "2: key 'external' in volume 'data': not handled here (made and named by the project; what was made elsewhere is not touched)"),
        (WEB + "configs: {a: {}}", "2: config 'a': has to have a file or a content"),
        (WEB + "configs: {a: {file: x, content: y}}", "2: config 'a': has to have a file or a content, not both"),
        (WEB + "configs: {a: {content: $x}}", "2: config 'a': content: a variable (no variables here: write $$ for a dollar)"),
        (WEB + "configs: {a: {environment: X}}", "2: key 'environment' in config 'a': not handled here (file or content says what is in it)\nshop.yaml:2: config 'a': has to have a file or a content"),
        (WEB + "configs: {a: {file: nope}}", "2: config 'a': file: cannot read 'nope': No such file or directory"),
        (WEB + "configs: {a: {file: /dev}}", "2: config 'a': file: cannot read '/dev': not a regular file"),
        (WEB + "configs: {a: {file: /dev/zero}}", "2: config 'a': file: cannot read '/dev/zero': not a regular file"),
        (WEB + "configs: {a: {file: shop.yaml/x}}", "2: config 'a': file: cannot read 'shop.yaml/x': Not a directory"),
        (WEB + "configs: {a: {file: " + "x" * 300 + "}}", f"2: config 'a': file: cannot read '{'x' * 300}': File name too long"),
        (WEB + "secrets: {a: {content: hunter2}}", "2: key 'content' in secret 'a': not handled here (a secret in this file would be none: file or environment says where it is)\nshop.yaml:2: secret 'a': has to have a file or an environment"),
        (WEB + "secrets: {a: {environment: NOPE}}", "2: secret 'a': environment: the environment has no variable 'NOPE'"),
        (WEB + "secrets: {a: {environment: EMPTY}}", "2: secret 'a': a secret has 1 to 511999 bytes; this one has 0"),
        (WEB + "secrets: {a: hunter2}", "2: secret 'a': not a mapping"),
        (WEB + "x-provision: {registry: {}}", "2: unknown key 'registry' in x-provision (did you mean 'registries'?)"),
        (WEB + "x-provision: {registries: {'http://x': {}}}", "2: x-provision: registries: 'http://x' is not HOST or HOST:PORT of a registry"),
        (WEB + "x-provision: {registries: {x: {ca: shop.yaml}}}", "2: x-provision: registries 'x': ca: the file has no certificate in PEM"),
        (WEB + "x-provision: {registries: {x: {ca: x, tls_verify: false}}}", "2: x-provision: registries 'x': ca: a certificate to trust, and tls_verify: false"),
        ("services:\n  a: {image: r.example/a, depends_on: [b]}\n  b: {image: r.example/a, depends_on: [c]}\n  c: {image: r.example/a, depends_on: [b]}\n", "3: service 'b': depends_on: the services wait for each other in a circle: b -> c -> b"),
        ("services:\n  a: {image: r.example/a}\n  b: {image: r.example/b, depends_on: {a: {condition: service_healthy}}}\n", "3: service 'b': depends_on: service 'a' has no healthcheck, so it is never healthy (give it one, or wait for condition: service_started)"),
        ("services:\n  a: {image: r.example/a, healthcheck: {disable: true}}\n  b: {image: r.example/b, depends_on: {a: {condition: service_healthy}}}\n", "3: service 'b': depends_on: service 'a' has no healthcheck, so it is never healthy (give it one, or wait for condition: service_started)"),
    ],
)  # fmt: skip
def test_a_file_that_is_refused(text: str, error: str) -> None:
    assert refusal(text, environ={"EMPTY": ""}) == f"shop.yaml:{error}"


def test_all_that_is_wrong_is_said_at_once_by_line() -> None:
    text = """\
services:
  web:
    image: web
    enviroment: {}
    mem_limit: 1x
    volumes: ["a:/x", "data:y"]
  db: {image: r.example/db, restart: always}
configs: {a: {file: nope}}
"""
    assert refusal(text) == (
        "shop.yaml:3: service 'web': image: 'web' does not say which registry it is from"
        " (docker.io/library/web is Docker Hub's)\n"
        "shop.yaml:4: unknown key 'enviroment' in service 'web' (did you mean 'environment'?)\n"
        "shop.yaml:5: service 'web': mem_limit: '1x' is not a size (like 512m, 1g or 1073741824)\n"
        "shop.yaml:6: service 'web': volumes: there is no volume 'a' in the file\n"
        "shop.yaml:6: service 'web': volumes: 'y' is not an absolute path\n"
        "shop.yaml:7: key 'restart' in service 'db': not handled here"
        " (a service is always restarted: leave it out)\n"
        "shop.yaml:8: config 'a': file: cannot read 'nope': No such file or directory"
    )


def test_more_than_a_page_of_errors_is_cut() -> None:
    text = WEB + "".join(f"key{number}: 1\n" for number in range(25))
    lines = refusal(text).splitlines()
    assert (
        lines[0] == "shop.yaml:2: unknown key 'key0' at the top (docs/services.rst lists the keys)"
    )
    assert lines[19].startswith("shop.yaml:21: unknown key 'key19'")
    assert lines[20:] == ["shop.yaml: and 5 more"]


def test_a_file_of_nothing_but_errors_is_soon_read() -> None:
    text = WEB + "".join(f"key{number}: 1\n" for number in range(4000))
    assert refusal(text).endswith("\nshop.yaml: and 180 more")


def test_a_problem_of_an_anchor_is_said_once() -> None:
    text = "x-web: &web {image: web}\nservices:\n  a: *web\n  b: *web\n  c: {<<: *web, image: r.example/c}\n"
    assert refusal(text) == (
        "shop.yaml:1: service 'a': image: 'web' does not say which registry it is from"
        " (docker.io/library/web is Docker Hub's)\n"
        "shop.yaml:1: service 'b': image: 'web' does not say which registry it is from"
        " (docker.io/library/web is Docker Hub's)"
    )


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path, why in (
        (tmp_path / "nope.yaml", "No such file or directory"),
        (tmp_path, "not a regular file"),
    ):
        with pytest.raises(compose.FileError) as caught:
            compose.load(path)
        assert str(caught.value) == f"cannot read {path}: {why}"


def test_a_file_with_a_name_that_is_no_project() -> None:
    assert refusal(WEB, name="My Shop.yaml") == (
        "My Shop.yaml:1: a project is named as its file, and 'My Shop' is not a name"
        " (name: at the top names it otherwise: a-z, 0-9, '_', '.' and '-', 63 at most,"
        " the first a letter or digit)"
    )
    assert load(WEB + "name: shop", name="My Shop.yaml").name == "shop"


def test_version_is_ignored_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="provision"):
        assert load(WEB + 'version: "3"') == load(WEB)
    assert [message.partition("shop.yaml")[2] for message in caplog.messages] == [
        ":2: 'version' is obsolete and ignored"
    ]


def test_a_secret_is_never_shown() -> None:
    project = load(one_service("secrets: [pw]"), environ={"PW": "hunter2"})
    assert project.secrets == {"pw": b"hunter2"}
    assert "hunter2" not in repr(project) + str(project)


@pytest.mark.parametrize(
    "keys",
    [
        "environment: {PW: hunter2$}",
        "environment: {PW: [hunter2]}",
        "environment: {PW: *hunter2}",
        "environment: {PW: !hunter2}",
        "environment: {PW: !hunter2 x}",
        "environment: {PW: 'hunter2}",
        "environment: {PW: hunter2: x}",
        "environment: {PW: {hunter2}",
        "environment: {PW: %hunter2",
        "environment: {PW: @hunter2}",
        "environment: {PW: |hunter2}",
        "environment:\n  PW: |hunter2",
        'environment: {PW: "hunter2\\0"}',
        'environment: {PW: "hunter2\\q"}',
        "environment: [hunter2]",
        "environment: ['PW=hunter2$']",
        "environment: hunter2",
        "command: run --password 'hunter2",
        "command: [run, --password=hunter2$]",
        "healthcheck: {test: [CMD, login, hunter2$]}",
    ],
)
def test_what_may_be_a_password_is_not_in_an_error(keys: str) -> None:
    assert "hunter2" not in refusal(one_service(keys), environ={"PW": "x"})


def test_bytes_of_an_environment_variable_come_as_they_are() -> None:
    text = WEB + "secrets: {a: {environment: A}}"
    raw = bytes(range(1, 256))
    assert load(text, environ={"A": os.fsdecode(raw)}).secrets == {"a": raw}


def test_how_large_a_secret_may_be() -> None:
    text = WEB + "secrets: {a: {file: key}}"
    largest = b"x" * LARGEST_SECRET_BYTES
    assert load(text, files={"key": largest}).secrets == {"a": largest}
    assert refusal(text, files={"key": largest + b"x"}) == (
        "shop.yaml:2: secret 'a': file: 'key' is larger than 511999 bytes"
    )
    assert refusal(text, files={"key": b""}) == (
        "shop.yaml:2: secret 'a': a secret has 1 to 511999 bytes; this one has 0"
    )


def test_a_path_from_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_bytes(b"k")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load(WEB + "secrets: {a: {file: ~/key}}").secrets == {"a": b"k"}
