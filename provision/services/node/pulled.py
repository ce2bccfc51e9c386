"""Check the names of images to pull, and read what a node says of those it has pulled."""

import json
import re
from collections.abc import Sequence

from atomic_baremetal.errors import Error
from provision.services.host import Image
from provision.services.node.answers import Answer, Unreadable
from provision.services.node.observed import repository

REFERENCE = re.compile(
    r"[A-Za-z0-9\[][A-Za-z0-9.:\[\]_/-]*(@sha256:[0-9a-f]{64})?",  # podman judges the rest
    re.ASCII,
)
LONGEST = 1000


class ImageNameError(Error):
    """A text that cannot be an image's name."""


def check(image: str) -> None:
    """Refuse what cannot be an image's name before it goes to a node.

    :raises ImageNameError: it holds what no image's name may hold.
    """
    if len(image) > LONGEST or not REFERENCE.fullmatch(image):
        raise ImageNameError(f"{image!r} is not an image's name", hint="REPOSITORY:TAG, for one")


def parse(answer: Answer, asked: Sequence[str]) -> list[Image]:
    """Read `podman image inspect` of the images that were asked for, in their order.

    :raises Unreadable: podman failed, or an image has no digest.
    """
    if answer.status != 0:
        raise Unreadable(f"looking at its images failed: {answer.last_words}")
    try:
        found = json.loads(answer.text)
        return [
            Image(
                name=name,
                pinned=_pinned(name, image.get("RepoDigests") or [], image.get("Digest") or ""),
                user=(image.get("Config") or {}).get("User") or image.get("User") or "",
            )
            for name, image in zip(asked, found, strict=True)
        ]
    except (ValueError, AttributeError) as error:
        raise Unreadable(f"podman's list of images cannot be read: {error}") from error


def _pinned(name: str, digests: Sequence[str], own: str) -> str:
    """Choose an image's name by digest.

    An image of a list for several architectures has the list's digest and its own: the list's is
    what other nodes, of whatever architecture, can pull.
    """
    if "@" in name:
        return f"{repository(name)}@{name.partition('@')[2]}"
    wanted = repository(name)
    here = [
        one
        for one in digests
        if repository(one) == wanted
        or (not _has_registry(wanted) and repository(one).endswith(f"/{wanted}"))
    ]
    if not here:
        raise Unreadable(f"image {name} has no digest")
    return next((one for one in here if not one.endswith(f"@{own}")), here[0])


def _has_registry(repository_: str) -> bool:
    first, slash, _ = repository_.partition("/")
    return bool(slash) and ("." in first or ":" in first or first == "localhost")
