"""Which function is learnt."""

from voxhint.nets.classifier import ClassifierNet, short_classifier
from voxhint.nets.flow_unet import FlowUNet
from voxhint.nets.probabilistic_transformer import ProbabilisticTransformer
from voxhint.nets.trunk import build_trunk
from voxhint.nets.weights import load_weights, weights_bytes

__all__ = [
    "ClassifierNet",
    "FlowUNet",
    "ProbabilisticTransformer",
    "build_trunk",
    "load_weights",
    "short_classifier",
    "weights_bytes",
]
