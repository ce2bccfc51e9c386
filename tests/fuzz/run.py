"""Give all parsers that see an image's bytes many inputs: `python -m tests.fuzz.run --inputs N`.

Each parser gets its share in a process of its own, guided by coverage. Prints a table; exits with 1
when a parser crashed, took more than five seconds for one input or more memory than allowed.
"""

import argparse
import json
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tests.fuzz.targets import TARGETS

INPUT_LIMIT_S = 5
MEMORY_LIMIT_MB = 1024
LONGEST_BYTES = 4096
EXECUTED = re.compile(r"stat::number_of_executed_units:\s+(\d+)")
SLOWEST = re.compile(r"stat::slowest_unit_time_sec:\s+(\d+)")
COVERED = re.compile(r"cov: (\d+) ")
HOW = {70: "hang", 71: "memory", 77: "crash"}  # libFuzzer's exit statuses


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one parser.

    :param found: `crash`, `hang`, `memory`, or nothing.
    :param last: what was said last, when anything was found.
    """

    target: str
    inputs: int
    seconds: float
    slowest_s: int
    branches: int
    found: str
    last: str


def search(name: str, inputs: int, directory: Path, *, piece: int = 1) -> Result:
    """Give one parser so many inputs.

    :param piece: of the parser's searches; each has a directory of its own.
    """
    flags = (
        *(f"-runs={inputs}", f"-timeout={INPUT_LIMIT_S}", f"-rss_limit_mb={MEMORY_LIMIT_MB}"),
        *(f"-max_len={LONGEST_BYTES}", "-print_final_stats=1"),
    )
    place = directory / name if piece == 1 else directory / f"{name}-{piece}"
    place.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.search", name, place, *flags],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    said = done.stdout + done.stderr
    covered = COVERED.findall(said)
    found = "" if done.returncode == 0 else HOW.get(done.returncode, f"status {done.returncode}")
    return Result(
        target=name,
        inputs=_number(EXECUTED, said),
        seconds=round(time.monotonic() - start, 1),
        slowest_s=_number(SLOWEST, said),
        branches=int(covered[-1]) if covered else 0,
        found=found,
        last=said[-4000:] if found else "",
    )


def _number(pattern: re.Pattern[str], text: str) -> int:
    match = pattern.search(text)
    return int(match[1]) if match else 0


def main(arguments: Sequence[str]) -> int:
    """Search in all parsers, or in those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=20_000, help="for all parsers together")
    parser.add_argument("--target", action="append", choices=list(TARGETS), help="only this parser")
    parser.add_argument("--jobs", type=int, default=1, help="how many parsers at the same time")
    parser.add_argument("--findings", type=Path, help="where inputs that broke something are kept")
    parser.add_argument("--record", type=Path, help="a JSON file for the results")
    options = parser.parse_args(arguments)
    names = options.target or list(TARGETS)
    shares = sum(TARGETS[name].share for name in names)
    findings: Path = options.findings or Path(tempfile.mkdtemp(prefix="fuzz-"))
    with ThreadPoolExecutor(options.jobs) as pool:
        started = [
            pool.submit(search, name, inputs, findings, piece=piece)
            for name in names
            for piece, inputs in enumerate(_pieces(name, options.inputs, shares), 1)
        ]
        results = [_told(future.result()) for future in started]
    total = sum(result.inputs for result in results)
    found = [result for result in results if result.found]
    print(f"{total} inputs, {len(found)} found; what was tried and found is in {findings}")
    if options.record:
        options.record.write_text(json.dumps(_record(results), indent=2) + "\n")
    return 1 if found else 0


def _pieces(name: str, total: int, shares: int) -> list[int]:
    """Split a parser's share into searches that end at about the same time."""
    target = TARGETS[name]
    inputs = -(-total * target.share // shares)
    count = -(-inputs // target.piece)
    return [inputs // count + (number < inputs % count) for number in range(count)]


def _told(result: Result) -> Result:
    print(
        "{target:18} {inputs:8} inputs {seconds:8} s  slowest {slowest_s} s"
        "  {branches:5} branches  {found}".format(**asdict(result)),
        flush=True,
    )
    if result.found:
        print(result.last)
    return result


def _record(results: Sequence[Result]) -> dict[str, object]:
    return {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "atheris": version("atheris"),
        "oslo.utils": version("oslo.utils"),
        "inputs": sum(result.inputs for result in results),
        "crashes": sum(result.found not in ("", "hang") for result in results),
        "hangs_over_5_s": sum(result.found == "hang" for result in results),
        "targets": [asdict(result) for result in results],
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
