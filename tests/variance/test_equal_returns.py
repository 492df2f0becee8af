"""Episodes of equal returns teach nothing: not the rounding of their mean, which a norm makes large."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pgrun.diagnostics.update import fetch_floats, value_fit
from pgrun.optimization.optimizers import Optimizer, Sgd
from pgrun.training import loop
from tests.helpers.support_pipeline import built

WORDS = ("algo=reinforce", "env=MountainCar-v0", "env.max_episode_steps=60", "logger.every=1")
EQUAL = [
    "variance=mean_baseline",
    "variance=mean_baseline variance.returns=reward_to_go",
    "variance=leave_one_out",
    "variance=leave_one_out variance.returns=reward_to_go",
    "variance=optimal_baseline",
    "variance=group sampler.group=10",
]


@pytest.mark.parametrize("norm", ["scale", "none"])
@pytest.mark.parametrize("scheme", EQUAL)
def test_no_step_is_taken(scheme: str, norm: str) -> None:
    """60 rewards of −1, discounted: a return whose mean over ten is another float32."""
    words = (*WORDS, *scheme.split(), "sampler.episodes=10", f"advantage_norm={norm}", "gamma=0.97")
    run = built(*words, "diagnostics.gradient_every=1")
    before = run.policy.theta.clone()
    scalars = loop.collect_and_update(run, loop.Counters(), loop.Clock())
    assert torch.equal(run.policy.theta, before)
    assert scalars["step/size"] == 0
    assert scalars.get("gradient/norm", 0.0) < 1e-7


def test_nothing_is_explained_of_equal_targets() -> None:
    rows: Any = SimpleNamespace(mask=torch.ones(23), target=torch.full((23,), 0.1), value=torch.randn(23))
    one = torch.tensor(1.0, dtype=torch.float64)
    assert "value/explained_variance" not in fetch_floats(value_fit(rows, one.float(), one))
    rows.target = rows.target + torch.arange(23)
    assert fetch_floats(value_fit(rows, one.float(), one))["value/explained_variance"] < 1


@pytest.mark.parametrize("size", [1e3, 1e19, 1e30])
def test_a_huge_gradient_is_clipped_to_its_bound(size: float) -> None:
    """Its norm in float32 would be infinite, and the step none."""
    optimizer = Optimizer(torch.zeros(4), Sgd(lr=1.0, max_grad_norm=0.5))
    assert optimizer.clip_gradient(torch.full((4,), size)).norm() == pytest.approx(0.5, rel=1e-5)
