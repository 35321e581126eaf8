"""How tests run: types checked; hypothesis tries few examples, the same ones each time."""

from hypothesis import HealthCheck, settings
from tests.typed import check_types

check_types()
settings.register_profile(
    "house",
    max_examples=40,
    deadline=None,
    derandomize=True,
    # a file is written for each example; the folder may be the same
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("house")
