"""A network of your own: a function that makes it from the plan."""

from torch import nn

import voxhint as vh


def small_net(plan):
    """Return a network from (batch, channel, i, j, k) to logits (batch, class, i, j, k)."""
    return nn.Sequential(
        nn.Conv3d(len(plan.channels), 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv3d(16, len(plan.labels.names), 3, padding=1),
    )


model = vh.train(
    "study",
    "model",
    labels="labels",  # what `voxhint label` wrote
    config=vh.TrainConfig(steps=20),
    network=small_net,
)
print(model)
again = vh.Model.load("model", network=small_net)
mask = again.predict("study/imagesTs/t0_0000.nii.gz")
print(mask, mask.ids.max())
