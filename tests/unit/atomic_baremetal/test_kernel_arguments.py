import pytest
from hypothesis import given
from hypothesis import strategies as st

from atomic_baremetal.kernel_arguments import KernelArgumentError, edit, split

ATOMIC = (
    "root=/dev/mapper/atomicos-root ostree=/ostree/boot.0/a/b/0 console=tty0 console=ttyS0,115200n8"
)


@pytest.mark.parametrize(
    ("cmdline", "arguments"),
    [
        ("", []),
        ("  quiet   splash ", ["quiet", "splash"]),
        ('dyndbg="file a.c +p" ro', ['dyndbg="file a.c +p"', "ro"]),
        ('"spaced name"=1', ['"spaced name"=1']),
        (ATOMIC, ATOMIC.split()),
    ],
)
def test_split_as_the_kernel_does(cmdline: str, arguments: list[str]) -> None:
    assert split(cmdline) == arguments


@pytest.mark.parametrize(
    ("cmdline", "message"),
    [
        ("a\nb", "kernel arguments with the control character '\\n': 'a\\nb'"),
        ("a\x1b[2Jb", "kernel arguments with the control character '\\x1b': 'a\\x1b[2Jb'"),
        ('a="b', "kernel arguments with an unclosed quote: 'a=\"b'"),
        ("ä" * 2049, "kernel arguments of 2049 characters"),
    ],
)
def test_what_no_boot_loader_could_hand_on_is_refused(cmdline: str, message: str) -> None:
    with pytest.raises(KernelArgumentError) as caught:
        split(cmdline)
    assert caught.value.message == message


@given(
    st.lists(
        st.text(
            st.characters(min_codepoint=33, max_codepoint=126, exclude_characters='"'), min_size=1
        )
    )
)
def test_split_gives_back_what_was_joined(arguments: list[str]) -> None:
    assert split(" ".join(arguments)) == arguments


def test_delete_takes_all_of_a_kind_and_append_adds_at_the_end() -> None:
    assert edit(["a", "b", "a"], append=["c=1", "a"], delete=["a"]) == ["b", "c=1", "a"]


def test_only_a_whole_argument_is_deleted() -> None:
    assert edit(["a", "b=1"], delete=["b", "b=", "c"]) == ["a", "b=1"]


def test_two_arguments_in_one_option_are_refused() -> None:
    with pytest.raises(KernelArgumentError) as caught:
        edit([], append=["a b"])
    assert str(caught.value) == "not one kernel argument: 'a b' (give one per option)"
