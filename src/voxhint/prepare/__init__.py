"""How cases are made alike: a plan measured once, steps that obey it and can be undone."""

from voxhint.prepare.patches import PatchLocation, crop, sample_location
from voxhint.prepare.plan import Fingerprint, Plan, PlanOptions, fingerprint, make_plan
from voxhint.prepare.preprocess import (
    bounds_on,
    common_grid,
    from_working,
    normalised,
    prepare_image,
    working_grid,
)
from voxhint.prepare.resample import resample

__all__ = [
    "Fingerprint",
    "PatchLocation",
    "Plan",
    "PlanOptions",
    "bounds_on",
    "common_grid",
    "crop",
    "fingerprint",
    "from_working",
    "make_plan",
    "normalised",
    "prepare_image",
    "resample",
    "sample_location",
    "working_grid",
]
