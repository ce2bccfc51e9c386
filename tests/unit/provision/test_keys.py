"""Host keys, and the operator's public key."""

import subprocess
from pathlib import Path

import pytest

from provision.keys import KeyFileError, default_public_key_file, new_host_key, read_public_key

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHR5cGVkIGJ5IGhhbmQsIG5vdCBhIHJlYWwga2V5 me@here"


def test_a_host_key_is_one_that_openssh_takes(tmp_path: Path) -> None:
    key = new_host_key()
    (tmp_path / "key").write_text(key.private)
    (tmp_path / "key").chmod(0o600)
    done = subprocess.run(
        ["ssh-keygen", "-y", "-f", tmp_path / "key"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == key.public
    assert key.private not in repr(key)
    assert new_host_key().public != key.public


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_public_keys_of_openssh_are_taken(tmp_path: Path, kind: str) -> None:
    words = [
        "ssh-keygen",
        "-q",
        "-t",
        kind,
        *(["-b", "1024"] if kind == "rsa" else []),
        "-N",
        "",
        "-C",
        "a comment",
        "-f",
        tmp_path / "key",
    ]
    subprocess.run(words, check=True)
    line = (tmp_path / "key.pub").read_text()
    assert read_public_key(tmp_path / "key.pub") == line.strip()
    with pytest.raises(KeyFileError) as raised:
        read_public_key(tmp_path / "key")
    assert str(raised.value) == (
        f"{tmp_path}/key is a private key (give the public one: {tmp_path}/key.pub)"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello\n",
        f"{ED25519}\n{ED25519}\n",
        f'command="x" {ED25519}\n',
        ED25519.replace("ssh-ed25519", "ssh-rsa"),
        ED25519.replace("AAAAC3", "AAAA*3"),
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 cut\n",
        f"{ED25519}\x1b[2J\n",
        ED25519 + "x" * 30_000,
    ],
)
def test_what_is_no_public_key(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key"
    path.write_text(text)
    with pytest.raises(KeyFileError) as raised:
        read_public_key(path)
    assert str(raised.value) == (
        f"{path} does not hold one ssh public key (one line like 'ssh-ed25519 AAAA... you@there')"
    )


def test_comments_and_empty_lines_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"# mine\n\n{ED25519}\n")
    assert read_public_key(tmp_path / "key") == ED25519


def test_the_default_is_the_first_that_ssh_would_take(tmp_path: Path) -> None:
    (tmp_path / ".ssh").mkdir()
    with pytest.raises(KeyFileError) as raised:
        default_public_key_file(tmp_path)
    assert str(raised.value) == (
        f"there is no ssh public key in {tmp_path}/.ssh "
        "(make one with ssh-keygen, or name one with --ssh-key)"
    )
    for name in ("id_rsa.pub", "id_ed25519.pub"):
        (tmp_path / ".ssh" / name).touch()
        assert default_public_key_file(tmp_path).name == name
