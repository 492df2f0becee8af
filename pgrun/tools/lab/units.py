"""Numbers of a study on pgrun/OneState-v0 in the units in which they are written by
hand: of one episode, and of θ itself.

A study's policy is a table of two logits: ∂θ/∂(logits) = θ(1 − θ)(1, −1), so that a variance in logits is
2(θ(1 − θ))² times the one in θ, and a component along ∇J √2 θ(1 − θ) times.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pgrun.tools.lab.experiment import Measured

Entry = Mapping[str, Any]  # of a scheme, in study.json


def logit_slope(theta: float) -> float:
    """‖∂θ/∂logits‖"""
    return math.sqrt(2) * theta * (1 - theta)


def episode_variance(entry: Entry, batch: int = 1) -> Measured:
    """The variance of one estimate times its episodes: that of one episode, where
    episodes are independent.
    """
    return Measured(batch * entry["variance"], batch * entry["variance_se"])


def variance_in_theta(entry: Entry, theta: float, batch: int = 1) -> Measured:
    unit = logit_slope(theta) ** 2 / batch
    return Measured(entry["variance"] / unit, entry["variance_se"] / unit)


def bias_in_theta(entry: Entry, theta: float) -> Measured:
    return Measured(entry["bias_along"] / logit_slope(theta), entry["bias_se"] / logit_slope(theta))


def error_in_theta(entry: Entry, theta: float) -> Measured:
    """The mean squared error; its standard error from those of the variance and the bias."""
    spread = entry["variance_se"] + 2 * abs(entry["bias_along"]) * entry["bias_se"]
    return Measured(entry["mse"] / logit_slope(theta) ** 2, spread / logit_slope(theta) ** 2)


def mean_in_theta(result: Mapping[str, Any], entry: Entry, theta: float) -> Measured:
    """The component of the mean along ∇J."""
    off = bias_in_theta(entry, theta)
    return Measured(result["reference_norm"] / logit_slope(theta) + off.value, off.se)
