import pytest
from hypothesis import given
from hypothesis import strategies as st

from atomic_baremetal.errors import Error
from imgprep import grub_cfg
from imgprep.bls import Entry

OSTREE = "ostree=/ostree/boot.0/os/" + "a" * 64 + "/0"
SCRIPT = f"""\
# made by hand
if [ -s $prefix/grubenv ]; then
  load_env
fi
set default="${{saved_entry}}"
set default=1
function savedefault {{
  save_env x
}}
menuentry 'Memory test' {{ linux16 /memtest.bin
}}
menuentry 'New; "{{" # os' --class os $menuentry_id_option 'new-id' {{
\tload_video; set gfxpayload=keep
\tif [ x$feature = xy ]; then
\t  search --no-floppy --set=root 0-0
\tfi
\tlinux /ostree/os-a/vmlinuz-6 root=UUID=0-0 {OSTREE} \\
\t  $extra x=${{y}} 'a=b c' dyndbg="file a.c +p" 'p=$6$x'
\tinitrd /ucode.img /ostree/os-a/initramfs-6 $tuned_initrd
}}
submenu 'More' {{
  menuentry "Old" {{
    linuxefi /ostree/os-b/vmlinuz-5 {OSTREE}
    initrdefi /ostree/os-b/initramfs-5
  }}
  menuentry Windows {{
    chainloader +1
  }}
}}
"""


def test_a_script_as_it_is_written() -> None:
    entries = grub_cfg.parse("grub.cfg", SCRIPT)
    assert entries == [
        Entry(
            file_name="grub.cfg #1",
            number=None,
            title='New; "{" # os',
            linux="/ostree/os-a/vmlinuz-6",
            initrds=("/ucode.img", "/ostree/os-a/initramfs-6"),
            arguments=("root=UUID=0-0", OSTREE, 'a="b c"', 'dyndbg="file a.c +p"', "p=$6$x"),
            variables=("$extra", "x=${y}", "$tuned_initrd"),
        ),
        Entry(
            file_name="grub.cfg #2",
            number=None,
            title="Memory test",
            linux="/memtest.bin",
            initrds=(),
            arguments=(),
            variables=(),
        ),
        Entry(
            file_name="grub.cfg #3",
            number=None,
            title="Old",
            linux="/ostree/os-b/vmlinuz-5",
            initrds=("/ostree/os-b/initramfs-5",),
            arguments=(OSTREE,),
            variables=(),
        ),
    ]


@pytest.mark.parametrize(
    ("default", "first"),
    [
        ("0", "a"),
        ("1", "b"),
        ("1>0", "b"),
        ("b", "b"),
        ("c", "c"),
        ("9", "a"),
        ("99999999999999999999", "a"),
        ("${saved_entry}", "a"),
        ("", "a"),
    ],
)
def test_the_default_comes_first(default: str, first: str) -> None:
    menu = "".join(f"menuentry {title} {{\nlinux /{title}\n}}\n" for title in "abc")
    entries = grub_cfg.parse("x", f'set default="{default}"\n{menu}')
    assert entries[0].title == first
    assert sorted(entry.title for entry in entries) == ["a", "b", "c"]


def test_an_escape_in_the_arguments_is_refused() -> None:
    with pytest.raises(Error) as error:
        grub_cfg.parse("x", "menuentry a {\nlinux /k a\x1b[2J\n}\n")
    assert str(error.value) == (
        "kernel arguments with the control character '\\x1b': 'a\\x1b[2J'"
        " (arguments are separated by single spaces)"
    )


PIECES = st.sampled_from([*"{}'\"\\$#; \n\t", "menuentry ", "linux /k ", "set default=", "x=y"])


@given(st.lists(PIECES | st.text(max_size=3)).map("".join))
def test_any_text_is_a_menu_or_an_error(text: str) -> None:
    try:
        entries = grub_cfg.parse("x", text)
    except Error:
        return
    assert all(entry.linux is not None for entry in entries)
