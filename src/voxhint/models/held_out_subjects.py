"""Which subjects are held out of a training, all cases of one together."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from voxhint.core.study import CaseFiles

_T = TypeVar("_T")


def split_by_subject(
    files: Sequence[CaseFiles], examples: Sequence[_T], share: float, seed: int
) -> tuple[list[_T], list[_T]]:
    """Part examples by subject at random.

    Args:
        files: The case of each example.
        examples: As many.
        share: Of the subjects to hold out; at least one is kept to learn from.
        seed: Same seed, same split.

    Returns:
        The examples to fit, and those held out.
    """
    subjects = sorted({f.subject for f in files})
    count = min(round(share * len(subjects)), len(subjects) - 1)
    rng = np.random.default_rng([seed, len(subjects)])
    aside = set(rng.choice(subjects, count, replace=False).tolist())
    pairs = list(zip(files, examples, strict=True))
    fit = [example for f, example in pairs if f.subject not in aside]
    return fit, [example for f, example in pairs if f.subject in aside]
