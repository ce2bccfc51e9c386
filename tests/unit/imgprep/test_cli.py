import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from imgprep import cli


def run(*arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "imgprep", *arguments],
        capture_output=True,
        text=True,
        cwd=directory,
        env={**os.environ, "XDG_STATE_HOME": str(directory)},
    )


def test_every_command_and_option_says_what_it_does() -> None:
    commands = cli.imgprep.commands
    assert set(commands) == {"inspect", "atomic-to-pxe", "register", "unregister", "verify"}
    for command in (cli.imgprep, *commands.values()):
        assert command.help
        for parameter in command.params:
            assert isinstance(parameter, click.Argument) or parameter.help, parameter.name


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("inspect", "no"), "imgprep: no: no such file\n"),
        (("atomic-to-pxe", "."), "imgprep: . is a directory (name the image file in it)\n"),
        (
            ("atomic-to-pxe", "text"),
            "imgprep: text: not a disk image (it has no partition table and no header of a known"
            " format)\n",
        ),
        (("verify", "."), "imgprep: . is no bundle (it holds 0 manifests (*.json), not one)\n"),
    ],
)
def test_an_error_is_one_line(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    done = run(*arguments, directory=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said)
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


def test_usage_is_another_status(tmp_path: Path) -> None:
    assert run("atomic-to-pxe", directory=tmp_path).returncode == 2
    assert run("--version", directory=tmp_path).stdout == "imgprep, version 0.1.0\n"
