"""Every string comes back from a unit file as it went in, or is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.services.unit import unit_file
from provision.services.unit.unit_file import Section, UnitFileError
from tests.hostile_strings import NONCHARACTERS, REFUSED, STRINGS

WORDS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0").filter(
        lambda one: ord(one) & 0xFFFE != 0xFFFE and not 0xFDD0 <= ord(one) <= 0xFDEF
    )
)
PATH = "/usr/bin/podman"


def round_trip(words: tuple[str, ...], *, wrap: bool) -> tuple[str, ...]:
    """Write words into a unit, read that, and read them."""
    entries = (("ExecStart", unit_file.command(words, wrap=wrap)),)
    text = unit_file.serialize([Section(name="Service", entries=entries)])
    (section,) = unit_file.parse(text)
    return tuple(map(unit_file.unliteral, unit_file.split(section.last("ExecStart") or "")))


@given(st.lists(WORDS), st.booleans())
def test_words_come_back(words: list[str], wrap: bool) -> None:
    assert round_trip((PATH, *words), wrap=wrap) == (PATH, *words)


@pytest.mark.parametrize("wrap", [True, False])
def test_hostile_strings_come_back(wrap: bool) -> None:
    assert len(STRINGS) >= 500
    assert round_trip((PATH, *STRINGS), wrap=wrap) == (PATH, *STRINGS)


@given(WORDS)
def test_a_quoted_word_is_one_printable_line(word: str) -> None:
    quoted = unit_file.quote(word)
    assert quoted.isprintable()
    assert unit_file.split(quoted) == (word,)


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("--name=a_b", "--name=a_b"),
        ("", '""'),
        ("a b", '"a b"'),
        (";", '";"'),
        ("#a", '"#a"'),
        ("'", '"\'"'),
        ('"', '"\\""'),
        ("a\\", '"a\\\\"'),
        ("a\nb\t\r", '"a\\nb\\t\\r"'),
        ("\x1b\x7f", '"\\x1b\\x7f"'),
        ("é ☃", '"é ☃"'),
        ("\u0080\u2028\U000e0001", '"\\u0080\\u2028\\U000e0001"'),
    ],
)
def test_words_are_written_so_that_people_can_read_them(word: str, written: str) -> None:
    assert unit_file.quote(word) == written


def test_nothing_in_a_command_is_expanded() -> None:
    written = unit_file.command((PATH, "50%", "%n", "$HOME", "${A}", "$$"))
    assert written == f'{PATH} 50%% %%n $$HOME "$${{A}}" $$$$'


def test_each_word_can_have_a_line() -> None:
    section = Section(
        name="Service", entries=(("ExecStart", unit_file.command((PATH, "#a", "b"), wrap=True)),)
    )
    text = unit_file.serialize([section])
    assert text == f'[Service]\nExecStart={PATH} \\\n    "#a" \\\n    b\n'
    assert unit_file.parse(text)[0].last("ExecStart") == f'{PATH}  "#a"  b'


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("a  b\tc ", ("a", "b", "c")),
        ("a\"b c\"d 'e f'", ("ab cd", "e f")),
        (r"\x41\102\u0043\U00000044\s\;", None),
        (r"\x41\102\u0043\U00000044\s", ("ABCD ",)),
        (r"\xc3\xa9 \303\251", ("é", "é")),
        ("'' \"\"", ("", "")),
    ],
)
def test_words_are_read_as_systemd_reads_them(value: str, words: tuple[str, ...] | None) -> None:
    if words is None:
        with pytest.raises(UnitFileError):
            unit_file.split(value)
    else:
        assert unit_file.split(value) == words


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ('"a', "a quote in a unit file does not end"),
        ("a\\", "a unit file holds an escape that systemd does not know: \\"),
        ("\\q", "a unit file holds an escape that systemd does not know: \\q"),
        ("\\x00", "a unit file holds an escape that systemd does not know: \\x"),
        ("\\xff", "a unit file holds escapes that are not UTF-8"),
        ("\\u12", "a unit file holds a broken \\u or \\U escape"),
        ("\\ud800", "a unit file holds an escape of no character: d800"),
    ],
)
def test_what_systemd_would_not_read_is_refused(value: str, says: str) -> None:
    with pytest.raises(UnitFileError) as caught:
        unit_file.split(value)
    assert str(caught.value) == says


@pytest.mark.parametrize("word", ["%n", "a%b", "%", "$A", "${A}", "a$"])
def test_a_word_that_systemd_would_expand_is_not_read_as_literal(word: str) -> None:
    with pytest.raises(UnitFileError, match="is expanded by systemd"):
        unit_file.unliteral(word)


def test_a_file_is_read_with_comments_continuations_and_repeated_keys() -> None:
    text = (
        "# one\n[A]\nX=1\n; two\nX = 2 \n\n"
        "[B]\nY=a \\\n# three\n  ; four\n  b\\\\\\\n c\nZ=\n"
        "[A]\nX=3"
    )
    assert unit_file.parse(text) == (
        Section(name="A", entries=(("X", "1"), ("X", "2"))),
        Section(name="B", entries=(("Y", "a  b\\\\ c"), ("Z", ""))),
        Section(name="A", entries=(("X", "3"),)),
    )
    assert unit_file.parse(text)[0].last("X") == "2"
    assert unit_file.parse(text)[0].all("X") == ("1", "2")
    assert unit_file.parse(text)[0].last("Y") is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[A]\nnonsense", "line 2 of the unit file is neither section nor key"),
        ("X=1", "line 1 of the unit file is neither section nor key"),
        ("\n[A", "line 2 of the unit file: a section without its ]"),
    ],
)
def test_what_is_no_unit_file_is_refused_by_line(text: str, says: str) -> None:
    with pytest.raises(UnitFileError) as caught:
        unit_file.parse(text)
    assert str(caught.value) == says


@pytest.mark.parametrize("word", REFUSED + NONCHARACTERS)
def test_what_no_unit_can_carry_is_refused(word: str) -> None:
    with pytest.raises(UnitFileError):
        unit_file.quote(f"--env=A={word}")


@pytest.mark.parametrize(
    ("word", "says"),
    [
        (
            "--env=KEY=secret\0",
            "'--env=KEY=...' holds a NUL byte, which no program can be given",
        ),
        ("--env=KEY=secret\ud800", "'--env=KEY=...' is not valid Unicode"),
        (
            "a\ufffe",
            "'a\\ufffe' holds U+FFFE, which Unicode keeps free of meaning and systemd does not read"
            " (put it into a config)",
        ),
        (
            "--env=KEY=" + "x" * 131072,
            "'--env=KEY=...' is 131082 bytes long, and a program can be given 131071 at most"
            " (put it into a config)",
        ),
    ],
)
def test_a_refusal_names_the_word_but_not_its_value(word: str, says: str) -> None:
    with pytest.raises(UnitFileError) as caught:
        unit_file.check(word)
    assert str(caught.value) == says


@pytest.mark.parametrize("value", [" a", "a ", "a\nb", "a\\", "a\rb", "a\\\n"])
def test_a_value_that_would_be_read_as_another_is_refused(value: str) -> None:
    with pytest.raises(UnitFileError) as caught:
        unit_file.serialize([Section(name="A", entries=(("X", value),))])
    assert str(caught.value) == "the value of X= would not be read back as it is"


@pytest.mark.parametrize("key", ["", "A B", "#A", "A=", "[A]", "A\nB"])
def test_a_key_that_would_be_read_as_another_is_refused(key: str) -> None:
    with pytest.raises(UnitFileError, match="is no key of a unit file"):
        unit_file.serialize([Section(name="A", entries=((key, "1"),))])


@pytest.mark.parametrize("name", ["A]", "A\nB"])
def test_a_section_that_would_be_read_as_another_is_refused(name: str) -> None:
    with pytest.raises(UnitFileError, match="is no name of a section"):
        unit_file.serialize([Section(name=name, entries=())])


def test_a_line_that_systemd_would_not_read_is_refused() -> None:
    words = ["x" * 131_000] * 8
    assert unit_file.serialize(
        [Section(name="A", entries=(("X", unit_file.command((PATH, *words), wrap=True)),))]
    )
    with pytest.raises(UnitFileError) as caught:
        unit_file.serialize(
            [Section(name="A", entries=(("X", unit_file.command((PATH, *words, *words))),))]
        )
    assert str(caught.value) == (
        "X= is 2096034 bytes long, and systemd reads 1048576 at most"
        " (put long values into a config)"
    )


@pytest.mark.parametrize("words", [(), ("podman",), ("@/bin/true",), ("--/bin/true",)])
def test_a_command_begins_with_a_path(words: tuple[str, ...]) -> None:
    with pytest.raises(UnitFileError) as caught:
        unit_file.command(words)
    assert str(caught.value) == "a unit's command has to begin with an absolute path"


def test_a_command_may_be_let_fail() -> None:
    assert unit_file.command(("-/bin/true", "a")) == "-/bin/true a"
