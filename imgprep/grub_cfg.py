"""Read the boot entries of a grub.cfg, for images that have no Boot Loader Specification entries.

A grub.cfg is a program; what is read of it is what ostree and grub2-mkconfig write: menuentry
blocks with a linux and an initrd command, and the number or title in `set default=`. Conditions are
not decided: each block counts.

Source: GRUB manual, section 6 (shell-like scripting); ostree,
src/libostree/ostree-bootloader-grub2.c and src/boot/grub2/ostree-grub-generator.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from atomic_baremetal import kernel_arguments
from imgprep.bls import Entry

LINUX = ("linux", "linux16", "linuxefi")
INITRD = ("initrd", "initrd16", "initrdefi")
BLOCKS = ("menuentry", "submenu")
VARIABLE = frozenset("{abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_?@*#")


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A word of a command.

    :param variable: it holds a variable, so that only the boot loader knows its value.
    """

    text: str
    variable: bool = False


@dataclass(slots=True, kw_only=True)
class _Block:
    """What has been read of a block in braces.

    :param top: which item of the menu's top level it is or is in.
    """

    title: str
    top: int
    linux: list[Word] = field(default_factory=list)
    initrd: list[Word] = field(default_factory=list)


def parse(file_name: str, text: str) -> list[Entry]:
    """Read the entries that boot a Linux kernel, in boot order: the default first.

    :param file_name: what to call the file in an error.
    :raises kernel_arguments.KernelArgumentError: arguments with a control character or an unclosed
        quote.
    """
    found: list[_Block] = []
    tops: list[str] = []
    default = "0"
    open_: list[_Block] = []
    for command in commands(text):
        name, first = command[0].text, command[1].text if len(command) > 1 else ""
        if command[-1].text == "{":
            if not open_ and name in BLOCKS:
                tops.append(first)
            open_.append(_Block(title=first, top=len(tops) - 1))
        elif name == "}" and open_:
            block = open_.pop()
            found += [block] if block.linux else []
        elif name == "set" and first.startswith("default="):
            default = first.removeprefix("default=")
        elif name in LINUX and open_:
            open_[-1].linux = command[1:]
        elif name in INITRD and open_:
            open_[-1].initrd = command[1:]
    top = _default(default, tops)
    found.sort(key=lambda block: block.top != top)
    return [_entry(f"{file_name} #{number}", block) for number, block in enumerate(found, 1)]


def _default(value: str, tops: list[str]) -> int:
    """Return the place of the default; 0 when a variable or anything unknown says it."""
    head = value.partition(">")[0]
    if head in tops:
        return tops.index(head)
    return int(head) if head.isascii() and head.isdigit() and len(head) < 9 else 0


def _entry(name: str, block: _Block) -> Entry:
    kernel, words = block.linux[0], block.linux[1:]
    arguments = [_argument(word.text) for word in words if not word.variable]
    initrds = block.initrd
    return Entry(
        file_name=name,
        number=None,
        title=block.title,
        linux=kernel.text,
        initrds=tuple(word.text for word in initrds if not word.variable),
        arguments=tuple(kernel_arguments.split(" ".join(arguments))),
        variables=tuple(word.text for word in (*words, *initrds) if word.variable),
    )


def _argument(text: str) -> str:
    """Quote a word that holds blanks as the kernel reads it: GRUB has taken its own quotes off."""
    if " " not in text or '"' in text:
        return text
    name, equals, value = text.partition("=")
    return f'{name}="{value}"' if equals and " " not in name else f'"{text}"'


def commands(text: str) -> Iterator[list[Word]]:
    """Split a script into commands and these into words, in one pass.

    A command ends at a line's end or a semicolon. Single quotes keep everything, double quotes
    blanks; a backslash keeps the next character, and before a line's end joins the lines.
    """
    command: list[Word] = []
    position = 0
    while position < len(text):
        character = text[position]
        if character in "\n;":
            if command:
                yield command
            command = []
            position += 1
        elif character in " \t\r":
            position += 1
        elif character == "#":
            end = text.find("\n", position)
            position = len(text) if end < 0 else end
        elif text.startswith("\\\n", position):
            position += 2
        else:
            word, position = _word(text, position)
            command.append(word)
            if word.text == "{":  # what follows on the same line is in the block
                yield command
                command = []
    if command:
        yield command


def _word(text: str, position: int) -> tuple[Word, int]:
    parts: list[str] = []
    quote = ""
    variable = False
    while position < len(text):
        character = text[position]
        following = text[position + 1 : position + 2]
        if not quote and character in " \t\r\n;":
            break
        if character == quote or (not quote and character in "'\""):
            quote = "" if quote else character
        elif character == "\\" and quote != "'":
            # in double quotes a backslash is itself before anything but these
            keep = quote and following not in ("$", '"', "\\", "\n")
            parts.append(character + following if keep else following.replace("\n", ""))
            position += 1
        else:
            variable |= character == "$" and quote != "'" and following in VARIABLE
            parts.append(character)
        position += 1
    return Word(text="".join(parts), variable=variable), position
