"""The scalars that are compared where none are named, and what a chart of one is called."""

from __future__ import annotations

SCALARS = ("return/train", "kl/old_new", "gradient/variance")
TITLES = {
    "return/train": "Return of training episodes",
    "return/eval": "Return of evaluations",
    "episode/length": "Steps of an episode",
    "gradient/variance": "Variance of the gradient estimate",
    "gradient/snr": "Signal-to-noise ratio of the gradient",
    "gradient/norm": "Norm of the gradient estimate",
    "kl/old_new": "KL from the old to the new policy",
    "kl/max": "Largest KL over the states",
    "policy/entropy": "Entropy of the policy",
    "value/loss": "Loss of the critic",
    "value/explained_variance": "Variance that the critic explains",
    "ratio/clip_fraction": "Share of rows that are clipped",
    "step/size": "Length of the step",
}
