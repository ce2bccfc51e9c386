"""Give both command lines the same manners: common options, one line an error, exit statuses.

Exit status: 0 done, 1 an error that the operator can act on, 2 usage, 130 interrupted. A bug keeps
its traceback.
"""

import logging
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import click

from atomic_baremetal import __version__, output
from atomic_baremetal.errors import Error
from atomic_baremetal.output import FORMATS

F = TypeVar("F", bound=Callable[..., Any])


def common(command: F) -> F:
    """Add --os-cloud, -q, -v, --debug and --version to a click group, which gets them by name."""
    for option in (
        click.version_option(__version__, package_name="atomic-baremetal"),
        click.option(
            "--os-cloud",
            envvar="OS_CLOUD",
            metavar="NAME",
            help="The cloud in clouds.yaml to work on.",
        ),
        click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors."),
        click.option("-v", "--verbose", is_flag=True, help="Say also how."),
        click.option(
            "--debug", is_flag=True, help="Say everything, each command and request included."
        ),
    ):
        command = option(command)
    return command


def format_option(command: F) -> F:
    """Add -f/--format; the command gets `format_`."""
    return click.option(
        "-f",
        "--format",
        "format_",
        type=click.Choice(FORMATS),
        default="table",
        show_default=True,
        help="How to print the result.",
    )(command)


class _Lines(logging.Formatter):
    """Format records so that nothing in them acts on a terminal or passes for another record."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        lines = super().formatMessage(record).split("\n")
        return "\n    ".join(map(output.escaped, lines))


def set_up_logging(*, quiet: bool, verbose: bool, debug: bool) -> None:
    """Send narration to stderr: steps by default, only errors with quiet, all with debug."""
    own = logging.ERROR if quiet else logging.DEBUG if verbose or debug else logging.INFO
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines("%(asctime)s %(name)s: %(message)s" if debug else "%(message)s"))
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.ERROR, handlers=[handler], force=True
    )
    for name in ("atomic_baremetal", "imgprep", "provision"):
        logging.getLogger(name).setLevel(own)


def main(command: click.Command, *, prog_name: str) -> NoReturn:
    """Run a click command as a program and leave with its exit status."""
    try:
        status = command.main(prog_name=prog_name, standalone_mode=False)
    except Error as error:
        # indented: a line of ours cannot be had by putting its beginning into a name
        said = "\n    ".join(map(output.escaped, error.lines))
        sys.stderr.write(f"{prog_name}: {said}\n")
        sys.exit(1)
    except click.Abort:
        sys.stderr.write(f"{prog_name}: interrupted\n")
        sys.exit(130)
    except KeyboardInterrupt:
        sys.stderr.write(f"{prog_name}: interrupted\n")
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)
