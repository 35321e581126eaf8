"""From an image to the noise that gives it."""

from voxhint.flow.solve import solve
from voxhint.flow.straight_path import Field, Velocity

S_MIN = 0.02
"""Where an image counts to lie on the path: below, a velocity has nothing to tell noise by."""


def invert(
    velocity: Velocity,
    image: Field,
    *,
    end: float,
    steps: int,
    scheme: str = "fireflow",
) -> Field:
    """Carry an image towards noise along the flow, without drawing any noise.

    Args:
        velocity: The flow, for the label that the image has.
        image: Shape (batch, channel, i, j, k); counts as a point at `S_MIN`.
        end: Noise level wanted: 0 is the image, 1 is noise.
        steps: Evenly spaced steps from `S_MIN`.
        scheme: A name of `Scheme`.

    Returns:
        Points at level `end`; `solve` from there to `S_MIN` gives the image again.

    Source:
        dz/ds = -v from data to noise; Song et al. 2021, "DDIM", arXiv:2010.02502, section 4.3.
    """
    return solve(velocity, image, start=S_MIN, end=end, steps=steps, scheme=scheme)
