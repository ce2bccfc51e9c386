"""Make all tests independent of how they are run, and of how fast."""

import os
import signal

from hypothesis import HealthCheck, settings

# a job in the background of a script, or under nohup, was started to ignore these
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
# a machine under load is slow, which is no fault of the code
settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    "here-ci",
    settings.get_profile("here"),
    derandomize=True,  # a failure there is a failure of the change
    database=None,
    print_blob=True,
)
settings.load_profile("here-ci" if "CI" in os.environ else "here")
