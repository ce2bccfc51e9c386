"""Name images by digest."""

import json
from typing import Any

import pytest

from provision.services.host import Image
from provision.services.node import pulled
from provision.services.node.answers import Answer, Unreadable
from provision.services.node.pulled import ImageNameError

OWN, LIST = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"


def parse(name: str, *digests: str, **more: Any) -> Image:
    image = {"RepoDigests": list(digests), "Digest": OWN, "Config": {"User": "mysql"}, **more}
    (found,) = pulled.parse(Answer(output=json.dumps([image]).encode()), [name])
    return found


@pytest.mark.parametrize(
    ("name", "digests", "pinned"),
    [
        ("r:5000/a:1", [f"r:5000/a@{OWN}"], f"r:5000/a@{OWN}"),
        ("r:5000/a", [f"r:5000/a@{OWN}", f"r:5000/b@{LIST}"], f"r:5000/a@{OWN}"),
        # the list of all architectures, not the image of this one
        ("r:5000/a:1", [f"r:5000/a@{OWN}", f"r:5000/a@{LIST}"], f"r:5000/a@{LIST}"),
        ("r:5000/a:1", [f"r:5000/a@{LIST}", f"r:5000/a@{OWN}"], f"r:5000/a@{LIST}"),
        # who asks for a digest gets it
        (f"r:5000/a@{OWN}", [f"r:5000/a@{LIST}", f"r:5000/a@{OWN}"], f"r:5000/a@{OWN}"),
        (f"r:5000/a:1@{OWN}", [f"r:5000/a@{OWN}"], f"r:5000/a@{OWN}"),
        ("a:1", [f"docker.io/library/a@{OWN}"], f"docker.io/library/a@{OWN}"),
        ("b/a", [f"quay.io/b/a@{OWN}"], f"quay.io/b/a@{OWN}"),
    ],
)
def test_an_image_is_named_by_digest(name: str, digests: list[str], pinned: str) -> None:
    assert parse(name, *digests) == Image(name=name, pinned=pinned, user="mysql")


def test_an_image_without_a_user_is_roots() -> None:
    assert parse("a", f"x/a@{OWN}", Config={}).user == ""
    assert parse("a", f"x/a@{OWN}", Config=None, User="7").user == "7"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(status=125, errors=b"Error: x\n"), "looking at its images failed: Error: x"),
        (Answer(output=b'[{"RepoDigests": ["r:5000/b@x"]}]'), "image r:5000/a:1 has no digest"),
        (
            Answer(output=b"[]"),
            "podman's list of images cannot be read: zip() argument 2 is shorter than argument 1",
        ),
        (
            Answer(output=b"?"),
            "podman's list of images cannot be read: Expecting value: line 1 column 1 (char 0)",
        ),
    ],
)
def test_what_went_wrong_is_said(answer: Answer, said: str) -> None:
    with pytest.raises(Unreadable) as refused:
        pulled.parse(answer, ["r:5000/a:1"])
    assert str(refused.value) == said


@pytest.mark.parametrize(
    "name", ["a", "r:5000/a/b:1.2-x_y", f"localhost/a:1@{OWN}", "[::1]:5000/a", "Library/a"]
)
def test_an_images_name_may_go_to_a_node(name: str) -> None:
    pulled.check(name)


@pytest.mark.parametrize(
    "name", ["", "-a", "--help", "a b", "a\n", "a\0", "a;b", "$(id)", "a@sha256:1", "é", "a" * 1001]
)
def test_what_is_no_images_name_may_not(name: str) -> None:
    with pytest.raises(ImageNameError) as refused:
        pulled.check(name)
    assert str(refused.value) == f"{name!r} is not an image's name (REPOSITORY:TAG, for one)"
