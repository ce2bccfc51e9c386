"""What docs/services.rst says of the file is so."""

import re
import textwrap
from pathlib import Path

import pytest

from provision.services.file import compose, unhandled
from provision.services.file.service_keys import KEYS
from tests.unit.provision.services.file.loading import load, refusal

DOCUMENT = (Path(__file__).parents[5] / "docs" / "services.rst").read_text()
EXAMPLE = textwrap.dedent(
    re.search(r"\.\. code-block:: yaml\n\n((?: {3}.*\n)+)", DOCUMENT)[1]  # type: ignore[index]
)
FILES = {
    "my.cnf": b"[mysqld]\n",
    "registry-ca.crt": b"-----BEGIN CERTIFICATE-----\n",
    "db-root": b"x",
}


def test_its_example_is_a_file() -> None:
    text = EXAMPLE.replace("~/.config/identity/", "")
    project = load(text, files=FILES)
    assert (project.name, list(project.services)) == ("identity", ["mariadb", "keystone"])


def test_its_errors_are_those_that_come() -> None:
    text = EXAMPLE.replace("~/.config/identity/", "")
    text = text.replace("environment:", "enviroment:").replace("mem_limit: 1g", "restart: always")
    said = refusal(text, files=FILES, name="services.yaml").splitlines()
    assert said == re.findall(r" {3}(services\.yaml:[0-9]+: .*)", DOCUMENT)


@pytest.mark.parametrize("key", [*KEYS, *compose.TOP])
def test_every_key_is_there(key: str) -> None:
    assert f"``{key}``" in DOCUMENT


def test_no_key_is_handled_and_not() -> None:
    assert not set(KEYS) & set(unhandled.SERVICE)
    assert not set(compose.TOP) & set(unhandled.TOP)
