"""YAML with lines, and without what its readers disagree about."""
# ruff: noqa: E501 - a case a line, with the whole of its error

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from provision.services.file import yaml_file
from provision.services.file.fields import Field
from provision.services.file.problems import Problem, Problems
from provision.services.file.yaml_file import Entry, Mapping, Scalar, Sequence
from tests.unit.provision.services.file.loading import Path, refusal


def parse(text: str) -> yaml_file.Node:
    return yaml_file.parse(text.encode(), Problems(Path("shop.yaml")))


def test_every_value_has_its_line() -> None:
    assert parse("a:\n- 'x'\n- b\nc: {d: ~}\n") == Mapping(
        line=1,
        entries=(
            Entry(
                key="a",
                line=1,
                value=Sequence(
                    line=2, items=(Scalar(line=2, text="x"), Scalar(line=3, text="b", plain=True))
                ),
            ),
            Entry(
                key="c",
                line=4,
                value=Mapping(
                    line=4,
                    entries=(Entry(key="d", line=4, value=Scalar(line=4, text="~", plain=True)),),
                ),
            ),
        ),
    )


def test_merged_keys_give_way_to_own_ones_and_to_earlier_ones() -> None:
    text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc:\n  z: 3\n  <<: [*a, *b]\n"
    c = parse(text).entries[2].value  # type: ignore[union-attr]
    assert {one.key: one.value.text for one in c.entries} == {"x": "1", "y": "1", "z": "3"}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a: [", "1: not YAML: while parsing a flow node, expected the node content, but found '<stream end>'"),
        ("\n\na: b: c", "3: not YAML: mapping values are not allowed here"),
        ("a: 'x", "1: not YAML: while scanning a quoted scalar, found unexpected end of stream"),
        ("a:\n\tb: c", "2: not YAML: while scanning for the next token, found character '\\t' that cannot start any token"),
        ('\na: "\\U00110000"', "2: not YAML: a number in an escape or directive is too large"),
        ("%YAML " + "9" * 5000 + ".1\n--- a", "1: not YAML: a number in an escape or directive is too large"),
        ("a: 1\n---\nb: 2", "2: a second YAML document begins here (one is enough)"),
        ("a: 1\nb: *x", "2: a YAML alias of something that has no anchor (a text that begins with * has to be in quotes)"),
        ("a: &x [*x]", "1: a YAML alias stands within what it means"),
        ("a: !x 1", "1: a YAML tag, which is not handled here (quotes make a text)"),
        ("a: !!int 1", "1: a YAML tag, which is not handled here (quotes make a text)"),
        ("? [a]\n: b", "1: a key that is not a text"),
        ("?\n: b", "1: a key that is not a text"),
        ("a: \x07", "1: the control character U+0007 stands in the file (write it in double quotes as \"\\xNN\", if it is meant)"),
        ("a:\n  - x\u2028y", "2: U+2028 ends a line for some YAML readers and not for others (write it in double quotes as \"\\u2028\", if it is meant)"),
        ("a: x\x85y", "1: U+0085 ends a line for some YAML readers and not for others (write it in double quotes as \"\\u0085\", if it is meant)"),
        ('a:\n- "\\ufdd0"', "2: a text with U+FDD0, which is no character to systemd"),
        ('a: "\\U0010ffff"', "1: a text with U+10FFFF, which is no character to systemd"),
        ("[" * 42 + "]" * 42, "1: values are nested deeper than 40 levels"),
        ("<<: 1", "1: << merges mappings only"),
    ],
)  # fmt: skip
def test_what_is_not_understood(text: str, error: str) -> None:
    assert refusal(text) == f"shop.yaml:{error}"


def test_not_utf_8() -> None:
    assert refusal(b"a: b\nc: \xff\n") == "shop.yaml:2: the file is not in UTF-8"
    assert refusal("a: b".encode("utf-16")) == "shop.yaml:1: the file is not in UTF-8"


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert parse("\ufeffa: b") == parse("a: b")


def test_a_file_that_is_too_large() -> None:
    assert refusal(b"#" * 1_000_001) == "shop.yaml:1: the file is larger than 1000000 bytes"


@pytest.mark.parametrize(
    "item", ["[{0},{0},{0},{0},{0},{0},{0},{0},{0}]", "{{<<: [{0},{0}], a{1}: {0}}}"]
)
def test_aliases_do_not_grow_without_end(item: str) -> None:
    lines = ["x0: &x0 {a: b}"]
    lines += [f"x{n}: &x{n} " + item.format(f"*x{n - 1}", n) for n in range(1, 30)]
    error = refusal("\n".join(lines))
    assert error.endswith(": with all aliases written out, more than 100000 values")


def test_aliases_do_not_repeat_a_long_text_without_end() -> None:
    aliases = ", ".join(["*x"] * 1000)
    error = refusal(f"x: &x {'y' * 100_000}\nz: [{aliases}]")
    assert error == "shop.yaml:2: with all aliases written out, more than 100000 values"


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("8080", "8080"),
        ("-1", "-1"),
        ("1.5", "1.5"),
        ("true", "true"),
        ("1:30", "1:30"),
        ("1.2.3", "1.2.3"),
        ("2001-01-01", "2001-01-01"),
        ("0440x", "0440x"),
        ("=", "="),
        ("-", None),
        ('"yes"', "yes"),
        ("'1.10'", "1.10"),
        ("!!str 1.10", "1.10"),
        ("! 1.10", "1.10"),
        ("|-\n 1.10", "1.10"),
        ("1.10", None),
        ("1.", None),
        (".5", None),
        ("+1", None),
        ("-0", None),
        ("007", None),
        ("0o7", None),
        ("0x1F", None),
        ("0b1", None),
        ("1_000", None),
        ("1e3", None),
        ("1E-3", None),
        (".inf", None),
        ("-.INF", None),
        (".NaN", None),
        ("9" * 19, None),
        ("0.1234567890123456", None),
        ("0.00001", None),
        ("True", None),
        ("yes", None),
        ("No", None),
        ("ON", None),
        ("off", None),
        ("~", None),
        ("null", None),
        ("", None),
    ],
)
def test_what_is_a_text_without_quotes(written: str, text: str | None) -> None:
    node = Problems(Path("x"))
    try:
        found = parse(f"a: {written}")
        field = Field(node=found.entries[0].value, where="", problems=node)  # type: ignore[union-attr]
        assert field.text() == text
    except Problem:
        assert text is None


WORDS = ("true", "false", "yes", "no", "on", "off", "null", "~", "y", "n")
PLAIN = st.from_regex(r"[-+]?[0-9.][0-9_xobaefE.+:-]{0,12}", fullmatch=True) | st.sampled_from(
    [form for word in WORDS for form in (word, word.upper(), word.title())]
)


@settings(deadline=None)  # a busy machine is no failure
@given(PLAIN)
def test_a_text_without_quotes_is_what_another_reader_sees(written: str) -> None:
    """Except for PyYAML's numbers to base 60, which YAML 1.2 and Compose do not have."""
    try:
        node = parse(f"a: {written}").entries[0].value  # type: ignore[union-attr]
        text = Field(node=node, where="", problems=Problems(Path("x"))).text()
    except Problem:
        return
    try:
        seen = yaml.safe_load(f"a: {written}")["a"]
    except ValueError:  # PyYAML's own, of dates that there are not
        return
    said = str(seen).lower() if isinstance(seen, bool) else str(seen)
    assert text == written
    assert ":" in written or said.replace("T", " ") == text
