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


SEVERAL = ("atomic-to-pxe", "a/one.qcow2", "b/one.raw")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*SEVERAL, "--name", "x"), "Error: --name is for one image"),
        (SEVERAL, "Error: two of the images have the same name"),
        (
            (*SEVERAL, "--checksum", "sha256:00"),
            "Error: 2 images, 1 checksums: one for each",
        ),
    ],
)
def test_what_cannot_be_meant_for_several_images(
    arguments: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    done = run(*arguments, directory=tmp_path)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, said)


@pytest.mark.parametrize("more", [(), ("--isolate",), ("--dry-run",)])
def test_each_image_that_fails_is_named(more: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    done = run("atomic-to-pxe", "text", "nothing", *more, "-f", "json", directory=tmp_path)
    assert (done.returncode, done.stdout) == (1, "[]\n")
    assert done.stderr == (
        "imgprep: text: not a disk image (it has no partition table and no header of a known"
        " format)\n"
        "imgprep: nothing: no such file\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


def test_the_checksum_comes_first(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    wanted = "sha256:" + "0" * 64
    done = run("atomic-to-pxe", "text", "--checksum", wanted, directory=tmp_path)
    assert done.stderr.splitlines()[-1] == (
        "imgprep: text has another checksum:"
        " sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
        f" (wanted {wanted})"
    )


def test_what_speaks_to_glance_is_imported_only_when_it_is_wanted(tmp_path: Path) -> None:
    source = "import sys, imgprep.cli; print(sorted({'openstack', 'guestfs'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
