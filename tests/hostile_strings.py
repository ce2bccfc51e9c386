"""Strings that break what takes text apart: the same ones for parsing, rendering and transport.

Made by rule and a fixed seed, so that they are the same everywhere and each can be named by its
place in the list.
"""

import random
import string

SEED = 2014
RANDOM = 220

# What a parser on the way has a meaning for: systemd, Quadlet, the shell, YAML, Compose, JSON, CSV,
# Go templates, printf, ssh, paths.
_MEANINGFUL = (
    *("", " ", "  ", "\t", "\n", "\r", "\r\n", "\n\n", " a", "a ", " a ", "a b", "a  b", "a\tb"),
    *("a\n", "\na", "a\nb", "a\r\nb", "a\rb", "a\\", "a\\\\", "a\\\nb", "\\", "\\\\", "\\\\\\"),
    *("\\n", "\\t", "\\s", "\\x41", "\\101", "\\u0041", "\\U00000041", "\\x", "\\q", "\\0", "\\;"),
    *('"', "'", '""', "''", '"a', "a'", '"a b"', "'a b'", 'a"b', "a'b", "\"'", "'\"'\"'", '\\"'),
    *("%", "%%", "%n", "%N", "%h", "%i", "a%b", "%%n", "100%", "%{a}", "%s%n%x", "%t/%N.cid"),
    *("$", "$$", "$A", "${A}", "$HOME", "${HOME}", "$$HOME", "$(id)", "$((1+1))", "a$b", "a$"),
    *("${PROVISION_EMPTY}", "$PROVISION_X80", "${A:-b}", "$1", "$@", "$*", "$?", "$!", "${", "$}"),
    *("@a", "-a", "--a", "-", "--", ":a", "+a", "!a", "!!a", "|a", "-@a", "--rm", "--help", "-e"),
    *(";", "; ", ";;", "a;b", " ; ", "a ; b", "; reboot", "#", "# a", "#a", "a # b", ";a", "\n#a"),
    *("[", "]", "[]", "[Service]", "\n[Service]", "[Service]\nExecStart=/bin/false", "a]", "[a"),
    *("=", "==", "a=", "=a", "a=b", "a=b=c", "A=1\nB=2", "ExecStart=/bin/false", "\nUser=root"),
    *("`id`", "a`", "&", "&&", "a && b", "| cat", "||", "> /a", "< /a", ">>", "2>&1", "<<E", "!"),
    *("*", "?", "[a-z]", "{a,b}", "~", "~root", "a*", "/*", "(", ")", "(a)", "{", "}", "^", "!!"),
    *(
        "{{",
        "}}",
        "{{.}}",
        "{{.ID}}",
        '{{"a"}}',
        "{}",
        '{"a": 1}',
        '["a"]',
        "[1, 2]",
        "<a>",
        "&amp;",
    ),
    *(",", "a,b", ",,", '"a,b"', "type=bind", "source=/,target=/a", ":", "a:b", "::", "/a:/b:ro"),
    *(
        "/",
        "//",
        "/a/../b",
        "..",
        ".",
        "./a",
        "../../etc/passwd",
        "/proc/self/environ",
        "a/b",
        "\\a",
    ),
    *(
        "null",
        "~",
        "yes",
        "no",
        "on",
        "off",
        "true",
        "false",
        "0",
        "00",
        "0x10",
        "0o7",
        "1e3",
        "1_0",
    ),
    *(
        ".inf",
        ".nan",
        "1:30",
        "2026-11-20",
        "- a",
        "? a",
        ": a",
        "a: b",
        "a:",
        "!a b",
        "!!str",
        "&a",
    ),
    *("*a", "|", ">", "|-", "@", "---", "...", "<<", "%YAML 1.1", "a #b", "'", "''a''", "\ufeffa"),
    *("-oProxyCommand=id", "root@host", "\x1b[2J", "\x1b]0;a\x07", "a\bb", "a\x7fb", "\x1b[31ma"),
    *(
        "NONE",
        "CMD",
        "CMD-SHELL",
        "host",
        "root",
        "0:0",
        "EOF",
        "E\nEOF\n",
        "exit 1",
        "a\vb",
        "a\fb",
    ),
)
# One by one: characters that Unicode, or a reader of it, treats in its own way.
_NUMBERS = """
    80 81 85 8D 9B 9F A0 AD E9 FF 100 130 131 17F 300 301 378 5D0 600 61C 7FF 800 E33 1680 180E
    2000 200B 200D 200E 200F 2028 2029 202A 202E 202F 2060 2066 2069 2126 3000 AC00 D7FF E000 F8FF
    FB01 FDCF FDF0 FE0F FEFF FF04 FF05 FFF9 FFFC FFFD 10000 1F600 1F1E6 1FFFD 20000 2F800 E0001
    E0100 F0000 FFFFD 10FFFD
"""
_CODE_POINTS = tuple(int(number, 16) for number in _NUMBERS.split())
_ALPHABETS = (
    string.printable,
    string.punctuation + " \n\t",
    "%$\\\"'; \n",
    "".join(map(chr, range(1, 0x20))) + "\x7f",
    "".join(map(chr, _CODE_POINTS)) + "a ",
)
LONG = ("x" * 4096, "% " * 2048, '\\"' * 2048, "\n" * 4096, "\u00e9" * 4096, "$" * 4097)


def _strings() -> tuple[str, ...]:
    found = list(_MEANINGFUL)
    for character in map(chr, [*range(1, 0x20), 0x7F]):
        found += [character, f"a{character}b"]
    for character in string.punctuation:
        found += [character, f"{character}a", f"a{character}", f"a{character * 2}b"]
    for character in map(chr, _CODE_POINTS):
        found += [character, f"a{character}"]
    found += LONG
    dice = random.Random(SEED)  # noqa: S311  (to be the same everywhere)
    for number in range(RANDOM):
        alphabet = _ALPHABETS[number % len(_ALPHABETS)]
        found.append("".join(dice.choices(alphabet, k=dice.randint(1, 40))))
    return tuple(dict.fromkeys(found))


# To arrive byte for byte. All are valid Unicode without NUL.
STRINGS = _strings()
# Unicode's noncharacters: bytes can carry them, but systemd does not call them UTF-8.
NONCHARACTERS = tuple(
    map(chr, (0xFDD0, 0xFDEF, 0xFFFE, 0xFFFF, 0x1FFFE, 0x1FFFF, 0xFFFFE, 0x10FFFE, 0x10FFFF))
)
# Nobody can carry these through a program's arguments.
REFUSED = ("\0", "a\0", "\0a", "a\0b", "\ud800", "a\udfff", "\udc80", "\ud83d")
