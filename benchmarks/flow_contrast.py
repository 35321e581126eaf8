"""What a flow has learnt of its label: how well it tells the tags of windows it has not seen.

usage: flow_contrast.py STUDY OUT [--run NAME [KNOB=VALUE ...]] [--every STEPS] [--threads N]

STUDY holds tags, and splits.json names its `fit` and `design` cases; no mask is read. Each --run
trains a flow on the `fit` cases in OUT/NAME with knobs of its own, and keeps the averaged weights
every so many steps. All weights kept in OUT are then asked of each `design` window how much better
"present" explains it than "absent", at each noise level with the same noise, and the area under
the curve against its tag is printed and written to OUT/table.md, every number to OUT/rows.json.
Runs go on where an earlier call stopped, and rows made earlier are kept.
"""

import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from voxhint.config import LabelConfig, Machine
from voxhint.files import Study, load_case
from voxhint.measure.detection import ranking
from voxhint.nets import load_weights, weights_bytes
from voxhint.prepare import prepare_image
from voxhint.train.resume import load_state
from voxhint.verbs.flows import LEVELS, Flow, flow_network
from voxhint.verbs.machine import open_fabric
from voxhint.verbs.models import read_plan
from voxhint.verbs.tagging import bags_of

KNOBS = ("flow_width", "flow_voxels", "flow_times", "flow_contrast", "flow_rate")
COLUMNS = ("run", "weights (M)", "step", "error held out", "AUC", *(f"s {s}" for s in LEVELS))


def trainer(out: Path, every: int) -> Callable[[str, int, int, str], None]:
    """Return a listener that tells progress and keeps the averaged weights along the way."""

    def tell(what: str, done: int, total: int, note: str) -> None:
        if done % 50 == 0:
            print(f"{out.name}: {what}: {done} of {total} {note}", file=sys.stderr, flush=True)
        if what == "train the flow" and done % every == 0 and (out / ".state.ckpt").exists():
            state = load_state(out / ".state.ckpt")
            if state is not None:  # as fresh as the last checkpoint
                path = out / "kept" / f"{state['step']:06d}.safetensors"
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(weights_bytes(state["averaged"]))

    return tell


def config_of(words: Sequence[str]) -> LabelConfig:
    """Return the knobs of words such as flow_width=16."""
    kinds = {field.name: type(field.default) for field in dataclasses.fields(LabelConfig)}
    pairs = [word.split("=") for word in words]
    return LabelConfig(**{name: kinds[name](value) for name, value in pairs})


def rows_of(out: Path, name: str, design: Study, machine: Machine) -> list[dict[str, Any]]:
    """Return a row for all weights kept of a run, but those that have one."""
    folder, fabric = out / name, open_fabric(machine)
    plan = read_plan(folder / "plan.json")
    label = plan.labels.foreground[0]
    flow = Flow(flow_network(plan, (label,)), plan, (label,), fabric)
    flow.net.to(memory_format=torch.channels_last_3d).eval()
    known = out / "rows.json"
    rows = json.loads(known.read_text("utf-8")) if known.exists() else []
    done = {(row["run"], row["step"]) for row in rows}
    for path in sorted((folder / "kept").glob("*.safetensors")):
        if (name, int(path.stem)) not in done:
            load_weights(flow.net, path)
            rows.append(row_of(flow, design, name, int(path.stem)))
            known.write_text(json.dumps(rows, indent=1), "utf-8")
    return rows


def row_of(flow: Flow, design: Study, name: str, step: int) -> dict[str, Any]:
    """Return how well the flow tells the tags of the windows."""
    label = flow.labels[0]
    found, truth, subjects = [], [], []
    for files in design.training:
        image = prepare_image(load_case(design, files, hints=False).images, flow.plan)[0]
        found.append(flow.contrasts(image, label))
        truth.append(bags_of(design, files.name, [label])[0].states[0] > 0)
        subjects.append(files.subject)
    scores, present = np.array(found), np.array(truth)
    one = ranking(scores.sum(1), present, subjects, rng=np.random.default_rng(0))
    each = [
        ranking(level, present, subjects, rng=np.random.default_rng(0)).auc for level in scores.T
    ]
    weights = sum(weight.numel() for weight in flow.net.parameters())
    return {
        "run": name,
        "step": step,
        "weights": weights,
        "auc": dataclasses.asdict(one),
        "levels": each,
        "scores": scores.tolist(),
        "present": present.tolist(),
    }
