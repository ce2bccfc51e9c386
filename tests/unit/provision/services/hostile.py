"""Strings that somebody's code takes for something else."""

import random
import unicodedata

LONG = 30_000


def strings() -> list[str]:
    """Make some 700 strings, always the same ones; none has a NUL or half a character."""
    ascii_ones = [chr(code) for code in range(1, 128)]
    found = [
        *ascii_ones,
        *(f"a{one}b" for one in ascii_ones),
        *(f"{one}{one}" for one in ascii_ones if not one.isalnum()),
        *(f"{one}x{one}" for one in " \t\n'\"`\\$%#&*!|>{}[],:;?@~^-=<()"),
        *WRITTEN_OUT,
        *_unicode(),
        *_random(),
    ]
    return list(dict.fromkeys(found))


WRITTEN_OUT = (
    "",
    " leading", "trailing ", "\tleading tab", "two\nlines", "\nfirst", "last\n", "\n\n", "a\r\nb",
    "a\rb", "a\\\nb", "a\\nb", "\\", "\\\\", "\\'", '\\"', "a\\", "'", "''", "'''", '"', '""',
    "it's", "'a'\"b\"", "$HOME", "${HOME}", "$(id)", "`id`", "$$", "$$$", "$", "a$", "$a$", "\\$x",
    "%n", "%%", "%", "%i%I%H%m", "50%", "%h/.ssh", "&", "&&", "a & b", "a && reboot", "; reboot",
    "| sh", "> /etc/passwd", "< /dev/zero", "<<EOF", "2>&1", "!!", "!x", "#", "# comment", "a #b",
    "*", "?", "[a-z]", "{a,b}", "~", "~root", "-", "--", "-v", "--privileged", "-e X=1", "- item",
    ": ", "a: b", "a:b", "a:", "key: {x: [y]}", "? x", "@x", "=", "==", "=x", "x=", "a=b=c", ",",
    "a,b", '"a",b', "a,,", ";", "a;b", ":", "/", "//", ".", "..", "../..", "/etc/passwd",
    "yes", "no", "on", "off", "true", "false", "True", "null", "Null", "~", "y", "n", "NaN", ".inf",
    "1", "01", "0x10", "0o17", "1e3", "1.10", "1_000", "1:30", "2001-01-01", "-1", "+1",
    "|", ">", "|-", "---", "--- a", "...", "%YAML 1.1", "&anchor", "*alias", "!!str", "<<",
    "<<: *a",
    "[Service]", "[X-Provision]", "ExecStart=/bin/sh", "\n[Service]\nExecStart=/bin/sh\n",
    "Environment=A=b", "\\x41", "\\u0041", "\\101", "\\s", "\\t", "{{.ID}}", "{% x %}", "<%= x %>",
    "%s", "%(x)s", "{0}", "{}", "${{x}}", "<script>", "' OR 1=1 --", "\x1b[31mred\x1b[0m", "\x07",
    "\x1b]0;title\x07", "a\bb", "\x7f", "a\vb\fc", "\x80", "\x85", "a\x85b", "\x9b31m", "\xa0",
    "\u2028", "a \u2028 b", "\u2029", "\ufeff", "a\ufeffb", "\ufffd", "\ufffe", "\uffff",
    "\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0010ffff", "\u202eabc", "\u200f",
    "שלום", "مرحبا", "日本語", "e\u0301", "é", "ﬁ", "İ", "ß", "ſ", "K", "\u0000".replace("\0", "␀"),
    "x" * LONG, "é" * LONG, "\n" * 1000, "'" * 1000, "\\" * 1000, "$" * 1000, " " * 1000,
    "a b " * 1000, "\t\n " * 300,
)  # fmt: skip


def _unicode() -> list[str]:
    """One character of each general category there is, and each blank."""
    of_category: dict[str, str] = {}
    blanks = []
    for code in range(128, 0x110000):
        character = chr(code)
        category = unicodedata.category(character)
        if category != "Cs":
            of_category.setdefault(category, character)
        if character.isspace():
            blanks.append(f"a{character}b")
    return [*of_category.values(), *blanks]


def _random() -> list[str]:
    chance = random.Random(3)  # noqa: S311 - the same ones each time
    alphabet = " \t\n\r'\"\\$%`#&*;|<>(){}[]:,=-!~abc01é\u2028\u202e\U0001f600\x01\x1b\x7f"
    return ["".join(chance.choices(alphabet, k=chance.randrange(1, 40))) for _ in range(200)]
