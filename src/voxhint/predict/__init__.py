"""What the network says here: tiles, back to the source grid, and how sure it is."""

from voxhint.predict.restore import respect, restore
from voxhint.predict.tiles import Segmenter, predict_tiles
from voxhint.predict.uncertainty import entropy

__all__ = ["Segmenter", "entropy", "predict_tiles", "respect", "restore"]
