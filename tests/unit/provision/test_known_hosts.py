"""Pinned host keys."""

import threading
from pathlib import Path

from provision.known_hosts import KnownHosts


def test_pin_replace_remove(tmp_path: Path) -> None:
    hosts = KnownHosts(tmp_path / "not yet" / "known_hosts")
    assert hosts.key("a") is None
    hosts.remove("a")
    assert not hosts.path.parent.exists()
    hosts.pin("a", "ssh-ed25519 ONE")
    hosts.pin("ab", "ssh-ed25519 TWO")
    hosts.pin("a", "ssh-ed25519 THREE")
    assert hosts.path.read_text() == "ab ssh-ed25519 TWO\na ssh-ed25519 THREE\n"
    assert hosts.key("a") == "ssh-ed25519 THREE"
    hosts.remove("a")
    assert (hosts.key("a"), hosts.key("ab")) == (None, "ssh-ed25519 TWO")
    assert {path.name for path in hosts.path.parent.iterdir()} == {
        "known_hosts",
        "known_hosts.lock",
    }


def test_several_commands_at_once_lose_nothing(tmp_path: Path) -> None:
    def pin(number: int) -> None:
        KnownHosts(tmp_path / "known_hosts").pin(f"host-{number}", f"key-{number}")

    threads = [threading.Thread(target=pin, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len((tmp_path / "known_hosts").read_text().splitlines()) == 40
