"""Import Ironic with its dependencies' own warnings out of the way."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

with warnings.catch_warnings():
    # What Ironic imports announces its own end in several ways.
    warnings.simplefilter("ignore")
    import ironic.conf  # noqa: F401
    from oslo_config import cfg
    from oslo_log import log

    from provision.driver import hardware  # noqa: F401

log.register_options(cfg.CONF)


@pytest.fixture
def conf(tmp_path: Path) -> Iterator[cfg.ConfigOpts]:
    """Ironic's configuration with its defaults, its directories in the test's own."""
    cfg.CONF([], project="ironic", default_config_files=[], default_config_dirs=[])
    overrides = {
        ("tempdir", None): str(tmp_path),
        ("http_root", "deploy"): str(tmp_path / "http"),
        ("http_url", "deploy"): "http://192.0.2.1:8088",
        ("tftp_root", "pxe"): str(tmp_path / "tftp"),
        ("tftp_server", "pxe"): "192.0.2.1",
        ("images_path", "pxe"): str(tmp_path / "images"),
        ("dhcp_provider", "dhcp"): "none",
        ("ipxe_timeout", "pxe"): 60,
        ("poll_interval", "iscsi"): 0.1,
    }
    for (name, group), value in overrides.items():
        cfg.CONF.set_override(name, value, group=group)
    yield cfg.CONF
    for name, group in overrides:
        cfg.CONF.clear_override(name, group=group)
    cfg.CONF.reset()
