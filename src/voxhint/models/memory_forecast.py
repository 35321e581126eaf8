"""What a training will need, before it is begun."""

from voxhint.config import TrainConfig
from voxhint.core.errors import BadRecipeError

_BASE = 900 * 2**20  # bytes: Python, torch and the libraries, before any patch
_LIBRARIES = 560 * 2**20  # bytes: the same, before any network
_IMAGE = 10  # bytes a voxel and channel, while an image is read and prepared
_BOUNDS = 20  # bytes a voxel, while the bounds of one class are made and stored
_SOFT = 12  # bytes a voxel and class of a soft label, while it is made of a mask
_COMPACT = 6  # bytes a voxel of a soft label that keeps two classes of each
_FLOATS = 36.0  # stored for each voxel and feature map of the first level, all levels counted
_WEIGHTS = 24 * 362_000  # bytes of the transformer's weights at width 1, with all their copies
_PAIRS = 32 * 12 * 12 * 216**2  # bytes of a patch of 216 tokens in 12 layers with 12 heads
_FLOATS_BESIDE = 80.0  # as _FLOATS, of the convolutions beside the transformer
_SMALLEST = 16**3
_PATCHES = 2  # a step, where patches are as large as they may be
_BRANCH = 0.75  # of the trunk's memory that each branch of the cross-modal network adds


def training_bytes(config: TrainConfig, patch_voxels: int, channels: int = 1) -> int:
    """Return about how much memory training takes.

    Args:
        config: Gives network, width and batch.
        patch_voxels: Of one patch.
        channels: Of the study.

    Returns:
        Bytes, from figures measured on the trunk; see `benchmarks/`.
    """
    return int(_fixed_bytes(config) + _voxel_bytes(config, channels) * patch_voxels)


def preparing_bytes(voxels: int, channels: int, classes: int) -> int:
    """Return about how much memory preparing one case takes.

    Args:
        voxels: Of its image.
        channels: Of the study.
        classes: That its soft label has an array for; 0 where it keeps two a voxel.

    Returns:
        Bytes.
    """
    label = _SOFT * classes if classes else _COMPACT
    return _LIBRARIES + voxels * (label + max(_IMAGE * channels, _BOUNDS))


def patch_voxels_within(limit: int, config: TrainConfig, channels: int = 1) -> int:
    """Return the largest patch that fits into a memory limit.

    Args:
        limit: Bytes.
        config: Gives the patch wished for, network, width and batch.
        channels: Of the study.

    Returns:
        Voxels, at most the config's.

    Raises:
        BadRecipeError: Not even a patch of 16 x 16 x 16 voxels fits.
    """
    room = int((limit - _fixed_bytes(config)) / _voxel_bytes(config, channels))
    if room < _SMALLEST:
        needed = training_bytes(config, _SMALLEST, channels) / 2**30
        msg = f"max-ram is too small for training; allow {needed:.1f}G, or lower width or batch"
        raise BadRecipeError(msg)
    return min(config.patch_voxels, room)


def _fixed_bytes(config: TrainConfig) -> int:
    """Return what any patch needs; weights of tokens grow with the square of the width."""
    if config.network != "probabilistic":
        return _BASE
    return _BASE + _WEIGHTS * config.width**2 + _PAIRS * (config.batch or _PATCHES)


def _voxel_bytes(config: TrainConfig, channels: int) -> float:
    floats = _FLOATS_BESIDE if config.network == "probabilistic" else _FLOATS
    if config.network == "crossmodal":
        floats *= 1 + _BRANCH * (len(config.pseudo_modalities) or channels)
    return 4 * floats * config.width * (config.batch or _PATCHES)
