"""What one `provision nodes` asks for."""

import pytest

from atomic_baremetal.kernel_arguments import KernelArgumentError
from provision.images import ImageError, usable
from provision.order import OrderError, check_candidates, default_pattern, host_names
from tests.unit.provision.fakes import IMAGE, order


def test_host_names_count_from_one() -> None:
    assert host_names("atomic-{n}", 3) == ("atomic-1", "atomic-2", "atomic-3")
    assert host_names("alone", 1) == ("alone",)
    assert host_names("n{n}.example.org", 1) == ("n1.example.org",)


@pytest.mark.parametrize(
    ("pattern", "error"),
    [
        ("same", "2 nodes cannot all be called 'same' (say --name 'same-{n}')"),
        *(
            (
                bad + "{n}",
                f"{bad + '1'!r} is not a host name (letters, digits and dashes, 63 at most "
                "between two dots; see --name)",
            )
            for bad in ("-a", "a b", "a_", "ä", "x" * 63, "a..b", "../a", "a\n")
        ),
    ],
)
def test_names_that_no_host_may_have(pattern: str, error: str) -> None:
    with pytest.raises(OrderError) as raised:
        host_names(pattern, 2)
    assert str(raised.value) == error


def test_hosts_are_named_after_their_image_by_default() -> None:
    assert default_pattern("fedora-atomic") == "fedora-atomic-{n}"
    assert default_pattern("Debian_Atomic 12 (x86)") == "Debian-Atomic-12-x86-{n}"
    assert default_pattern("***") == "node-{n}"
    assert host_names(default_pattern("x" * 200), 1)


def test_too_few_candidates() -> None:
    check_candidates([], 5)
    check_candidates(["a", "b"], 2)
    with pytest.raises(OrderError) as raised:
        check_candidates(["a", "a"], 2)
    assert str(raised.value) == (
        "2 nodes are wanted, but only 1 may be taken (give more --candidate, or none)"
    )


def test_the_images_arguments_come_first() -> None:
    wanted = order(kernel_append=("console=ttyS0", 'x="a b"'))
    instance = wanted.instance("h")
    assert instance.kernel_arguments == f'{IMAGE.kernel_cmdline} console=ttyS0 x="a b"'
    assert (instance.host_name, instance.image_id, instance.root_size_gib) == ("h", "image-1", 7)
    assert order(root_size_gib=9).instance("h").root_size_gib == 9


@pytest.mark.parametrize("argument", ["a b", "a\nb", 'a="', ""])
def test_arguments_that_are_not_one(argument: str) -> None:
    with pytest.raises(KernelArgumentError):
        order(kernel_append=(argument,)).instance("h")


def test_images_that_cannot_be_deployed() -> None:
    from dataclasses import replace

    assert usable(IMAGE) is IMAGE
    for change, error in (
        (
            {"status": "queued"},
            "image 'fedora-atomic' is not ready: its status is 'queued' (register it again: "
            "imgprep register DIR)",
        ),
        (
            {"kernel_id": None},
            "image 'fedora-atomic' has no kernel_id: it cannot be network-booted (make one that "
            "can: imgprep atomic-to-pxe FILE --register)",
        ),
        (
            {"ramdisk_id": ""},
            "image 'fedora-atomic' has no ramdisk_id: it cannot be network-booted (make one that "
            "can: imgprep atomic-to-pxe FILE --register)",
        ),
    ):
        with pytest.raises(ImageError) as raised:
            usable(replace(IMAGE, **change))
        assert str(raised.value) == error
