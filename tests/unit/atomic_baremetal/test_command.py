import subprocess
import sys
import time
from pathlib import Path

import pytest

from atomic_baremetal.command import run, started
from atomic_baremetal.errors import CommandError


def python(source: str, **options: object) -> str:
    return run(sys.executable, "-c", source, timeout_s=10, **options).stdout  # type: ignore[arg-type]


def test_output_and_input_are_text() -> None:
    assert python("print(input())", stdin="grüß\n") == "grüß\n"


def test_a_program_without_input_does_not_wait_for_the_terminal() -> None:
    assert python("import sys; print(repr(sys.stdin.read()))") == "''\n"


def test_the_environment_is_added_to() -> None:
    assert (
        python("import os; print(os.environ['A'], 'PATH' in os.environ)", env={"A": "b"})
        == "b True\n"
    )


def test_an_expected_status_is_no_error() -> None:
    assert python("raise SystemExit(3)", ok=(0, 3)) == ""


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise SystemExit('no such image')", "failed with status 1: no such image"),
        ("import os; os.kill(os.getpid(), 9)", "was killed by SIGKILL"),
        ("raise SystemExit(7)", "failed with status 7"),
        (
            "import sys; sys.stderr.write('one\\ntwo\\n\\nthree\\nfour\\n'); sys.exit(2)",
            "failed with status 2: three; four",
        ),
    ],
)
def test_a_failure_is_said_in_exact_words(source: str, message: str) -> None:
    with pytest.raises(CommandError) as caught:
        python(source, hint="look at it")
    assert caught.value.message == f"{sys.executable} {message}"
    assert str(caught.value) == f"{sys.executable} {message} (look at it)"


def test_a_missing_program_is_named() -> None:
    with pytest.raises(CommandError) as caught:
        run("no-such-program", "--help", timeout_s=1)
    assert str(caught.value) == "no-such-program: no such program (install it: see bindep.txt)"


def test_a_program_over_its_time_is_killed() -> None:
    with pytest.raises(CommandError) as caught:
        run("sleep", "60", timeout_s=0.2)
    assert str(caught.value) == "sleep did not end within 0.2 seconds and was killed"


def test_a_program_beside_us() -> None:
    with started("sh", "-c", "echo x; echo y >&2") as program:
        assert program.finish(10).stdout == "x\n"
        assert not program.is_running
    with started("sh", "-c", "echo why >&2; exit 3") as program:
        with pytest.raises(CommandError) as caught:
            program.finish(10)
        assert str(caught.value) == "sh failed with status 3: why"
    with started("sleep", "60") as program:
        assert program.is_running
        with pytest.raises(CommandError) as caught:
            program.finish(0.2)
        assert str(caught.value) == "sleep did not end within 0.2 seconds and was killed"
    with pytest.raises(CommandError) as caught, started("no-such-program"):
        pass
    assert str(caught.value) == "no-such-program: no such program (install it: see bindep.txt)"


def test_a_program_beside_us_ends_with_the_context() -> None:
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), started("sleep", "60"):
        raise KeyboardInterrupt
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "call",
    ["run('sleep', '60', timeout_s=60, with_us=True)", "(c := started('sleep', '60')).__enter__()"],
)
def test_a_program_dies_with_us(call: str) -> None:
    source = f"from atomic_baremetal.command import *; x = {call}; import time; time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", source]) as parent:
        limit = time.monotonic() + 10
        while not (child := child_of(parent.pid)) or "sleep" not in name_of(child):
            assert time.monotonic() < limit
            time.sleep(0.02)
        parent.kill()
        parent.wait()
        while name_of(child):
            assert time.monotonic() < limit
            time.sleep(0.02)


def child_of(pid: int) -> int | None:
    there = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(there[0]) if there else None


def name_of(pid: int) -> str:
    """Return a process's name, empty when it has ended."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return "" if ") Z" in status else status.partition("(")[2].partition(")")[0]
