"""λ-returns, n-step returns and GAE against their O(T²) definitions, on episodes that terminate, are
truncated, or are cut.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from pgrun.returns import episode_return, lambda_return, n_step_return
from pgrun.types import Rollout
from pgrun.variance.gae import Gae
from pgrun.variance.value_baseline import ValueBaseline
from tests.helpers.support_exact import GAMMA

COLUMNS = 40
CLOSE = 1e-12  # at most 24 terms of size 10 in float64 round at 1e-14
GARBAGE = 1e3  # stands in rows with mask 0: one that gets through is seen


@dataclass(frozen=True)
class Case:
    """One column, as plain numbers."""

    reward: list[float]
    value: list[float]
    terminated: list[bool]
    ended: list[bool]
    mask: list[bool]
    gamma: float
    lam: float

    def delta(self, t: int) -> float:
        """δₜ = rₜ + γ(1 − terminatedₜ) V(sₜ₊₁) − V(sₜ)"""
        follows = 0.0 if self.terminated[t] else self.value[t + 1]
        return self.reward[t] + self.gamma * follows - self.value[t]

    def stop(self, t: int) -> int:
        """The row after the last one of t's episode, or the rollout's end."""
        return next((k + 1 for k in range(t, len(self.ended)) if self.ended[k]), len(self.ended))

    def gae(self, t: int, lam: float | None = None) -> float:
        """Σₖ (γλ)ᵏ δₜ₊ₖ"""
        weight = self.gamma * (self.lam if lam is None else lam)
        return sum(weight**k * self.delta(t + k) for k in range(self.stop(t) - t))

    def n_step(self, t: int, n: int) -> float:
        """Σ_{k<m} γᵏ rₜ₊ₖ + γᵐ V(sₜ₊ₘ), m the smaller of n and what is left; no V after a termination."""
        m = min(n, self.stop(t) - t)
        rewards = sum(self.gamma**k * self.reward[t + k] for k in range(m))
        return rewards + (0.0 if self.terminated[t + m - 1] else self.gamma**m * self.value[t + m])

    def mixture(self, t: int) -> float:
        """(1 − λ) Σ_{0<n<K} λⁿ⁻¹ G⁽ⁿ⁾ + λᴷ⁻¹ G⁽ᴷ⁾, K rows left (Sutton & Barto 2018, eq. 12.3)."""
        left = self.stop(t) - t
        short = sum((1 - self.lam) * self.lam ** (n - 1) * self.n_step(t, n) for n in range(1, left))
        return short + self.lam ** (left - 1) * self.n_step(t, left)


@dataclass(frozen=True)
class Sample:
    """A random rollout as a sampler lays it out: after an episode's end a row that only resets."""

    reward: Tensor
    terminated: Tensor
    ended: Tensor
    mask: Tensor
    value: Tensor
    gamma: float
    lam: float
    n: int

    @property
    def track(self) -> tuple[Tensor, Tensor, Tensor, Tensor, float]:
        return self.reward, self.terminated, self.ended, self.value, self.gamma

    def case(self, i: int) -> Case:
        flags = ([bool(x) for x in y[:, i]] for y in (self.terminated, self.ended, self.mask))
        return Case(self.reward[:, i].tolist(), self.value[:, i].tolist(), *flags, self.gamma, self.lam)

    def against(self, given: Tensor, definition) -> float:
        """The largest |found − definition(case, t)| over rows with mask 1."""
        cases = [self.case(i) for i in range(COLUMNS)]
        rows = self.mask.nonzero().tolist()
        return max(abs(float(given[t, i]) - definition(cases[i], t)) for t, i in rows)


def sample(seed: int) -> Sample:
    rng = torch.Generator().manual_seed(seed)
    steps = int(torch.randint(1, 25, (1,), generator=rng))
    gamma, lam, how_often = torch.rand(3, generator=rng, dtype=torch.float64).tolist()
    noise = torch.randn(2, steps + 1, COLUMNS, generator=rng, dtype=torch.float64) * 3
    ends = torch.rand(steps, COLUMNS, generator=rng) < 0.4 * how_often
    dies = torch.rand(steps, COLUMNS, generator=rng) < 0.5
    mask, ended = torch.ones(steps, COLUMNS, dtype=torch.bool), torch.zeros(steps, COLUMNS, dtype=torch.bool)
    mask[0] = torch.rand(COLUMNS, generator=rng) < 0.8  # the last rollout may have stopped at an end
    for t in range(steps):
        mask[t] &= ~ended[t - 1] if t else True
        ended[t] = ends[t] & mask[t]
    reward = torch.where(mask, noise[0, :-1], GARBAGE)
    n = int(torch.randint(1, 10, (1,), generator=rng))
    flags = (ended & dies).double(), ended.double(), mask.double()
    return Sample(reward, *flags, noise[1], 0.5 + gamma / 2, lam, n)


SAMPLES = [sample(seed) for seed in range(25)]


