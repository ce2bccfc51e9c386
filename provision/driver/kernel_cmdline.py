"""Decide the kernel command line that a node's own system is started with.

The text is kept as it was given, in its order: Ironic's parser is asked for its verdict only,
because what it prints groups arguments by name and drops what it cannot hold.
"""

from ironic.common import exception
from ironic.common import kernel_parameters as ironic_parameters

DEFAULT = "%default%"
# Words by which iPXE ends one command and begins another; a word that begins with # ends the line.
_IPXE_WORDS = ("||", "&&", ";")


def resolve(
    *, requested: str | None, image: str | None, filesystem_uuid: str | None, parse: bool = True
) -> str:
    """Choose the arguments: what the node asks for, else what the image carries.

    :param requested: instance_info/kernel_append_params; %default% in it stands for the image's.
        None: the image's alone.
    :param image: the image's property kernel_cmdline; None when it has none.
    :param filesystem_uuid: of the base, when that is a plain file system: names the root where the
        arguments do not. None: they stay without.
    :param parse: let Ironic's parser check them too ([conductor]disable_kernel_parameter_parsing).
    :raises InvalidParameterValue: something that iPXE would not hand on unharmed.
    """
    text = (image or "") if requested is None else requested.replace(DEFAULT, image or "")
    text = text.strip(" ")
    check(text, parse=parse)
    if filesystem_uuid and not any(word.startswith("root=") for word in text.split()):
        text = f"{text} root=UUID={filesystem_uuid}".strip()
    return text


def check(text: str, *, parse: bool = True) -> None:
    """Refuse what would not arrive at the kernel as it is written here.

    :raises InvalidParameterValue: says what, and shows the arguments.
    """
    bad = next((character for character in text if not character.isprintable()), None)
    if bad is not None:
        _refuse(f"the control character {bad!r}", text)
    for sequence in ("${", "||", "&&"):
        if sequence in text:
            _refuse(f"{sequence!r}, which iPXE would interpret", text)
    for word in text.split():
        if word in _IPXE_WORDS or word.startswith("#"):
            _refuse(f"the word {word!r}, which iPXE would interpret", text)
    if text.count('"') % 2:
        _refuse("an unclosed quote", text)
    if any("  " in quoted for quoted in text.split('"')[1::2]):
        _refuse("a quoted value with several spaces in a row, which iPXE would join", text)
    if parse and text:
        ironic_parameters.KernelCommandLine.parse(text)


def _refuse(what: str, text: str) -> None:
    raise exception.InvalidParameterValue(f"Kernel arguments contain {what}: {text!r}")
