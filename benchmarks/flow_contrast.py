"""What a flow has learnt of its label: how well it tells the tags of windows it has not seen.

usage: flow_contrast.py STUDY OUT NAME [KNOB=VALUE ...] [--every STEPS] [--threads N] [--seed N]

STUDY holds tags, and splits.json names its `fit` and `design` cases; no mask is read. A flow learns
the `fit` cases in OUT/NAME, with knobs of its own such as steps=2000, and its averaged weights
are kept every so many steps. Each of them is asked of every `design` window how much better
"present" explains it than "absent", at each noise level with the same noise, and what it sees
without being told. The areas under the curves against the tags of all runs in OUT are printed and
written to OUT/table.md, every number to OUT/rows.json. A run goes on where an earlier call stopped.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from _windows import fit_study
from jaxtyping import Float32
from safetensors.torch import save_file

from voxhint.classify.tag_bags import TagJob, bags_of
from voxhint.classify.train_label_flow import LabelFlow, fit_label_flow, flow_network
from voxhint.config import LabelConfig, Machine
from voxhint.config.ranges import changed
from voxhint.files import open_study
from voxhint.flow import interpolate
from voxhint.measure.roc import ranking
from voxhint.models.device import open_fabric
from voxhint.models.folder import read_plan
from voxhint.nets import load_weights
from voxhint.nets.flow_unet import UNKNOWN
from voxhint.prepare import prepare_image
from voxhint.training.resume import load_state

LEVELS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Noise levels at which a flow is asked what it makes of a label."""

LITTLE = 0.1  # share of noise with which the network knows an image
OPPOSITES: tuple[Literal["absent"], Literal["present"]] = ("absent", "present")
COLUMNS = ("run", "weights (M)", "step", "contrast", *(f"s = {s}" for s in LEVELS), "seen")
Windows = tuple[list[np.ndarray], np.ndarray, list[str]]
"""Prepared windows, whether they are tagged present, and whose they are."""


def listener(out: Path, every: int) -> Callable[[str, int, int, str], None]:
    """Return what tells progress and keeps the averaged weights along the way."""

    def tell(what: str, done: int, total: int, note: str) -> None:
        if done % 50 == 0:
            print(f"{out.name}: {what}: {done} of {total} {note}", file=sys.stderr, flush=True)
        if what == "train the flow" and (done % every == 0 or done == total):
            state = load_state(out / ".state.ckpt")
            if state is not None:  # as fresh as the last checkpoint
                path = out / "kept" / f"{state['step']:06d}.safetensors"
                path.parent.mkdir(exist_ok=True)
                save_file({key: each.contiguous() for key, each in state["averaged"].items()}, path)

    return tell


def config_of(words: Sequence[str]) -> LabelConfig:
    """Return the knobs of words such as steps=2000."""
    pairs = [word.split("=") for word in words]
    values = {f"flow.{name}": json.loads(value) for name, value in pairs}
    return changed(LabelConfig(), {"tags.weights": "none", **values})


def design_windows(study: Path, flow: LabelFlow) -> Windows:
    """Return the windows set aside for design, prepared for a flow."""
    opened, _ = open_study(study)
    names = set(json.loads((study / "splits.json").read_text("utf-8"))["design"])
    cases = [files for files in opened.training if files.name in names]
    images = [
        prepare_image(opened.load(files, hints=False).images, flow.plan)[0] for files in cases
    ]
    present = [bags_of(opened, files.name, flow.labels)[0].states[0] > 0 for files in cases]
    return images, np.array(present), [files.subject for files in cases]