def test_there_are_enough_cases_of_every_kind() -> None:
    """At least 500 columns; 100 and more in which an episode terminates, is truncated, is cut by the rollout,
    or is preceded by a reset row.
    """
    cases = [s.case(i) for s in SAMPLES for i in range(COLUMNS)]
    assert len(cases) >= 500
    assert sum(any(c.terminated) for c in cases) > 100
    assert sum(any(e and not d for e, d in zip(c.ended, c.terminated, strict=True)) for c in cases) > 100
    assert sum(c.mask[-1] and not c.ended[-1] for c in cases) > 100
    assert sum(not all(c.mask) for c in cases) > 100
    mixed = (any(c.terminated) and sum(c.ended) > sum(c.terminated) and not c.ended[-1] for c in cases)
    assert sum(mixed) > 100


@pytest.mark.parametrize("s", SAMPLES, ids=range(len(SAMPLES)))
def test_against_the_definition(s: Sample) -> None:
    returned = lambda_return(*s.track, s.lam)
    assert s.against(returned, lambda c, t: c.value[t] + c.gae(t)) < CLOSE
    assert s.against(returned, Case.mixture) < CLOSE
    assert s.against(n_step_return(*s.track, s.n), lambda c, t: c.n_step(t, s.n)) < CLOSE


@pytest.mark.parametrize("s", SAMPLES, ids=range(len(SAMPLES)))
def test_schemes_against_the_definition(s: Sample) -> None:
    """GAE and the Monte Carlo advantage, as the update gets them."""
    empty = torch.zeros(0)
    rollout = Rollout(
        obs=empty, action=empty, log_prob=empty, params=empty, reward=s.reward, terminated=s.terminated,
        ended=s.ended, mask=s.mask, time=empty, raw_obs=empty, raw_reward=empty, count=1.0,
        whole_episodes=False,
    )  # fmt: skip
    assert s.against(Gae(lam=s.lam).psi(rollout, s.value, s.gamma), Case.gae) < CLOSE
    monte_carlo = ValueBaseline().psi(rollout, s.value, s.gamma)
    assert s.against(monte_carlo, lambda c, t: c.n_step(t, 1000) - c.value[t]) < CLOSE


@pytest.mark.parametrize("s", SAMPLES, ids=range(len(SAMPLES)))
def test_identities(s: Sample) -> None:
    """λ = 1 is Monte Carlo, λ = 0 TD(0), n = 1 TD(0), n = ∞ Monte Carlo."""
    monte_carlo, td0 = lambda_return(*s.track, 1.0), lambda_return(*s.track, 0.0)
    assert s.against(td0, lambda c, t: c.value[t] + c.delta(t)) < CLOSE
    assert s.against(monte_carlo, lambda c, t: c.n_step(t, 1000)) < CLOSE
    rows = s.mask.bool()
    torch.testing.assert_close(n_step_return(*s.track, 1)[rows], td0[rows], rtol=0, atol=CLOSE)
    torch.testing.assert_close(n_step_return(*s.track, 1000)[rows], monte_carlo[rows], rtol=0, atol=CLOSE)


def test_without_critic_the_return_ends_at_truncation() -> None:
    """v ≡ 0: only the rewards up to the episode's end."""
    s = SAMPLES[0]
    returns = lambda_return(s.reward, s.terminated, s.ended, torch.zeros_like(s.value), GAMMA, 1.0)

    def rewards_to_go(c: Case, t: int) -> float:
        return sum(GAMMA ** (k - t) * c.reward[k] for k in range(t, c.stop(t)))

    assert s.against(returns, rewards_to_go) < CLOSE


def test_one_truncation_told_from_four_mistreatments() -> None:
    """r = 1, 2, 3, V = 10, 20, 30, truncated with V(final) = 40, next episode's V = 100, γ = 0.9: δ₃ = 9.

    −27 were termination, 0 a bootstrap from V(sₜ), 63 one from the reset observation.
    """
    reward, flag = torch.tensor([[1.0], [2.0], [3.0], [0.0]]), torch.tensor([[0.0], [0.0], [1.0], [0.0]])
    value = torch.tensor([[10.0], [20.0], [30.0], [40.0], [100.0]])
    delta = lambda_return(reward, torch.zeros_like(flag), flag, value, 0.9, 0.0) - value[:-1]
    assert delta[2] == pytest.approx(9.0)
    terminated = lambda_return(reward, flag, flag, value, 0.9, 0.0) - value[:-1]
    assert terminated[2] == pytest.approx(-27.0)


def test_episode_return_counts_its_own_steps_only() -> None:
    """r(τ) by a plain loop; rows after the end do not count."""
    reward = torch.tensor([[1.0, 2.0], [3.0, 5.0], [7.0, GARBAGE]])
    mask = torch.tensor([[1.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
    time = torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0]])
    assert episode_return(reward, mask, time, 0.5).tolist() == [1 + 3 / 2 + 7 / 4, 2 + 5 / 2]
