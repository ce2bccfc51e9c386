"""Real parts for the driver's tests: tgtd, qemu-img, loop devices, sshd, libvirtd."""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.functional.driver.support import need, run, search_path

with warnings.catch_warnings():
    # Ironic and its agent import eventlet and other things that announce their end.
    warnings.simplefilter("ignore")
    import ironic.conf  # noqa: F401
    from ironic_python_agent import config as _config  # noqa: F401
    from oslo_config import cfg

    from provision.agent import config_drive, iscsi  # noqa: F401
    from provision.driver import hardware  # noqa: F401


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[cfg.ConfigOpts]:
    """Ironic's configuration, with its defaults, reset afterwards."""
    monkeypatch.setenv("PATH", search_path())
    cfg.CONF([], project="ironic", default_config_files=[], default_config_dirs=[])
    cfg.CONF.set_override("tempdir", str(tmp_path))
    yield cfg.CONF
    cfg.CONF.reset()
    cfg.CONF.clear_override("tempdir")
    for option in ("max_connections", "connect_timeout", "command_timeout"):
        cfg.CONF.clear_override(option, group="ssh")


@pytest.fixture
def loop_device(tmp_path: Path) -> Iterator[Callable[[Path], str]]:
    """A function that makes a block device of a file."""
    need("losetup")
    devices = []

    def attach(path: Path) -> str:
        device = run("losetup", "--find", "--show", "--partscan", str(path)).strip()
        devices.append(device)
        return device

    yield attach
    for device in devices:
        run("losetup", "--detach", device)
