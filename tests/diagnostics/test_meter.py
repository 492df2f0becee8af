"""The meter reads the gradient that is used, and its delete-one estimates are what
training would use without that unit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from pgrun.algorithms.a2c import A2c
from pgrun.algorithms.estimator import Estimator
from pgrun.algorithms.ppo import Ppo
from pgrun.algorithms.reinforce import Reinforce
from pgrun.config.paths import conf_dir
from pgrun.config.schema import find_class
from pgrun.config.settings import AdvantageNorm
from pgrun.diagnostics.gradient_variance import (
    BLOCKS,
    delete_and_recompute,
    delete_in_closed_form,
    jackknife,
    measure_gradient_variance,
)
from pgrun.policies.distributions import Gaussian
from pgrun.policies.mlp import Mlp
from pgrun.policies.normalization import NoRewardScale, NoStateNorm
from pgrun.policies.policy import Policy
from pgrun.returns import episode_return
from pgrun.rollouts.trajectory import Arrays
from pgrun.training.counters import Counters
from pgrun.training.loop import collect_rollout, update_from_rollout
from pgrun.types import Rollout
from pgrun.variance.base import PerColumn, Scheme
from pgrun.variance.gae import Gae
from pgrun.variance.group import Group
from pgrun.variance.leave_one_out import LeaveOneOut
from pgrun.variance.leave_out import rows_by_unit
from pgrun.variance.mean_baseline import MeanBaseline
from pgrun.variance.none import None_
from pgrun.variance.optimal_baseline import OptimalBaseline
from pgrun.variance.reward_to_go import RewardToGo
from pgrun.variance.value_baseline import ValueBaseline
from tests.helpers.support_enumerate import used_gradient, world
from tests.helpers.support_pipeline import built

GAMMA = 0.9
ROUNDING = {
    torch.float32: 1e-5,
    torch.float64: 1e-12,
}  # relative: sums of a few hundred terms in another order


def close(x: Tensor, y: Tensor) -> bool:
    return bool((x - y).norm() <= ROUNDING[x.dtype] * y.norm())


def continuous_policy(dtype: torch.dtype, value_head: bool) -> Policy:
    """A Gaussian with two hidden layers, on the trunk of a critic if ``value_head``."""
    net, dist = Mlp([3, 5, 4, 2 + value_head], free=2), Gaussian(2)
    theta = torch.randn(net.size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return Policy(net, dist, 0.4 * theta.to(dtype), NoStateNorm(), value_head)


def step_rollout(policy: Policy, steps: int, columns: int, seed: int = 0) -> tuple[Rollout, Tensor]:
    """T steps of N columns, with ends, reset rows and a cut, and values of a critic."""
    rng = np.random.default_rng(seed)
    ended = rng.random((steps, columns)) < 0.2
    for t in range(1, steps):
        ended[t] &= ~ended[t - 1]
    mask = ~np.concatenate([np.zeros((1, columns), bool), ended[:-1]])
    arrays = Arrays(
        obs=rng.normal(size=(steps + 1, columns, 3)),
        action=rng.normal(size=(steps, columns, 2)).astype(policy.theta.numpy().dtype),
        reward=mask * rng.normal(1, 1, (steps, columns)),
        terminated=ended & (rng.random((steps, columns)) < 0.5),
        ended=ended,
        mask=mask,
        time=np.zeros((steps, columns), np.int64),
    )
    rollout = arrays.to_rollout(policy, NoRewardScale(), steps * columns, whole=False)
    return rollout, torch.from_numpy(rng.normal(size=(steps + 1, columns))).to(policy.theta.dtype)


def episodes(count: int) -> tuple[Policy, Rollout, Tensor]:
    """Episodes that terminate or are truncated, in float64."""
    every_episode = world("both")[2]
    keep = torch.multinomial(
        every_episode.probability, count, True, generator=torch.Generator().manual_seed(4)
    )
    rollout = every_episode.rollout.columns(keep)
    return every_episode.policy, rollout, torch.randn(rollout.obs.shape[:-1], dtype=torch.float64)


SCHEMES: list[Scheme] = [
    None_(),
    RewardToGo("from_start"),
    MeanBaseline(),
    MeanBaseline(returns="reward_to_go"),
    LeaveOneOut(),
    LeaveOneOut(returns="reward_to_go"),
    MeanBaseline("from_start", returns="reward_to_go"),
    LeaveOneOut("from_start", returns="reward_to_go"),
    *(
        OptimalBaseline("from_start", kind, "reward_to_go")
        for kind in ("scalar", "per_parameter", "per_step")
    ),
    ValueBaseline(),
    Gae(),
]
KINDS_AND_LENGTHS = ("rloo", "grpo", "dr_grpo"), ("constant", "episode", "batch")
normalised = pytest.mark.parametrize("advantage_norm", get_args(AdvantageNorm))


@normalised
@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_the_gradient_is_the_one_reinforce_uses(scheme: Scheme, advantage_norm: AdvantageNorm) -> None:
    policy, rollout, value = episodes(9)
    estimator = Estimator(scheme, GAMMA, advantage_norm)
    reading = measure_gradient_variance(policy, rollout, value, estimator)
    assert reading is not None
    assert close(reading.gradient, used_gradient(policy, rollout, value, estimator, Reinforce()))


@normalised
@pytest.mark.parametrize("algorithm", [A2c(), Ppo()], ids=["a2c", "ppo"])
@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@pytest.mark.parametrize("value_head", [False, True])
@pytest.mark.parametrize("columns", [1, 6])
def test_the_gradient_is_the_one_a2c_and_ppo_use(
    advantage_norm, algorithm, dtype, value_head, columns
) -> None:
    """At θ_old, on columns and on the blocks of one column."""
    policy = continuous_policy(dtype, value_head)
    rollout, value = step_rollout(policy, 50, columns)
    estimator = Estimator(Gae(), GAMMA, advantage_norm)
    reading = measure_gradient_variance(policy, rollout, value, estimator)
    assert reading is not None
    used = used_gradient(policy, rollout, value, estimator, algorithm)
    assert close(reading.gradient, used)
    assert used.norm() > 0.01


@pytest.mark.parametrize("scheme", [RewardToGo(), Gae()], ids=str)
def test_independent_units_average_to_the_gradient(scheme: Scheme) -> None:
    """ĝ is the mean of gᵢ, what would be used had unit i been alone; the variance Σ‖gᵢ − ĝ‖²/(M(M−1))."""
    policy, rollout, value = episodes(9)
    estimator = Estimator(scheme, GAMMA)
    one_by_one = torch.stack(
        [
            used_gradient(policy, rollout.columns(keep), value[:, keep], estimator)
            for keep in torch.arange(9)[:, None]
        ]
    )
    reading = measure_gradient_variance(policy, rollout, value, estimator)
    assert reading is not None
    assert close(reading.gradient, one_by_one.mean(0))
    assert close(reading.variance, one_by_one.var(0).sum() / 9)


def shipped_schemes() -> list[Scheme]:
    """Every option of conf/variance with its defaults."""
    names = sorted(path.stem for path in (conf_dir() / "variance").glob("*.yaml"))
    return [find_class("variance", name)() for name in names]


@normalised
@pytest.mark.parametrize("scheme", [*SCHEMES, *shipped_schemes()], ids=str)
def test_delete_one_is_the_update_without_that_column(scheme: Scheme, advantage_norm: AdvantageNorm) -> None:
    """By recomputation, and by algebra for the schemes that have a closed form."""
    policy, rollout, value = episodes(9)
    every_q = torch.randn(*rollout.reward.shape, rollout.params.shape[-1], dtype=torch.float64)
    q = every_q.gather(-1, rollout.action[..., None])[..., 0]
    rollout = replace(rollout, q=q, every_q=every_q)
    estimator = Estimator(scheme, GAMMA, advantage_norm)
    scores = policy.scores(rows_by_unit(rollout.obs[:-1], 9), rows_by_unit(rollout.action, 9))
    wanted = without_columns(policy, rollout, value, estimator)
    assert close(delete_and_recompute(policy, scores, rollout, value, estimator, 9), wanted)
    assert scheme.has_closed_form == (not (scheme.sees_scores or scheme.corrects_gradient))
    if scheme.has_closed_form:
        assert close(delete_in_closed_form(policy, scores, rollout, value, estimator, 9), wanted)


@normalised
@pytest.mark.parametrize(
    "scheme", [*SCHEMES, *(Group(k, x) for k, x in product(*KINDS_AND_LENGTHS))], ids=str
)
def test_a_unit_is_a_group(scheme: Scheme, advantage_norm: AdvantageNorm) -> None:
    """Three groups of three episodes: the delete-one estimates are the updates without each of the groups."""
    policy, rollout, value = episodes(9)
    rollout, estimator = replace(rollout, group=3), Estimator(scheme, GAMMA, advantage_norm)
    left = [torch.arange(9)[torch.arange(9) // 3 != i] for i in range(3)]
    wanted = torch.stack([used_gradient(policy, rollout.columns(k), value[:, k], estimator) for k in left])
    reading = measure_gradient_variance(policy, rollout, value, estimator)
    assert reading is not None
    assert close(reading.without, wanted)
    assert close(reading.variance, jackknife(wanted)[0])
    scores = policy.scores(rows_by_unit(rollout.obs[:-1], 9), rows_by_unit(rollout.action, 9))
    assert close(delete_and_recompute(policy, scores, rollout, value, estimator, 3), wanted)


@dataclass(frozen=True)
class BestBaseline(Scheme):
    """A scheme of a user's: it looks at all episodes, and says nothing of leaving one out."""

    def psi(self, rollout: Rollout, value: Tensor, gamma: float) -> Tensor:
        total = episode_return(rollout.reward, rollout.mask, rollout.time, gamma)
        return (total - total.max()).expand_as(rollout.reward)


