"""Which kernel arguments a node's own system gets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ironic.common import exception

from provision.driver import kernel_cmdline

ATOMIC = "root=/dev/mapper/atomicos-root ostree=/ostree/boot.0/debian-atomic/0a1b/0"
UUID = "11111111-2222-4333-8444-555555555555"


@pytest.mark.parametrize(
    ("requested", "image", "uuid", "expected"),
    [
        # the image alone, then with something added, then overruled
        (None, ATOMIC, None, ATOMIC),
        ("%default% console=ttyS0", ATOMIC, None, f"{ATOMIC} console=ttyS0"),
        ("root=/dev/vda1 quiet", ATOMIC, None, "root=/dev/vda1 quiet"),
        ("", ATOMIC, None, ""),
        # nobody names a root
        (None, None, UUID, f"root=UUID={UUID}"),
        (None, "quiet", UUID, f"quiet root=UUID={UUID}"),
        ("%default%", None, UUID, f"root=UUID={UUID}"),
        (None, "quiet", None, "quiet"),
        (None, "root=LABEL=r", UUID, "root=LABEL=r"),
        (None, "noroot=1", UUID, f"noroot=1 root=UUID={UUID}"),
        # kept as they are: order, repetition, quotes, paths, dots
        (
            None,
            "console=tty0 quiet console=ttyS0,115200n8",
            None,
            "console=tty0 quiet console=ttyS0,115200n8",
        ),
        (
            None,
            "root=/dev/a/b rd.lvm.lv=a/b rd.luks.name=1-2=x",
            None,
            "root=/dev/a/b rd.lvm.lv=a/b rd.luks.name=1-2=x",
        ),
        (None, 'dyndbg="file a.c +p" root=/dev/a', UUID, 'dyndbg="file a.c +p" root=/dev/a'),
        (None, " root=/dev/a ", None, "root=/dev/a"),
    ],
)
def test_resolve(requested: str | None, image: str | None, uuid: str | None, expected: str) -> None:
    assert (
        kernel_cmdline.resolve(requested=requested, image=image, filesystem_uuid=uuid) == expected
    )


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("root=${net0/ip}", "'${', which iPXE would interpret"),
        ("a || b", "'||', which iPXE would interpret"),
        ("a && reboot", "'&&', which iPXE would interpret"),
        ("a=1 ; shell", "the word ';', which iPXE would interpret"),
        ("a=1 #rest", "the word '#rest', which iPXE would interpret"),
        ("root=/dev/a\nshell", "the control character '\\n'"),
        ("root=/dev/a\tb", "the control character '\\t'"),
        ("a=\0", "the control character '\\x00'"),
        ('a="b', "an unclosed quote"),
        ('a="b  c"', "a quoted value with several spaces in a row, which iPXE would join"),
    ],
)
def test_refused(text: str, what: str) -> None:
    with pytest.raises(exception.InvalidParameterValue) as refused:
        kernel_cmdline.resolve(requested=None, image=text, filesystem_uuid=None)
    assert str(refused.value) == f"Kernel arguments contain {what}: {text!r}"


def test_ironics_own_parser_has_a_say() -> None:
    with pytest.raises(exception.InvalidParameterValue, match="did not parse"):
        kernel_cmdline.check("a/b")
    kernel_cmdline.check("a/b", parse=False)


@given(st.text(max_size=60))
def test_what_passes_is_one_line_without_ipxes_signs(text: str) -> None:
    try:
        kernel_cmdline.check(text, parse=False)
    except exception.InvalidParameterValue:
        return
    assert text.isprintable()
    assert not any(sign in text for sign in ("${", "||", "&&", "\n"))
