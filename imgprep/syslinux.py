"""Read the boot entries of a syslinux.cfg or extlinux.conf, for images that have no Boot Loader
Specification entries.

Source: wiki.syslinux.org, SYSLINUX#Configuration; ostree,
src/libostree/ostree-bootloader-syslinux.c.
"""

from dataclasses import dataclass, field

from atomic_baremetal import kernel_arguments
from imgprep.bls import Entry

INITRD = "initrd="


@dataclass(slots=True, kw_only=True)
class _Label:
    """What follows a LABEL line."""

    name: str
    title: str = ""
    linux: str | None = None
    initrds: list[str] = field(default_factory=list)
    append: str = ""


def parse(file_name: str, text: str) -> list[Entry]:
    """Read the entries that boot a Linux kernel, in boot order: the default first.

    :param file_name: what to call the file in an error.
    :raises kernel_arguments.KernelArgumentError: arguments with a control character or an unclosed
        quote.
    """
    labels: list[_Label] = []
    default: str | None = None
    for line in text.split("\n"):
        key, _, value = line.strip().replace("\t", " ").partition(" ")
        key, value = key.lower(), value.strip()
        if key == "label":
            labels.append(_Label(name=value, title=value))
        elif key == "default":
            default = value
        elif key == "menu" and labels:
            word, _, rest = value.partition(" ")
            if word.lower() == "default":
                default = labels[-1].name
            elif word.lower() == "label":
                labels[-1].title = rest.strip().replace("^", "")
        elif labels:
            _set(labels[-1], key, value)
    labels.sort(key=lambda label: label.name != default)
    kernels = [label for label in labels if label.linux]
    return [_entry(f"{file_name} #{number}", label) for number, label in enumerate(kernels, 1)]


def _set(label: _Label, key: str, value: str) -> None:
    if key in ("kernel", "linux"):
        label.linux = value
    elif key == "initrd":
        label.initrds = value.split(",")
    elif key == "append":
        label.append = value


def _entry(name: str, label: _Label) -> Entry:
    words = kernel_arguments.split(label.append)
    inside = [path for word in words if word.startswith(INITRD) for path in _paths(word)]
    return Entry(
        file_name=name,
        number=None,
        title=label.title,
        linux=label.linux,
        initrds=tuple(label.initrds or inside),
        arguments=tuple(word for word in words if not word.startswith(INITRD)),
        variables=(),
    )


def _paths(word: str) -> list[str]:
    return word.removeprefix(INITRD).split(",")