def contrasts(
    flow: LabelFlow, image: Float32[np.ndarray, "channel i j k"], label: str
) -> Float32[np.ndarray, " level"]:
    """Return what each of LEVELS says of a label: a share of the log-likelihood ratio.

    It is how much larger the squared error of the velocity is when told "absent" than when
    told "present", summed over voxels and times (1 - s) / s, but at most 1.

    Source:
        Li et al. 2023, "Your diffusion model is secretly a zero-shot classifier",
        arXiv:2303.16203; the weight follows from the signal-to-noise ratio of the path.
    """
    shape = (len(LEVELS), *image.shape)
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal(shape, np.float32))
    noise, s = noise.to(flow.fabric.device), torch.tensor(LEVELS).to(flow.fabric.device)
    point = interpolate(torch.from_numpy(image).to(noise)[None].expand(shape), noise, s)
    with torch.no_grad():
        absent, present = (
            (flow.velocity(label, state)(point.z, s) - point.velocity).pow(2).sum((1, 2, 3, 4))
            for state in OPPOSITES
        )
    worse = (absent - present) * ((1 - s) / s).clamp(max=1)
    return np.asarray(worse.cpu().numpy(), np.float32)


def label_logit(flow: LabelFlow, image: Float32[np.ndarray, "channel i j k"], label: str) -> float:
    """Return the logit of a label that the network sees itself through a little noise."""
    clean = torch.from_numpy(image).to(flow.fabric.device)[None]
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal(clean.shape, np.float32))
    s = torch.full((1,), LITTLE, device=clean.device)
    tags = torch.full((1, len(flow.labels)), UNKNOWN, device=clean.device)
    with torch.inference_mode():
        seen = flow.net(interpolate(clean, noise.to(clean), s).z, s, tags).label_logits
    return float(seen[0, flow.labels.index(label)])


def row_of(flow: LabelFlow, windows: Windows) -> dict[str, Any]:
    """Return how well a flow tells the tags of windows."""
    images, present, subjects = windows
    (label,) = flow.labels
    each = np.stack([contrasts(flow, image, label) for image in images])
    seen = np.array([label_logit(flow, image, label) for image in images])
    scores = {"contrast": each.sum(1), "seen": seen}
    scores |= {f"s = {s}": each[:, n] for n, s in enumerate(LEVELS)}
    rng = np.random.default_rng
    return {
        name: dataclasses.asdict(ranking(values, present, subjects, rng=rng(0)))
        for name, values in scores.items()
    }


def add_rows(study: Path, out: Path, name: str, machine: Machine) -> list[dict[str, Any]]:
    """Return the rows of all runs, with one for each of the weights kept of this run."""
    known = out / "rows.json"
    rows: list[dict[str, Any]] = json.loads(known.read_text("utf-8")) if known.exists() else []
    done = {(row["run"], row["step"]) for row in rows}
    plan = read_plan(out / name / "plan.json")
    labels = plan.labels.foreground
    flow = LabelFlow(flow_network(plan, labels), plan, labels, open_fabric(machine))
    flow.net.to(memory_format=torch.channels_last_3d).eval()  # type: ignore[call-overload]
    asked = design_windows(study, flow)
    for path in sorted((out / name / "kept").glob("*.safetensors")):
        if (name, int(path.stem)) not in done:
            load_weights(flow.net, path)
            weights = sum(weight.numel() for weight in flow.net.parameters())
            shown = {"run": name, "step": int(path.stem), "weights (M)": weights / 1e6}
            rows.append({**shown, **row_of(flow, asked)})
            known.write_text(json.dumps(rows, indent=1), "utf-8")
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the areas under the curves as a table."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    for row in rows:
        cells = [
            row["run"], f"{row['weights (M)']:.2f}", str(row["step"]),
            f"{row['contrast']['auc']:.3f} [{row['contrast']['low']:.3f}, "
            f"{row['contrast']['high']:.3f}]",
            *(f"{row[name]['auc']:.3f}" for name in COLUMNS[4:]),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(usage=(__doc__ or "").split("usage: ")[1].split("\n\n")[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("name")
    parser.add_argument("knobs", nargs="*")
    parser.add_argument("--every", type=int, default=500)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    machine = Machine(seed=args.seed, threads=args.threads)
    config, folder = config_of(args.knobs), args.out / args.name
    fit, _ = open_study(fit_study(args.study, args.out / "fit-study"))
    tell = listener(folder, args.every)
    fit_label_flow(folder, TagJob(fit, fit.labels.foreground, config, machine, tell))
    text = table(add_rows(args.study, args.out, args.name, machine))
    (args.out / "table.md").write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
