import pytest
from hypothesis import given
from hypothesis import strategies as st

from atomic_baremetal.errors import Error
from imgprep import bls

OSTREE = "ostree=/ostree/boot.0/os/" + "a" * 64 + "/0"


def test_an_entry_as_ostree_writes_it() -> None:
    entry = bls.parse(
        "ostree-2-fedora-atomic.conf",
        "title Fedora 21 (ostree)\nversion 1\n"
        f"options root=/dev/mapper/atomicos-root {OSTREE} $ignition_firstboot x=${{y}}\n"
        "linux /ostree/fedora-atomic-1/vmlinuz-3.17.4\n"
        "initrd /ostree/fedora-atomic-1/initramfs-3.17.4.img\n",
    )
    assert entry == bls.Entry(
        file_name="ostree-2-fedora-atomic.conf",
        number=2,
        title="Fedora 21 (ostree)",
        linux="/ostree/fedora-atomic-1/vmlinuz-3.17.4",
        initrds=("/ostree/fedora-atomic-1/initramfs-3.17.4.img",),
        arguments=("root=/dev/mapper/atomicos-root", OSTREE),
        variables=("$ignition_firstboot", "x=${y}"),
    )
    assert entry.ostree == OSTREE.removeprefix("ostree=")


def test_repeated_keys_tabs_comments_and_unknown_keys() -> None:
    entry = bls.parse(
        "ostree-1.conf",
        "# linux /no\nlinux\t/a\nlinux /b\noptions a\ngrub_users $x\noptions\tb\n"
        "initrd /1 /2\ninitrd /3 $tuned_initrd\n\n",
    )
    assert (entry.linux, entry.arguments) == ("/b", ("a", "b"))
    assert entry.initrds == ("/1", "/2", "/3")
    assert entry.variables == ("$tuned_initrd",)
    assert entry.ostree is None


@pytest.mark.parametrize(
    ("file_name", "version", "number"),
    [
        ("ostree-1.conf", "", 1),
        ("ostree-12-fedora-atomic.conf", "3", 12),
        ("ostree-2+3.conf", "", 2),
        ("ostree-2+3-1.conf", "", 2),
        ("ostree-2-os+1-2.conf", "", 2),
        ("ostree-fedora-atomic-0.conf", "2", 2),  # 2014
        ("ostree-fedora-atomic-0.conf", "x", None),
        ("other.conf", "", None),
        ("other.conf", "²", None),
        ("other.conf", "9" * 5000, None),
    ],
)
def test_the_number_that_orders_entries(file_name: str, version: str, number: int | None) -> None:
    assert bls.parse(file_name, f"version {version}\n").number == number


def test_boot_order_has_the_highest_number_first() -> None:
    names = ["ostree-2.conf", "rescue.conf", "ostree-10.conf", "ostree-1.conf"]
    entries = bls.boot_order(bls.parse(name, "") for name in names)
    assert [entry.file_name for entry in entries] == [
        *("ostree-10.conf", "ostree-2.conf", "ostree-1.conf", "rescue.conf")
    ]


def test_an_entry_without_tries_left_comes_last() -> None:
    names = ["ostree-3+0-3.conf", "ostree-2+1.conf", "rescue.conf", "ostree-1+10.conf"]
    entries = bls.boot_order(bls.parse(name, "") for name in names)
    assert [entry.file_name for entry in entries] == [
        *("ostree-2+1.conf", "ostree-1+10.conf", "rescue.conf", "ostree-3+0-3.conf")
    ]


def test_what_else_an_entry_can_boot() -> None:
    entry = bls.parse("x.conf", "uki /EFI/Linux/a.efi\ndevicetree /dtb/board.dtb\n")
    assert (entry.linux, entry.unified) == (None, "/EFI/Linux/a.efi")
    assert entry.devicetree == "/dtb/board.dtb"
    assert bls.parse("x.conf", "efi /a.efi\n").unified == "/a.efi"


def test_an_escape_in_the_options_is_refused() -> None:
    with pytest.raises(Error) as error:
        bls.parse("ostree-1.conf", "options a\x1b[2J\n")
    assert str(error.value) == (
        "kernel arguments with the control character '\\x1b': 'a\\x1b[2J'"
        " (arguments are separated by single spaces)"
    )


@given(st.text(), st.text())
def test_any_text_is_an_entry_or_an_error(name: str, text: str) -> None:
    try:
        entry = bls.parse(name, text)
    except Error:
        return
    assert not any("$" in word for word in entry.arguments)
    assert all("$" in word for word in entry.variables)