class BestOfMean(MeanBaseline):
    """The same as a subclass of a scheme that has a closed form, of another Ψ."""

    psi = BestBaseline.psi


class BestOfValue(ValueBaseline):
    """And of one whose columns do not concern each other."""

    def psi(self, rollout: Rollout, value: Tensor, gamma: float) -> Tensor:
        return BestBaseline.psi(self, rollout, value, gamma)


@dataclass(frozen=True)
class WronglyPerColumn(PerColumn, BestBaseline):
    """The negative control: it claims that episodes do not concern each other."""


def test_a_scheme_without_a_closed_form_is_recomputed() -> None:
    policy, rollout, value = episodes(9)

    def read(scheme: Scheme) -> Tensor:
        reading = measure_gradient_variance(policy, rollout, value, Estimator(scheme, GAMMA))
        assert reading is not None
        return reading.variance

    wanted, _ = jackknife(without_columns(policy, rollout, value, Estimator(BestBaseline(), GAMMA)))
    for scheme in (BestBaseline(), BestOfMean(), BestOfValue()):
        assert close(read(scheme), wanted), scheme
    assert not close(read(WronglyPerColumn()), wanted)


@pytest.mark.parametrize("steps", [16, 50])
def test_recomputing_without_a_block_of_one_column_is_the_closed_form(steps: int) -> None:
    policy = continuous_policy(torch.float64, value_head=False)
    rollout, value = step_rollout(policy, steps, 1)
    estimator = Estimator(Gae(), GAMMA, "full")
    scores = policy.scores(rows_by_unit(rollout.obs[:-1], BLOCKS), rows_by_unit(rollout.action, BLOCKS))
    recomputed = delete_and_recompute(policy, scores, rollout, value, estimator, BLOCKS)
    assert close(recomputed, delete_in_closed_form(policy, scores, rollout, value, estimator, BLOCKS))


