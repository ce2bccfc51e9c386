"""Read what scripts on a node print."""

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.services.node import answers
from provision.services.node.answers import Answer, Unreadable


def line(name: str, output: bytes = b"", *, status: int = 0, errors: bytes = b"") -> bytes:
    fields = (base64.b64encode(output), base64.b64encode(errors))
    return b"%s %d %s %s\n" % (name.encode(), status, *fields)


@given(st.binary(), st.binary(), st.integers(0, 255))
def test_whatever_a_command_wrote_is_read_back(output: bytes, errors: bytes, status: int) -> None:
    printed = line("one", output, status=status, errors=errors) + line("two", errors) + b"end\n"
    assert answers.read(printed) == {
        "one": Answer(status=status, output=output, errors=errors),
        "two": Answer(output=errors),
    }


@given(st.binary(max_size=200))
def test_anything_else_is_unreadable_or_read(printed: bytes) -> None:
    try:
        answers.read(printed)
    except Unreadable:
        return
    assert printed.startswith(b"end") or re.match(rb"[^ ]* *-?\+?[0-9_]+ ", printed)


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        (b"", "its answer has no end"),
        (line("one", b"x"), "its answer has no end"),
        (b"one 0 eA==", "it answered something else: 'one 0 eA=='"),
        (b"one x eA== \nend\n", "it answered something else: 'one x eA== '"),
        (b"one 0 eA \nend\n", "it answered something else: 'one 0 eA '"),
        (b"Welcome to \x1b[1mnode\n", "it answered something else: 'Welcome to [1mnode'"),
        (line("error", b"cannot\n write") + b"end\n", "cannot write"),
    ],
)
def test_an_answer_that_is_none_says_so(printed: bytes, said: str) -> None:
    with pytest.raises(Unreadable, match=f"^{re.escape(said)}$"):
        answers.read(printed)


def test_last_words_are_the_last_line_with_any() -> None:
    assert Answer(errors=b"one\ntwo\x1b[0m\r\n\n \n").last_words == "two[0m"
    assert Answer().last_words == ""
