"""Time and memory of additive random attention, compared with queries and keys side by side.

usage: attention.py [TOKENS] [BATCH]

From queries, keys and values of 12 heads with 64 features to what is taken, and the divergence,
forward and backward on one core. The plain form makes a vector of every query with every key and
maps it linearly, as published; ours adds two vectors. Each runs in a process of its own, so that
its peak of memory is its own; the peak before it is subtracted. Another process checks that both
give the same values and gradients from the same noise.
"""

import json
import resource
import subprocess
import sys
import time

HEADS, WIDTH = 12, 64
WANTED = {"seconds": 5, "megabytes": 10}
"""How many times less ours has to take."""


def measure(form: str, tokens: int, batch: int) -> dict[str, float]:
    """Return processor seconds and megabytes of a form, or how far the two forms are apart."""
    import torch
    from torch import Generator, Tensor

    from voxhint.nets.probabilistic_attention import ProbabilisticAttention

    def ours(parts: list[Tensor], chance: Generator) -> tuple[Tensor, Tensor]:
        return layer.attend(*parts, sample=True, chance=chance)

    def plain(parts: list[Tensor], chance: Generator) -> tuple[Tensor, Tensor]:
        query, key, value = parts
        shape = (*query.shape[:3], key.shape[2], WIDTH)
        beside = torch.cat([query.unsqueeze(3).expand(shape), key.unsqueeze(2).expand(shape)], 4)
        weight = torch.cat([layer.moments.query.weight, layer.moments.key.weight], 1)
        mean, logvar = (beside @ weight.T + layer.moments.query.bias).unbind(4)
        logits = mean + (0.5 * logvar).exp() * torch.empty_like(mean).normal_(generator=chance)
        usual = query @ key.transpose(2, 3) * WIDTH**-0.5
        divergence = -0.5 * (1 + logvar - (mean - usual) ** 2 - logvar.exp()).mean()
        return logits.softmax(3) @ value, divergence

    torch.manual_seed(0)
    layer = ProbabilisticAttention(HEADS * WIDTH, HEADS, "additive")
    forms = {"ours": ours, "plain": plain}

    def once(form: str, tokens: int, batch: int) -> tuple[float, list[Tensor]]:
        chance = Generator().manual_seed(1)
        parts = [torch.randn(batch, HEADS, tokens, WIDTH, generator=chance) for _ in range(3)]
        learnt = [*(part.requires_grad_() for part in parts), *layer.moments.parameters()]
        began = time.process_time()
        taken, divergence = forms[form](parts, chance)
        gradients = torch.autograd.grad(taken.square().mean() + divergence, learnt)
        return time.process_time() - began, [taken.detach(), divergence.detach(), *gradients]

    if form == "apart":
        pairs = zip(once("ours", tokens, batch)[1], once("plain", tokens, batch)[1], strict=True)
        return {"apart": max(float((one - two).abs().max()) for one, two in pairs)}
    once(form, 8, 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = min(once(form, tokens, batch)[0] for _ in range(3))
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"seconds": seconds, "megabytes": kilobytes / 1024}


def main() -> None:
    """Print a table, or measure one form for the process that asks."""
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
        return
    sizes = [*map(int, sys.argv[1:]), *(216, 4)[len(sys.argv) - 1 :]]
    found = {}
    for form in ("ours", "plain", "apart"):
        words = [sys.executable, __file__, "--measure", form, *map(str, sizes)]
        found[form] = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout)
    print(f"| {sizes[0]} tokens, batch {sizes[1]} | seconds | MB |\n|---|---|---|")
    for form in ("ours", "plain"):
        print(f"| {form} | {found[form]['seconds']:.3f} | {found[form]['megabytes']:.0f} |")
    ratios = [found["plain"][unit] / found["ours"][unit] for unit in WANTED]
    print(f"| plain / ours | {ratios[0]:.1f} | {ratios[1]:.1f} |")
    print(f"\nvalues and gradients are at most {found['apart']['apart']:.1e} apart")
    if any(ratio < wanted for ratio, wanted in zip(ratios, WANTED.values(), strict=True)):
        sys.exit(f"ours should take {WANTED['seconds']} times less time, a tenth of the memory")
    if found["apart"]["apart"] > 1e-5:
        sys.exit("the two forms should be at most 1e-5 apart")


if __name__ == "__main__":
    main()
