"""What the hints imply: facts, spread in millimetres, and how far to trust them."""

from voxhint.propagate.constraints import Constraints, constraints_of
from voxhint.propagate.distance_caps import distance_caps, measure_marks
from voxhint.propagate.geodesic import geodesic_mm
from voxhint.propagate.soft_label import dense_label, facts_of, leave_open, propagate_hints

__all__ = [
    "Constraints",
    "constraints_of",
    "dense_label",
    "distance_caps",
    "facts_of",
    "geodesic_mm",
    "leave_open",
    "measure_marks",
    "propagate_hints",
]
