"""Decide what one `provision nodes` asks for: how many, what they are called, what runs on them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from atomic_baremetal import kernel_arguments
from atomic_baremetal.errors import Error
from provision.images import Image
from provision.node import Instance

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)
NUMBER = "{n}"


class OrderError(Error):
    """What was asked for contradicts itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Hold what is wanted, resolved: nothing is left to look up.

    :ivar host_names: one a node, in order.
    :ivar candidates: names or uuids of the nodes that may be taken; empty: any of the class.
    :ivar root_size_gib: None leaves it to the driver.
    :ivar public_key: one line of an OpenSSH public key.
    :ivar user_data: text that goes to cloud-init beside ours; None for none.
    """

    host_names: tuple[str, ...]
    resource_class: str
    image: Image
    public_key: str
    candidates: tuple[str, ...] = ()
    kernel_append: tuple[str, ...] = ()
    root_size_gib: int | None = None
    user_data: str | None = None

    @property
    def kernel_arguments(self) -> str | None:
        """The command line for Ironic: the image's own arguments, then the appended; None for none.

        :raises KernelArgumentError: one of them is not an argument that a boot loader could hand
            on.
        """
        own = kernel_arguments.split(self.image.kernel_cmdline)
        return " ".join(kernel_arguments.edit(own, append=self.kernel_append)) or None

    def instance(self, host_name: str) -> Instance:
        """Say what is to run on the node that gets this host name."""
        return Instance(
            host_name=host_name,
            image_id=self.image.id,
            root_size_gib=self.root_size_gib or self.image.root_size_gib,
            kernel_arguments=self.kernel_arguments,
        )


def host_names(pattern: str, count: int) -> tuple[str, ...]:
    """Expand a pattern: `{n}` becomes 1, 2, ... count.

    :raises OrderError: several hosts of one name, or a name that no host may have (RFC 1123).
    """
    if count > 1 and NUMBER not in pattern:
        raise OrderError(
            f"{count} nodes cannot all be called {pattern!r}", hint=f"say --name '{pattern}-{{n}}'"
        )
    names = tuple(pattern.replace(NUMBER, str(number)) for number in range(1, count + 1))
    for name in names:
        if len(name) > 253 or not all(LABEL.fullmatch(label) for label in name.split(".")):
            raise OrderError(
                f"{name!r} is not a host name",
                hint="letters, digits and dashes, 63 at most between two dots; see --name",
            )
    return names


def default_pattern(image_name: str) -> str:
    """Name hosts after their image: what a host name cannot hold becomes a dash."""
    return f"{re.sub(r'[^A-Za-z0-9]+', '-', image_name).strip('-')[:55] or 'node'}-{NUMBER}"


def check_candidates(candidates: Sequence[str], count: int) -> None:
    """Refuse a list of candidates that is too short.

    :raises OrderError: fewer candidates than nodes wanted.
    """
    if candidates and len(set(candidates)) < count:
        raise OrderError(
            f"{count} nodes are wanted, but only {len(set(candidates))} may be taken",
            hint="give more --candidate, or none",
        )
