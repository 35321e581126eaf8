"""What the network says here: tiles, back to the source grid, and how sure it is."""

from voxhint.predict.doubt import entropy
from voxhint.predict.restore import respect, restore
from voxhint.predict.tiles import Segmenter, predict_tiles

__all__ = ["Segmenter", "entropy", "predict_tiles", "respect", "restore"]
