"""Read, check and edit a kernel command line.

Glossary: a *kernel argument* is one word of the command line, `name` or `name=value`; a value may
hold spaces inside double quotes. The kernel splits at white space outside of quotes (lib/cmdline.c,
next_arg).
"""

from collections.abc import Iterable

from atomic_baremetal.errors import Error

LIMIT_BYTES = 4096  # the largest COMMAND_LINE_SIZE of any architecture of Linux


class KernelArgumentError(Error):
    """A kernel argument that no boot loader could hand on unharmed."""


def split(cmdline: str) -> list[str]:
    """Split a command line into its arguments, in order, quotes kept.

    :raises KernelArgumentError: a control character, or a quote that is never closed.
    """
    check(cmdline)
    words: list[str] = []
    word = ""
    quoted = False
    for character in cmdline:
        if character == '"':
            quoted = not quoted
        if character == " " and not quoted:
            if word:
                words.append(word)
            word = ""
        else:
            word += character
    if quoted:
        raise KernelArgumentError(f"kernel arguments with an unclosed quote: {cmdline!r}")
    return [*words, word] if word else words


def check(text: str) -> None:
    """Refuse control characters (a newline ends a boot loader's line; a tab splits an argument),
    and more than any kernel takes.

    :raises KernelArgumentError: names the first one found, escaped.
    """
    if len(text.encode(errors="replace")) > LIMIT_BYTES:
        raise KernelArgumentError(
            f"kernel arguments of {len(text)} characters",
            hint=f"no kernel takes more than {LIMIT_BYTES} bytes",
        )
    bad = next((character for character in text if not character.isprintable()), None)
    if bad is not None:
        raise KernelArgumentError(
            f"kernel arguments with the control character {bad!r}: {text!r}",
            hint="arguments are separated by single spaces",
        )


def edit(
    arguments: Iterable[str], *, append: Iterable[str] = (), delete: Iterable[str] = ()
) -> list[str]:
    """Delete, then append arguments, as coreos-installer's --delete-karg and --append-karg do.

    :param delete: each is a whole argument; wherever it occurs it goes.
    :raises KernelArgumentError: an argument to append is not one.
    """
    unwanted = set(delete)
    result = [argument for argument in arguments if argument not in unwanted]
    for argument in append:
        if split(argument) != [argument]:
            raise KernelArgumentError(
                f"not one kernel argument: {argument!r}", hint="give one per option"
            )
        result.append(argument)
    return result