def without_columns(policy: Policy, rollout: Rollout, value: Tensor, estimator: Estimator) -> Tensor:
    """The gradient that training would use, had each column not been there [N, P]."""
    everyone = range(rollout.mask.shape[1])
    rest = [torch.tensor([j for j in everyone if j != i]) for i in everyone]
    return torch.stack([used_gradient(policy, rollout.columns(k), value[:, k], estimator) for k in rest])


@normalised
@pytest.mark.parametrize("steps", [16, 50, 64])
def test_delete_one_of_one_column_is_the_update_with_that_block_masked(
    steps: int, advantage_norm: AdvantageNorm
) -> None:
    policy = continuous_policy(torch.float64, value_head=False)
    rollout, value = step_rollout(policy, steps, 1)
    estimator = Estimator(Gae(), GAMMA, advantage_norm)
    scores = policy.scores(rows_by_unit(rollout.obs[:-1], BLOCKS), rows_by_unit(rollout.action, BLOCKS))
    closed = delete_in_closed_form(policy, scores, rollout, value, estimator, BLOCKS)
    for i, block in enumerate(np.array_split(np.arange(steps), BLOCKS)):
        mask = rollout.mask.clone()
        mask[block] = 0
        rest = replace(rollout, mask=mask, count=rollout.count * (BLOCKS - 1) / BLOCKS)
        assert close(closed[i], used_gradient(policy, rest, value, estimator, A2c()))


def test_too_few_units_for_a_reading() -> None:
    """One whole episode, or one column of fewer than 16 steps."""
    policy, rollout, value = episodes(1)
    assert measure_gradient_variance(policy, rollout, value, Estimator(None_(), GAMMA)) is None
    policy = continuous_policy(torch.float64, value_head=False)
    for steps, blank in ((15, True), (16, False)):
        rollout, value = step_rollout(policy, steps, 1)
        assert (measure_gradient_variance(policy, rollout, value, Estimator(Gae(), GAMMA)) is None) == blank


def test_two_units_tell_no_error_of_the_reading() -> None:
    """Their two terms are one number: no error of it could be seen."""
    for columns, there in ((2, False), (3, True)):
        policy = continuous_policy(torch.float64, value_head=False)
        rollout, value = step_rollout(policy, 20, columns)
        reading = measure_gradient_variance(policy, rollout, value, Estimator(Gae(), GAMMA))
        assert reading is not None
        assert (reading.scalars()["gradient/variance_se"].numel() == 1) == there
        assert reading.scalars()["gradient/variance"] > 0


def test_the_actions_of_one_replayed_state_are_no_blocks_of_time() -> None:
    """16 rows of one state are one unit: the reading needs 64 updates, and is of one of them."""
    words = ["algo=off_policy_ac", "algo.baseline=expectation", "env=Pendulum-v1", "sampler.batch=1"]
    run = built(*words, "critic.samples=16", "sampler.warmup=1", "diagnostics.gradient_every=1", "tuned=none")
    counters, readings = Counters(next_eval=0), []
    for update in range(70):
        rollout, _ = collect_rollout(run)
        scalars = update_from_rollout(run, rollout, counters)
        if "gradient/variance" in scalars:
            readings.append(update)
    assert len(readings) == 1
    assert readings[0] >= 63
