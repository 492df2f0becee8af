"""Importance ratios that no float holds: a row whose weight is 0 enters nothing, and what is logged is a
number or is not there.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pgrun.algorithms.base import Algorithm
from pgrun.algorithms.estimator import Estimator
from pgrun.algorithms.npg import Npg
from pgrun.algorithms.off_policy_pg import OffPolicyPg
from pgrun.algorithms.ppo import Ppo
from pgrun.algorithms.ppo_penalty import PpoPenalty
from pgrun.algorithms.trpo import Trpo
from pgrun.diagnostics.local_models import local_model_scalars
from pgrun.diagnostics.update import fetch_floats, policy_change
from pgrun.policies.importance import effective_share
from pgrun.policies.policy import Policy
from pgrun.types import Batch
from pgrun.variance.reward_to_go import RewardToGo
from tests.algorithms.test_natural import DISTRIBUTIONS, batch_of, policy_of
from tests.helpers.support_enumerate import batch_of as batch_of_rollout
from tests.helpers.support_enumerate import world

HUGE = 800.0  # e⁸⁰⁰ is infinite in float64 too; in float32 from e⁸⁹ on


def made(
    log_ratio: list[float], psi: list[float], mask: list[float], dtype: torch.dtype
) -> tuple[Batch, Tensor]:
    """(rows of those Ψ, log π_θ with those log ρ)"""
    zero = torch.zeros(len(psi), dtype=dtype)
    empty = torch.zeros(len(psi), 0, dtype=dtype)
    rows = Batch(empty, empty, zero, empty, torch.tensor(psi, dtype=dtype), zero, zero, zero, float(len(psi)))
    return replace(rows, mask=torch.tensor(mask, dtype=dtype)), torch.tensor(log_ratio, dtype=dtype)


LIVE = ([0.1, -0.2], [1.0, -2.0], [1.0, 1.0])
SILENT = {  # log ρ, Ψ, mask of a row that enters nothing
    "masked": (HUGE, 1.0, 0.0),
    "masked, weight 0": (HUGE, 0.0, 0.0),
    "weight 0": (HUGE, 0.0, 1.0),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("row", SILENT)
@pytest.mark.parametrize("algorithm", [Ppo(), PpoPenalty(), Npg(), Trpo()], ids=lambda x: type(x).__name__)
def test_a_row_without_weight_enters_nothing(algorithm: Algorithm, row: str, dtype: torch.dtype) -> None:
    with_it = [[*live, extra] for live, extra in zip(LIVE, SILENT[row], strict=True)]
    alone = [[*live, extra] for live, extra in zip(LIVE, (0.0, 0.0, 0.0), strict=True)]
    (batch, log_prob), (plain, near) = (made(*x, dtype) for x in (with_it, alone))
    assert float(algorithm.surrogate(log_prob, batch)) == float(algorithm.surrogate(near, plain))
    got, wanted = algorithm.gradient_weight(log_prob, batch), algorithm.gradient_weight(near, plain)
    assert torch.equal(got[:2], wanted[:2])
    assert got[2] == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_clipped_row_is_constant_however_large_its_ratio(dtype: torch.dtype) -> None:
    """A > 0, ρ = ∞: min(ρA, (1 + ε)A) = (1 + ε)A, of slope 0.

    A < 0, ρ = ∞ is not clipped: what is infinite stays so.
    """
    batch, log_prob = made([HUGE, 0.0], [2.0, 1.0], [1.0, 1.0], dtype)
    ppo = Ppo(clip=0.2)
    assert float(ppo.surrogate(log_prob, batch)) == pytest.approx((1.2 * 2 + 1) / 2)
    assert ppo.gradient_weight(log_prob, batch).tolist() == [0.0, 0.5]
    worse = replace(batch, psi=-batch.psi)
    assert ppo.gradient_weight(log_prob, worse).tolist() == [-torch.inf, -0.5]


@pytest.mark.parametrize("weights", ["trajectory", "per_decision", "past_only", "per_step"])
def test_an_episode_without_reward_has_no_weight(weights: str) -> None:
    """Its ρ overflow; its rewards, and with them Ψ, are 0."""
    _, _, episodes = world("both")
    rollout = episodes.rollout.columns(torch.arange(6))
    reward = rollout.reward.clone()
    reward[:, 2] = 0
    rollout = replace(rollout, reward=reward)
    scheme = RewardToGo(discounting="from_start")
    batch = batch_of_rollout(
        episodes.policy, rollout, torch.zeros_like(rollout.obs[..., 0]), Estimator(scheme, 0.9)
    )
    algorithm = OffPolicyPg(weights=weights)  # type: ignore[arg-type]
    log_ratio = torch.zeros(batch.shape, dtype=torch.float64)
    wanted = algorithm.weighted_psi(log_ratio, batch).view(batch.shape)
    log_ratio[0, 2] = HUGE
    got = algorithm.weighted_psi(log_ratio, batch).view(batch.shape)
    assert torch.equal(got, wanted)
    assert (got[:, 2] == 0).all()
    assert got.abs().max() > 0


# --- what is logged -----------------------------------------------------------------------------------------


def changed(log_ratio: Tensor) -> dict[str, float]:
    """What is logged of rows with those log ρ, in float32 as in a run."""
    wide = policy_of(DISTRIBUTIONS["gaussian"])
    rows = batch_of(wide, len(log_ratio))
    policy = wide.with_theta(wide.theta.float())
    small = {k: x.float() for k, x in vars(rows).items() if isinstance(x, Tensor)}
    batch = replace(rows, **small)
    now = policy.dist.log_prob(policy.params(batch.obs), batch.action)
    return fetch_floats(
        policy_change(policy, policy, replace(batch, log_prob=now - log_ratio.float()), Ppo())
    )


def test_logged_ratios_of_a_usual_step() -> None:
    log_ratio = 0.3 * torch.randn(40, generator=torch.Generator().manual_seed(0))
    told, rho = (
        changed(log_ratio),
        log_ratio[torch.arange(40) % 5 > 0].double().exp(),
    )  # every fifth row is masked
    assert told["ratio/max"] == pytest.approx(float(rho.max()), rel=1e-5)
    assert told["ratio/ess"] == pytest.approx(float(rho.sum() ** 2 / (32 * rho.square().sum())), rel=1e-5)


@pytest.mark.parametrize("size", [60.0, 100.0, 400.0])
def test_logged_ratios_whose_squares_overflow(size: float) -> None:
    """Σρ² from e⁴⁴ on in float32, ρ itself from e⁸⁹: one of 32 rows has all the weight."""
    told = changed(torch.where(torch.arange(40) == 3, size, 0.0))
    assert told["ratio/ess"] == pytest.approx(1 / 32, rel=1e-4)
    assert told["ratio/max"] == pytest.approx(torch.tensor(size).double().exp().item(), rel=1e-3)


def test_logged_ratios_that_underflow() -> None:
    """Each ρ = e⁻³⁰⁰ is 0 in float32; that they are equal is known from their logarithms."""
    told = changed(torch.full((40,), -300.0))
    assert told["ratio/ess"] == pytest.approx(1, rel=1e-4)
    assert 0 < told["ratio/max"] < 1e-100


def test_ratios_that_are_all_zero_have_no_effective_sample_size() -> None:
    told = changed(torch.full((40,), -torch.inf))
    assert "ratio/ess" not in told
    assert told["ratio/max"] == 0
    assert effective_share(torch.tensor([0.0, -torch.inf]), 2) == 0.5


def test_the_gain_of_rows_without_weight_is_none() -> None:
    policy: Policy = policy_of(DISTRIBUTIONS["gaussian"])
    batch = batch_of(policy)
    silent = batch.psi == 0
    assert silent.any()
    far = replace(batch, log_prob=batch.log_prob - HUGE * silent)
    gradient = torch.ones_like(policy.theta)
    after = policy.with_theta(policy.theta + 0.01)
    plain, told = (local_model_scalars(policy, after, rows, gradient) for rows in (batch, far))
    assert torch.equal(plain["step/gain_realised"], told["step/gain_realised"])
