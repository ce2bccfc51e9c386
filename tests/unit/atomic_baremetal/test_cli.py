"""What a stranger wrote into an image must not act on the terminal of who looks at it."""

import logging

import click
import pytest

from atomic_baremetal import cli
from atomic_baremetal.errors import Error

HOSTILE = "a\x1b]0;title\x07\x1b[2J\rb\u202ec\x9b31m"
ESCAPED = r"a\x1b]0;title\x07\x1b[2J\rb\u202ec\x9b31m"


@click.command()
def failing() -> None:
    raise Error(f"cannot read {HOSTILE}\nimgprep: done", hint=HOSTILE, further=[HOSTILE])


def test_an_error_has_no_control_characters_and_no_lines_but_ours(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["imgprep"])
    with pytest.raises(SystemExit) as end:
        cli.main(failing, prog_name="imgprep")
    assert end.value.code == 1
    said = f"imgprep: cannot read {ESCAPED}\\nimgprep: done ({ESCAPED})\n    {ESCAPED}\n"
    assert capfd.readouterr().err == said


def test_so_is_narration_and_a_second_line_is_no_record(
    capfd: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def restore() -> None:
        root.handlers[:], root.level = handlers, level

    request.addfinalizer(restore)
    cli.set_up_logging(quiet=False, verbose=False, debug=False)
    logging.getLogger("imgprep").info("taken out: %s\nimgprep: done", HOSTILE)
    assert capfd.readouterr().err == f"taken out: {ESCAPED}\n    imgprep: done\n"
