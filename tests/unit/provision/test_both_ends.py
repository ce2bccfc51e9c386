"""The agent's and the conductor's copies of one rule agree."""

import warnings

from hypothesis import given
from hypothesis import strategies as st

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import ironic.conf  # noqa: F401
    from ironic_python_agent import config  # noqa: F401

    from provision.agent import iscsi
    from provision.driver import iscsi_target


@given(st.text(max_size=40), st.text(max_size=40))
def test_the_password(token: str, nonce: str) -> None:
    password = iscsi.chap_password(token, nonce)
    assert iscsi_target.chap_password(token, nonce) == password
    assert len(password) == 32


def test_the_commands() -> None:
    assert set(iscsi.ISCSIExtension().command_map) == {
        "zero",
        "start_iscsi_target",
        "stop_iscsi_target",
        "write_config_drive",
    }
