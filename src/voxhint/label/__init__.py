"""What the hints imply: facts, spread in millimetres, and how far to trust them."""

from voxhint.label.reach import case_reach, plan_reach
from voxhint.label.seeds import Evidence, gather_evidence
from voxhint.label.soft import dense_label, facts_of, soften
from voxhint.label.spread import gaussian_mm, geodesic_mm

__all__ = [
    "Evidence",
    "case_reach",
    "dense_label",
    "facts_of",
    "gather_evidence",
    "gaussian_mm",
    "geodesic_mm",
    "plan_reach",
    "soften",
]
