"""What the network says here: tiles, back to the source grid, and how sure it is."""

from voxhint.predict.restore import respect, restored
from voxhint.predict.tiles import Segmenter, Tiling, predict_planes
from voxhint.predict.uncertainty import entropy

__all__ = ["Segmenter", "Tiling", "entropy", "predict_planes", "respect", "restored"]
