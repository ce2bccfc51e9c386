"""Import the agent with its dependencies' own warnings out of the way."""

import warnings

with warnings.catch_warnings():
    # eventlet and others announce their end; and the agent's options must be there first
    warnings.simplefilter("ignore")
    from ironic_python_agent import config, hardware, partition_utils  # noqa: F401

    from provision.agent import config_drive, iscsi  # noqa: F401
