"""Search for inputs that break one parser: `python -m tests.fuzz.search TARGET DIRECTORY [FLAG]...`

atheris (libFuzzer) changes the seeds, and what reaches new code is changed further. FLAGs are
libFuzzer's. It ends at the first crash, after which DIRECTORY holds the input.
"""

import logging
import sys
from pathlib import Path

import atheris

INSTRUMENTED = ("imgprep", "atomic_baremetal", "tests.fuzz")

with atheris.instrument_imports(include=list(INSTRUMENTED), enable_loader_override=False):
    from tests.fuzz.targets import CONTROL, TARGETS


def main(name: str, directory: Path, flags: list[str]) -> None:
    """Search as the flags say, and leave the process with libFuzzer's exit status."""
    logging.disable(logging.CRITICAL)  # the inspector logs what it refuses
    corpus = directory / "corpus"
    corpus.mkdir(exist_ok=True)
    target = {**TARGETS, "control": CONTROL}[name]
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    if target.words:
        words = directory / "words"
        words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))
        flags = [f"-dict={words}", *flags]
    flags = [f"-artifact_prefix={directory}/found-", *flags]
    atheris.Setup([sys.argv[0], *flags, str(corpus)], target.run)
    atheris.Fuzz()


def _escaped(word: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word.encode("latin-1"))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
