import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgprep import fstab

IN_BASE = ("UUID=root", "/dev/mapper/atomicos-root")


@pytest.mark.parametrize(
    ("line", "goes"),
    [
        (b"UUID=x /boot ext4 defaults 1 2", True),
        (b"/dev/sda1 /boot/efi vfat umask=0077 0 1", True),
        (b'LABEL="boot"\t/boot\text4\tdefaults', True),
        (b"  PARTUUID=x   /boot/", True),
        (b"UUID=x //boot/./efi vfat", True),
        (b"UUID=x /boot\\040dir ext4", False),  # a directory whose name is `boot dir`
        (b"UUID=x /\\142oot ext4", True),
        (b"# UUID=x /boot ext4", False),
        (b"UUID=x / xfs defaults 0 0", False),
        (b"UUID=x /bootleg xfs", False),
        (b"UUID=x /var/boot xfs", False),
        (b"UUID=root /boot xfs", False),  # in the base
        (b"/dev/mapper/atomicos-root /boot xfs", False),
        (b"/sysroot/boot /boot none bind 0 0", False),
        (b"/dev/x /boot none rw,bind 0 0", False),
        (b"tmpfs /boot tmpfs", False),
        (b"systemd-1 /boot/efi autofs", False),
        (b"UUID=x swap swap", False),
        (b"UUID=x", False),
        (b"", False),
        (b"caf\xe9 \xff", False),
    ],
)
def test_which_lines_go(line: bytes, goes: bool) -> None:
    edited = fstab.without_boot(b"# first\n" + line + b"\nlast", in_base=IN_BASE)
    assert edited.removed == ((line,) if goes else ())
    assert edited.content == b"# first\n" + (b"" if goes else line + b"\n") + b"last"


def test_the_last_line_needs_no_end() -> None:
    edited = fstab.without_boot(b"a /\nUUID=x /boot ext4", in_base=())
    assert edited == fstab.Edited(content=b"a /\n", removed=(b"UUID=x /boot ext4",))


@given(st.binary())
def test_without_a_mount_at_boot_every_byte_stays(content: bytes) -> None:
    edited = fstab.without_boot(content, in_base=())
    if not edited.removed:
        assert edited.content == content


LINES = st.sampled_from([b"UUID=x /boot ext4", b"UUID=x /boot/efi vfat", b"/dev/a / xfs", b"#\r"])


@given(st.lists(LINES | st.binary().filter(lambda line: b"\n" not in line)))
def test_what_stays_is_a_subsequence_and_a_second_edit_finds_nothing(lines: list[bytes]) -> None:
    edited = fstab.without_boot(b"\n".join(lines), in_base=())
    kept = edited.content.split(b"\n")
    rest = iter(lines)
    assert all(line in rest for line in kept if line)
    assert fstab.without_boot(edited.content, in_base=()).removed == ()
