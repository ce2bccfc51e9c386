"""Keep time out of property tests: a machine under load is slow, and no fault of the code."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    "here-ci",
    settings.get_profile("here"),
    derandomize=True,  # a failure there is a failure of the change
    database=None,
    print_blob=True,
)
settings.load_profile("here-ci" if "CI" in os.environ else "here")
