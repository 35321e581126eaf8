"""How hypothesis plays with the tests: few examples, the same ones wherever CI is set."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "house",
    max_examples=40,
    deadline=None,
    derandomize="CI" in os.environ,
    # a file is written for each example; the folder may be the same
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("house")
