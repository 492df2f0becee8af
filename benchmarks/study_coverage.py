"""How often the 95 % interval of a study holds the true variance, against the number of estimates.

    python benchmarks/study_coverage.py

OneState (episodes of any length, returns without bound) and FixedHorizon with three steps, single episodes.
The estimates are those of the training functions for every possible episode; which ones come is drawn, 4000
times for each number.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import support  # noqa: F401  threads are pinned there
import torch

from pgrun.algorithms.estimator import Estimator
from pgrun.critics.base import NoCritic
from pgrun.policies.distributions import Categorical
from pgrun.policies.mlp import Mlp
from pgrun.policies.normalization import NoRewardScale, NoStateNorm
from pgrun.policies.policy import Policy
from pgrun.rollouts.trajectory import Arrays
from pgrun.tools.study.collect import Seen
from pgrun.tools.study.score import variance_interval
from pgrun.variance.base import Scheme
from pgrun.variance.none import None_
from pgrun.variance.reward_to_go import RewardToGo

REPEATS, LONGEST = 4000, 120


def policy(first: float) -> Policy:
    theta = torch.tensor([math.log(first), math.log(1 - first)], dtype=torch.float64)
    return Policy(Mlp([1, 2], bias=False), Categorical(2), theta, NoStateNorm())


def one_state(stay: float) -> tuple[Policy, Arrays, np.ndarray]:
    """One column for each length of an episode."""
    row, length = np.arange(LONGEST)[:, None], np.arange(1, LONGEST + 1)
    mask, last = row < length, row == length - 1
    actual = arrays(last.astype(int), (mask & ~last).astype(float), last, mask)
    return policy(stay), actual, stay ** (length - 1.0) * (1 - stay)


def fixed_horizon(steps: int, chance: float) -> tuple[Policy, Arrays, np.ndarray]:
    """One column for each sequence of actions."""
    action = np.array(list(product((0, 1), repeat=steps))).T
    last = np.arange(steps)[:, None] + np.zeros_like(action) == steps - 1
    actual = arrays(action, action.astype(float), last, np.ones_like(last))
    ones = action.sum(0)
    return policy(1 - chance), actual, chance**ones * (1 - chance) ** (steps - ones)


def arrays(action: np.ndarray, reward: np.ndarray, last: np.ndarray, mask: np.ndarray) -> Arrays:
    steps, columns = action.shape
    time = np.arange(steps)[:, None] + np.zeros_like(action)
    return Arrays(np.ones((steps + 1, columns, 1)), action, reward, last, last, mask, time)


def coverage(table: torch.Tensor, chance: np.ndarray, estimates: int) -> float:
    """Of ``interval`` over repeats of M draws from the rows of ``table`` [K, P],
    counted rather than listed.
    """
    probability = torch.from_numpy(chance / chance.sum())
    truth = float(probability @ (table - probability @ table).square().sum(1))
    counts = np.random.default_rng(0).multinomial(estimates, probability.numpy(), size=REPEATS)
    hits, m = 0, estimates / (estimates - 1)
    for count in torch.from_numpy(counts).double():
        terms = (table - count @ table / estimates).square().sum(1)
        average = float(count @ terms) / estimates
        squares = float(count @ (terms - average).square()) / (estimates - 1)
        low, high = variance_interval(m * average, m * math.sqrt(max(squares, 0.0) / estimates))
        hits += low <= truth <= high
    return hits / REPEATS


def main() -> None:
    torch.set_grad_enabled(False)
    numbers = (100, 400, 1000, 4000, 20_000, 100_000, 1_000_000)
    problems = {"FixedHorizon T=3": fixed_horizon(3, 0.6)} | {
        f"OneState θ={theta}": one_state(theta) for theta in (0.3, 0.5, 0.7)
    }
    schemes: tuple[Scheme, ...] = (None_(), RewardToGo())
    print(f"{'':<32}" + "".join(f"{m:>10,}" for m in numbers))
    for name, (pi, one, chance) in problems.items():
        rollout = one.to_rollout(pi, NoRewardScale(), one.mask.shape[1], whole=True)
        for scheme in schemes:
            table = Seen(pi, rollout, NoCritic()).estimates(Estimator(scheme, 1.0), 1)
            row = "".join(f"{coverage(table, chance, m):>10.3f}" for m in numbers)
            label = f"{name} {type(scheme).__name__}"
            print(f"{label:<32}{row}", flush=True)


if __name__ == "__main__":
    main()
