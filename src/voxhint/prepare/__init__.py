"""How cases are made alike: a plan measured once, steps that obey it and can be undone."""

from voxhint.prepare.patches import Draw, cut, draw_patch
from voxhint.prepare.plan import Fingerprint, Plan, Wishes, fingerprint, make_plan
from voxhint.prepare.preprocess import (
    back_from,
    claims_on,
    common_grid,
    normalised,
    prepare_image,
    working_grid,
)
from voxhint.prepare.resample import resample

__all__ = [
    "Draw",
    "Fingerprint",
    "Plan",
    "Wishes",
    "back_from",
    "claims_on",
    "common_grid",
    "cut",
    "draw_patch",
    "fingerprint",
    "make_plan",
    "normalised",
    "prepare_image",
    "resample",
    "working_grid",
]
