from pathlib import Path

import pytest

from imgprep import luks

UUID = "0bc1dc89-ea90-47df-a7d6-c672acbedb7e"


def test_a_key_in_a_file_is_its_first_line(tmp_path: Path) -> None:
    file = tmp_path / "a:file"
    file.write_text("a secret: ü\nmore\n")
    key = luks.parse(f"/dev/sda3:file:{file}")
    assert key == luks.Key(identity="/dev/sda3", passphrase="a secret: ü")


@pytest.mark.parametrize(
    ("identity", "fits"),
    [
        ("/dev/sda3", True),
        ("/dev/vda3", True),
        ("/dev/sda33", False),
        (UUID, True),
        (UUID.upper(), True),
        (UUID.replace("0", "1"), False),
        ("all", True),
    ],
)
def test_what_a_key_is_for(identity: str, fits: bool) -> None:
    key = luks.parse(f"{identity}:key:a:b")
    assert key.passphrase == "a:b"
    assert key.fits(partition=3, uuid=UUID) is fits


def test_a_key_is_not_shown() -> None:
    assert "secret" not in repr(luks.parse("all:key:secret"))


@pytest.mark.parametrize(
    ("selector", "said"),
    [
        (
            "secret",
            "--key does not begin with a device, a UUID or `all`"
            " (for instance /dev/sda3:file:passphrase.txt)",
        ),
        (
            "/dev/sdb1:key:secret",
            "--key does not begin with a device, a UUID or `all`"
            " (for instance /dev/sda3:file:passphrase.txt)",
        ),
        (
            "all:secret",
            "--key for all: neither key:STRING nor file:FILE follows"
            " (for instance /dev/sda3:file:passphrase.txt)",
        ),
        (
            "all:key:",
            "--key for all: neither key:STRING nor file:FILE follows"
            " (for instance /dev/sda3:file:passphrase.txt)",
        ),
        (
            "/dev/sda3:clevis",
            "--key /dev/sda3:clevis is not handled"
            " (the appliance has no network; give the passphrase in a file)",
        ),
        ("all:file:/nowhere", "--key: /nowhere: No such file or directory"),
        ("all:file:/dev/null", "--key: /dev/null holds no passphrase in its first line"),
    ],
)
def test_what_is_refused(selector: str, said: str) -> None:
    with pytest.raises(luks.UnlockError) as error:
        luks.parse(selector)
    assert str(error.value) == said
