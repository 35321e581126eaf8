"""What the hints imply: facts, spread in millimetres, and how far to trust them."""

from voxhint.propagate.constraints import Evidence, gather_evidence
from voxhint.propagate.geodesic import geodesic_mm
from voxhint.propagate.scale import distance_caps, measure_marks
from voxhint.propagate.soft_label import dense_label, facts_of, soften

__all__ = [
    "Evidence",
    "dense_label",
    "distance_caps",
    "facts_of",
    "gather_evidence",
    "geodesic_mm",
    "measure_marks",
    "soften",
]
