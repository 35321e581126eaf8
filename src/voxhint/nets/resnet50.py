"""ResNet50 as RadImageNet has it, in the two layouts its public weights come in.

Source:
    He et al. 2016, "Deep Residual Learning for Image Recognition"; Mei et al. 2022, "RadImageNet",
    Radiology: Artificial Intelligence 4(5).
"""

from collections.abc import Mapping
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

_Layout = Literal["keras", "torch"]

_BLOCKS = (3, 4, 6, 3)
_FIRST = 64  # features of the stem
_GROWTH = 4  # output features of a block for each inner one
_EPSILON = {"keras": 1.001e-5, "torch": 1e-5}

_Maps = Float[Tensor, "picture feature a b"]
_Others = Float[Tensor, "picture other c d"]
"""Maps of another size."""


class ResNet50(nn.Module):
    """Turns pictures of three channels into 2048 features, 32 pixels from place to place.

    The layout of Keras has constants in its convolutions, and halves in the first 1 x 1 of a block;
    that of PyTorch has none, and halves in the 3 x 3.
    """

    size = 224
    stride = 32
    features = 2048
    span = (-1.0, 1.0)
    """Range of the values it was trained on."""

    def __init__(self, layout: _Layout) -> None:
        """Build the network with fresh weights from torch's generator."""
        super().__init__()
        self.conv1 = nn.Conv2d(3, _FIRST, 7, 2, 3, bias=layout == "keras")
        self.bn1 = nn.BatchNorm2d(_FIRST, eps=_EPSILON[layout])
        inputs = _FIRST
        for level, depth in enumerate(_BLOCKS):
            inner = _FIRST * 2**level
            blocks = []
            for number in range(depth):
                stride = 2 if level and not number else 1
                blocks.append(_Block(inputs, inner, stride, layout))
                inputs = _GROWTH * inner
            self.add_module(f"layer{level + 1}", nn.Sequential(*blocks))

    def forward(  # type: ignore[explicit-override]  # typing.override needs Python 3.12
        self, pictures: Float[Tensor, "picture 3 i j"]
    ) -> _Maps:
        """Return the features of every place."""
        maps = functional.relu(self.bn1(self.conv1(pictures)))
        maps = functional.max_pool2d(maps, 3, 2, 1)
        for level in range(len(_BLOCKS)):
            maps = self.get_submodule(f"layer{level + 1}")(maps)
        return maps


class _Block(nn.Module):
    """A residual block of an ordinary bottleneck."""

    def __init__(self, inputs: int, inner: int, stride: int, layout: _Layout) -> None:
        super().__init__()
        keras, outputs, epsilon = layout == "keras", _GROWTH * inner, _EPSILON[layout]
        first, second = (stride, 1) if keras else (1, stride)
        self.conv1 = nn.Conv2d(inputs, inner, 1, first, bias=keras)
        self.bn1 = nn.BatchNorm2d(inner, eps=epsilon)
        self.conv2 = nn.Conv2d(inner, inner, 3, second, 1, bias=keras)
        self.bn2 = nn.BatchNorm2d(inner, eps=epsilon)
        self.conv3 = nn.Conv2d(inner, outputs, 1, bias=keras)
        self.bn3 = nn.BatchNorm2d(outputs, eps=epsilon)
        self.downsample = (
            None
            if inputs == outputs and stride == 1
            else nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=keras),
                nn.BatchNorm2d(outputs, eps=epsilon),
            )
        )

    def forward(self, maps: _Maps) -> _Others:  # type: ignore[explicit-override]
        inner = functional.relu(self.bn1(self.conv1(maps)))
        inner = functional.relu(self.bn2(self.conv2(inner)))
        kept = maps if self.downsample is None else self.downsample(maps)
        return functional.relu(self.bn3(self.conv3(inner)) + kept)


_STEM = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}


def layout_of(state: Mapping[str, Any]) -> tuple[_Layout, Mapping[str, Any]]:
    """Tell a checkpoint's layout, and name its weights as the network does.

    The authors' own file for PyTorch numbers the parts of the network after `backbone.`; files
    carried over from Keras name them.

    Returns:
        The layout, and the weights by the names of `ResNet50`.
    """
    if "backbone.0.weight" not in state:
        return ("keras" if "conv1.bias" in state else "torch"), state
    parts = [name.removeprefix("backbone.").partition(".") for name in state]
    named = {
        f"{_STEM.get(number, number)}.{rest}": value
        for (number, _, rest), value in zip(parts, state.values(), strict=True)
    }
    return "torch", named
