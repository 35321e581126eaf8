"""Which function is learnt."""

from voxhint.nets.flow_unet import FlowUNet
from voxhint.nets.predictor import Predictor
from voxhint.nets.probabilistic import ProbabilisticTransformer
from voxhint.nets.trunk import build_trunk
from voxhint.nets.weights import load_weights, weights_bytes

__all__ = [
    "FlowUNet",
    "Predictor",
    "ProbabilisticTransformer",
    "build_trunk",
    "load_weights",
    "weights_bytes",
]
