"""Classifiers on backbones that others trained: LiteMedSAM's TinyViT, RadImageNet's ResNet50."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from torch import nn

from voxhint.nets.classifier import ClassifierNet
from voxhint.nets.resnet50 import ResNet50, layout_of
from voxhint.nets.slices import Slices
from voxhint.nets.tiny_vit import TinyVit
from voxhint.nets.weights import fill, read_checkpoint

KINDS: Mapping[str, Callable[[], nn.Module]] = {
    "medsam-tinyvit": TinyVit,
    "radimagenet-resnet50": partial(ResNet50, "keras"),
    "radimagenet-resnet50-torch": partial(ResNet50, "torch"),
}
"""Backbones with fresh weights, by the name that a saved classifier keeps."""

_ENCODER = "image_encoder."


def read_backbone(name: str, path: Path) -> tuple[str, nn.Module]:
    """Build a backbone and fill it with public weights.

    Args:
        name: medsam-tinyvit or radimagenet-resnet50.
        path: The public checkpoint: of the whole LiteMedSAM or its encoder alone; of RadImageNet
            as its authors saved it for PyTorch, or carried over from Keras.

    Returns:
        The kind of backbone in the file, a name of `KINDS`, and the backbone.
    """
    state = read_checkpoint(path)
    if name == "medsam-tinyvit":
        kind, state = name, state.get("model", state)
        if any(key.startswith(_ENCODER) for key in state):
            state = {key.removeprefix(_ENCODER): value for key, value in state.items()}
    else:
        layout, state = layout_of(state)
        kind = name if layout == "keras" else f"{name}-{layout}"
    backbone = KINDS[kind]()
    fill(backbone, state, path, name)
    return kind, backbone


def slice_classifier(
    backbone: nn.Module,
    *,
    labels: Sequence[str],
    patch: tuple[int, int, int],
    window: tuple[float, float],
    pooling: str,
    fine_tune: bool,
) -> ClassifierNet:
    """Put fresh heads on a backbone that looks at an image slice by slice.

    Args:
        backbone: With its weights.
        labels: Each gets a logit.
        patch: Voxels of a usual image.
        window: Values of the prepared image that become the ends of the backbone's range.
        pooling: How the scores of places become one.
        fine_tune: Let the backbone learn too.

    Returns:
        The classifier.
    """
    body = Slices(backbone, patch=patch, window=window, tune=fine_tune)
    return ClassifierNet(
        body, features=body.features, labels=len(labels), strides=body.strides, pooling=pooling
    )
