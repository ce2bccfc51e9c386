import pytest

from imgprep import bls, deployment
from imgprep.precheck import ImageError

A, B = "a" * 64, "b" * 64


def entry(ostree: str) -> bls.Entry:
    return bls.parse("ostree-1.conf", f"options root=x ostree={ostree}\n")


def test_a_link_and_what_it_leads_to() -> None:
    one = entry(f"/ostree/boot.0/fedora-atomic/{A}/0")
    assert deployment.bootcsum_of(one) == A
    assert deployment.tree_of(one, f"/ostree/deploy/fedora-atomic/deploy/{B}.12") == (
        deployment.Tree(stateroot="fedora-atomic", checksum=B, serial=12)
    )


@pytest.mark.parametrize(
    "ostree",
    ["", "/", f"/ostree/boot.2/os/{A}/0", f"/ostree/boot.0/os/{A}", f"/ostree/boot.0/../{A[1:]}/0"],
)
def test_not_a_link_to_a_deployment(ostree: str) -> None:
    with pytest.raises(ImageError) as error:
        deployment.bootcsum_of(entry(ostree))
    assert str(error.value) == (
        f"boot entry ostree-1.conf: no ostree= argument of a deployment: {ostree!r}"
    )


def test_the_link_that_flips() -> None:
    one = entry(f"/ostree/boot.1/os/{A}/0")
    assert deployment.version_link_of(one) == "/ostree/boot.1"
    deployment.check_version_link(one, "/ostree/boot.1.0")
    deployment.check_version_link(one, "/ostree/boot.1")
    for resolved in ("/ostree/boot.0.1", "/ostree/boot.1.2", "/tmp", "/ostree/boot.1/x"):
        with pytest.raises(ImageError) as error:
            deployment.check_version_link(one, resolved)
        assert str(error.value) == (
            f"boot entry ostree-1.conf: /ostree/boot.1 leads to {resolved}"
            " (ostree makes it a link to /ostree/boot.1.0 or /ostree/boot.1.1)"
        )


@pytest.mark.parametrize(
    ("arguments", "subvolume"),
    [
        ([], None),
        (["rootflags=discard"], None),
        (["rootflags=subvol=root"], "root"),
        (["rootflags=subvol=/a/b,compress=zstd:1", "x"], "a/b"),
        (["rootflags=subvol=a", "rootflags=subvol=b"], "b"),
        (['rootflags="subvol=a b"'], "a b"),
        (["rootflags=subvol=/"], None),
    ],
)
def test_the_subvolume_of_the_root(arguments: list[str], subvolume: str | None) -> None:
    assert deployment.subvolume_of(arguments) == subvolume


@pytest.mark.parametrize(
    "resolved",
    ["/", f"/ostree/deploy/other/deploy/{B}.0", f"/ostree/deploy/os/deploy/{B}", "/etc"],
)
def test_a_link_that_leads_elsewhere(resolved: str) -> None:
    with pytest.raises(ImageError) as error:
        deployment.tree_of(entry(f"/ostree/boot.1/os/{A}/0"), resolved)
    assert str(error.value) == (
        f"boot entry ostree-1.conf: /ostree/boot.1/os/{A}/0 leads to {resolved}"
        " (that is not a deployment of its stateroot)"
    )


@pytest.mark.parametrize(
    ("path", "places"),
    [
        ("/ostree/os-1/vmlinuz", ("/boot/ostree/os-1/vmlinuz",)),
        ("ostree/os-1/vmlinuz", ("/boot/ostree/os-1/vmlinuz",)),
        ("/boot/ostree/v", ("/boot/ostree/v", "/boot/boot/ostree/v")),
    ],
)
def test_where_a_boot_entrys_file_may_be(path: str, places: tuple[str, ...]) -> None:
    assert deployment.places_in_boot(path) == places


@pytest.mark.parametrize(
    ("kernel", "version"),
    [
        ("/boot/ostree/x/vmlinuz-6.1.0-56-amd64", "6.1.0-56-amd64"),
        (f"/boot/ostree/x/vmlinuz-3.17.4-301.fc21.x86_64-{A}", "3.17.4-301.fc21.x86_64"),
        ("/boot/vmlinuz", None),
        ("/boot/vmlinuz-", None),
        ("/boot/Image", None),
    ],
)
def test_kernel_version(kernel: str, version: str | None) -> None:
    assert deployment.kernel_version_of(kernel, bootcsum=A) == version


def test_pick_refuses_what_is_not_there() -> None:
    one = deployment.Deployment(
        index=0,
        stateroot="os",
        checksum=A,
        serial=0,
        bootcsum=B,
        kernel_version="6",
        path="/",
        kernel="/k",
        ramdisks=(),
        arguments=("a", "b=c d"),
        variables=(),
    )
    assert deployment.pick([one], 0) is one
    assert one.kernel_cmdline == "a b=c d"
    for there, index, hint in (([one], 1, "0"), ([one, one], 2, "0 to 1"), ([one], -1, "0")):
        with pytest.raises(ImageError) as error:
            deployment.pick(there, index)
        assert str(error.value) == f"no deployment {index} in this image (there are: {hint})"


def test_a_boot_file_with_a_control_character() -> None:
    with pytest.raises(ImageError) as error:
        deployment.places_in_boot("/a\0b")
    assert str(error.value) == "a boot entry names '/a\\x00b' (that is no path of a boot file)"
