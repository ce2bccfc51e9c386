import pytest
from hypothesis import given
from hypothesis import strategies as st

from atomic_baremetal.errors import Error
from imgprep import syslinux
from imgprep.bls import Entry

OSTREE = "ostree=/ostree/boot.0/os/" + "a" * 64 + "/0"
MENU = f"""\
TIMEOUT 20
PROMPT 1
DEFAULT New OS
LABEL Old OS
\tKERNEL /ostree/os-b/vmlinuz-5
\tAPPEND {OSTREE} initrd=/ucode.img,/ostree/os-b/initramfs-5 quiet
LABEL hd
    LOCALBOOT 0x80
label New OS
    menu label ^New
    linux /ostree/os-a/vmlinuz-6
    initrd /one,/two
    append root=UUID=0-0   "x=a b" {OSTREE}
"""


def test_a_menu_as_it_is_written() -> None:
    assert syslinux.parse("syslinux.cfg", MENU) == [
        Entry(
            file_name="syslinux.cfg #1",
            number=None,
            title="New",
            linux="/ostree/os-a/vmlinuz-6",
            initrds=("/one", "/two"),
            arguments=("root=UUID=0-0", '"x=a b"', OSTREE),
            variables=(),
        ),
        Entry(
            file_name="syslinux.cfg #2",
            number=None,
            title="Old OS",
            linux="/ostree/os-b/vmlinuz-5",
            initrds=("/ucode.img", "/ostree/os-b/initramfs-5"),
            arguments=(OSTREE, "quiet"),
            variables=(),
        ),
    ]


def test_menu_default_goes_before_the_order() -> None:
    menu = "LABEL a\nKERNEL /a\nLABEL b\nKERNEL /b\nMENU DEFAULT\n"
    assert [entry.title for entry in syslinux.parse("x", menu)] == ["b", "a"]


def test_an_unclosed_quote_is_refused() -> None:
    with pytest.raises(Error) as error:
        syslinux.parse("x", 'LABEL a\nKERNEL /a\nAPPEND x="y\n')
    assert str(error.value) == "kernel arguments with an unclosed quote: 'x=\"y'"


PIECES = st.sampled_from(["LABEL ", "KERNEL /k", "APPEND ", "MENU ", "DEFAULT ", "initrd=", "\n"])


@given(st.lists(PIECES | st.text(max_size=3)).map("".join))
def test_any_text_is_a_menu_or_an_error(text: str) -> None:
    try:
        entries = syslinux.parse("x", text)
    except Error:
        return
    assert all(entry.linux for entry in entries)
