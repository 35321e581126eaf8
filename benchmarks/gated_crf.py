"""Time and memory of the gated CRF loss, compared with a dense neighbourhood of 11^3 voxels.

usage: gated_crf.py [SIZE] [DENSE_SIZE]

Ours is measured on a patch of SIZE^3 voxels and 5 labels, forward and backward. The dense form,
written with all neighbours of all voxels at once as is usual in 2D, needs too much memory for that:
it is measured on DENSE_SIZE^3 voxels. Both are told per voxel. Each runs in a process of its own,
so that its peak of memory is its own; the peak before it is subtracted.
"""

import json
import resource
import subprocess
import sys
import time

LABELS = 5
REACH = 5  # voxels: 11^3 neighbours
SIGMA_MM, SIGMA_INTENSITY = 6.0, 0.4


def measure(form: str, size: int) -> dict[str, float]:
    """Return microseconds and bytes for each voxel of one loss with its gradient."""
    import torch
    from torch import Tensor
    from torch.nn import functional

    from voxhint.training.regularise import gated_crf

    def ours(q: Tensor, image: Tensor) -> Tensor:
        gate = torch.ones_like(image)
        return gated_crf(q, image, spacing_mm=(1.0, 1.0, 1.0), gate=gate)

    def neighbours(field: Tensor) -> Tensor:
        padded = functional.pad(field, (REACH,) * 6)
        width = 2 * REACH + 1
        return padded.unfold(2, width, 1).unfold(3, width, 1).unfold(4, width, 1)

    def dense(q: Tensor, image: Tensor) -> Tensor:
        steps = torch.arange(-REACH, REACH + 1.0) ** 2
        away = steps[:, None, None] + steps[:, None] + steps
        contrast = (neighbours(image) - image[..., None, None, None]) ** 2
        kernel = torch.exp(-away / (2 * SIGMA_MM**2) - contrast / (2 * SIGMA_INTENSITY**2))
        agree = (neighbours(q) * q[..., None, None, None]).sum(1, keepdim=True)
        return (kernel * neighbours(torch.ones_like(image)) * (1 - agree)).mean()

    def once(size: int) -> float:
        chance = torch.Generator().manual_seed(0)
        logits = torch.randn(1, LABELS, size, size, size, generator=chance).requires_grad_()
        image = torch.randn(1, 1, size, size, size, generator=chance)
        began = time.perf_counter()
        loss = {"ours": ours, "dense": dense}[form](logits.softmax(1), image)
        loss.backward()  # type: ignore[no-untyped-call]
        return time.perf_counter() - began

    once(4)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = min(once(size) for _ in range(3))
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"microseconds": 1e6 * seconds / size**3, "bytes": 1024 * kilobytes / size**3}


def main() -> None:
    """Print a table, or measure one form for the process that asks."""
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(sys.argv[2], int(sys.argv[3]))))
        return
    sizes = [*map(int, sys.argv[1:]), *(96, 24)[len(sys.argv) - 1 :]]
    found = {}
    print("| form | patch | microseconds a voxel | bytes a voxel |\n|---|---|---|---|")
    for form, size in zip(("ours", "dense"), sizes, strict=True):
        words = [sys.executable, __file__, "--measure", form, str(size)]
        row = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout)
        found[form] = row
        print(f"| {form} | {size}^3 | {row['microseconds']:.2f} | {row['bytes']:.0f} |", flush=True)
    ratios = [found["ours"][unit] / found["dense"][unit] for unit in ("microseconds", "bytes")]
    print(f"| ours / dense | | {ratios[0]:.4f} | {ratios[1]:.4f} |")


if __name__ == "__main__":
    main()
