"""GAE with weights that sum to 1: the definition, its closed form, and whose remaining steps K may count."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pgrun.returns import lambda_return
from pgrun.types import Rollout
from pgrun.variance.gae import Gae
from pgrun.variance.td0 import Td0
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import pgrun
from tests.helpers.support_enumerate import mean, world
from tests.helpers.support_exact import EXACT, GAMMA, MDPS, error, time_limited, true_gradient
from tests.helpers.support_one_state import episodes
from tests.variance.test_returns import CLOSE, COLUMNS, SAMPLES, Case, Sample

samples = pytest.mark.parametrize("s", SAMPLES, ids=range(len(SAMPLES)))


def rollout_of(s: Sample) -> Rollout:
    empty = torch.zeros(0)
    return Rollout(
        obs=empty, action=empty, log_prob=empty, params=empty, reward=s.reward, terminated=s.terminated,
        ended=s.ended, mask=s.mask, time=empty, raw_obs=empty, raw_reward=empty, count=1.0,
        whole_episodes=False,
    )  # fmt: skip


def definition(lam: float):
    """Σₖ λᵏ⁻¹Â⁽ᵏ⁾/Σₖ λᵏ⁻¹ over k ≤ K rows left, O(T²)."""

    def by_hand(c: Case, t: int) -> float:
        left = len(c.reward) - t
        total = sum(lam ** (k - 1) * (c.n_step(t, k) - c.value[t]) for k in range(1, left + 1))
        return total / sum(lam ** (k - 1) for k in range(1, left + 1))

    return by_hand


def test_there_are_enough_cases() -> None:
    """That they mix terminations, truncations and cuts is tested where they are made."""
    assert len(SAMPLES) * COLUMNS >= 500


@samples
def test_against_the_definition(s: Sample) -> None:
    for lam in (s.lam, 0.0, 1.0):
        psi = Gae(lam=lam, normalised=True).psi(rollout_of(s), s.value, s.gamma)
        assert s.against(psi, definition(lam)) < CLOSE


@samples
def test_against_the_closed_form(s: Sample) -> None:
    """(GAE_λ − λᴷ GAE_1)/(1 − λᴷ); dividing by 1 − λᴷ ≥ 0.01 costs two of float64's sixteen digits."""
    lam = min(s.lam, 0.99)
    decay = lam ** torch.arange(len(s.reward), 0, -1, dtype=torch.float64)[:, None]
    plain, one = (Gae(lam=x).psi(rollout_of(s), s.value, s.gamma) for x in (lam, 1.0))
    psi = Gae(lam=lam, normalised=True).psi(rollout_of(s), s.value, s.gamma)
    rows = s.mask.bool()
    assert error(psi[rows], ((plain - decay * one) / (1 - decay))[rows]) < 100 * CLOSE


def test_at_one_it_is_the_plain_average_and_not_monte_carlo() -> None:
    """The documents say λ = 1 is Monte Carlo.

    δ = 1, 1 without discount: k-step advantages 1 and 2, mean 1.5, Monte Carlo 2.
    """
    nothing, reward = torch.zeros(2, 1), torch.ones(2, 1)
    s = Sample(reward, nothing, nothing, reward, torch.zeros(3, 1), 1.0, 1.0, 1)
    assert Gae(lam=1.0, normalised=True).psi(rollout_of(s), s.value, 1.0)[0] == 1.5
    assert Gae(lam=1.0).psi(rollout_of(s), s.value, 1.0)[0] == 2.0


def test_it_loses_no_digits_as_lambda_nears_one() -> None:
    """In float32 the closed form would: 1 − λᴷ cancels. 1e-5 is a few roundings of numbers up to 50."""
    s = SAMPLES[3]
    single = replace(s, **{k: v.float() for k, v in vars(s).items() if isinstance(v, Tensor)})
    near, at = (
        Gae(lam=x, normalised=True).psi(rollout_of(single), single.value, s.gamma) for x in (1 - 1e-7, 1.0)
    )
    rows = s.mask.bool()
    assert error(near[rows], at[rows]) < 1e-5


def test_at_zero_it_is_td0() -> None:
    s = SAMPLES[0]
    td0 = Td0().psi(rollout_of(s), s.value, s.gamma)
    assert torch.equal(Gae(lam=0.0, normalised=True).psi(rollout_of(s), s.value, s.gamma), td0)


# --- bias ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MDPS)
@pytest.mark.parametrize("lam", [0.7, 1.0])
def test_unbiased_with_the_exact_critic(name: str, lam: float) -> None:
    """Rollouts of H rows, in which episodes end early, at the limit, or never."""
    mdp, theta, _ = world(name)
    scheme = Gae("from_start", lam, normalised=True)
    assert error(mean(name, scheme, time_limited(mdp, theta)[1]), true_gradient(mdp, theta)) < EXACT


@dataclass(frozen=True)
class OfTheEpisode(Gae):
    """The mistake: K = steps left in the episode."""

    def psi(self, rollout: Rollout, value: Tensor, gamma: float) -> Tensor:
        left = rollout.mask.flip(0).cumsum(0).flip(0)  # in these rollouts a column is one episode
        weights = (self.lam ** torch.arange(len(left), dtype=torch.float64)).cumsum(0)
        falling = 1 - 1 / weights[(left.long() - 1).clamp(min=0)]
        backed = lambda_return(rollout.reward, rollout.terminated, rollout.ended, value, gamma, falling)
        return self.from_time(backed - value[:-1], rollout, gamma)


def one_state(scheme: Gae, stay: float) -> float:
    """The mean of the estimate of dJ/dθ with the exact critic V = θ/(1 − θ), from rollouts of 80 rows;
    divided by dJ/dθ.
    """
    rollout, probability = episodes(stay, 80)
    exact = torch.full((81, 80), stay / (1 - stay), dtype=torch.float64)
    psi = scheme.psi(rollout, exact, 1.0)
    score = torch.tensor([1 / stay, -1 / (1 - stay)], dtype=torch.float64)[rollout.action]
    return float((probability * (rollout.mask * psi * score).sum(0)).sum() * (1 - stay) ** 2)


@pytest.mark.parametrize("lam", [0.5, 0.95, 1.0])
def test_with_the_steps_left_in_the_episode_it_is_biased_even_then(lam: float) -> None:
    """Negative control. On OneState it reads up to 19 % high; with the rows left it is 1/(1 − θ)²."""
    assert one_state(Gae(lam=lam, normalised=True), 0.7) == pytest.approx(1, abs=EXACT)
    assert one_state(OfTheEpisode(lam=lam), 0.7) > 1.04  # 1.048, 1.176, 1.191
    mdp, theta, _ = world("terminates")
    exact = time_limited(mdp, theta)[1]
    bias = error(mean("terminates", OfTheEpisode("from_start", lam), exact), true_gradient(mdp, theta))
    assert bias > 1e-3  # three steps leave little to lose: 0.004 to 0.008 of 1.6


def test_neither_is_a_rollout_as_long_as_its_longest_episode() -> None:
    """What sampler=episodes would make of it, and why that is refused: with one
    episode its own length is T.
    """
    mdp, theta, actual = world("terminates")
    exact = actual.look_up(time_limited(mdp, theta)[1])
    scheme = Gae("from_start", 0.7, normalised=True)
    cut = OfTheEpisode("from_start", 0.7).psi(actual.rollout, exact, GAMMA)
    for column in (0, 5, 9):
        rows = int(actual.rollout.mask[:, column].sum())
        alone = actual.rollout.columns(torch.tensor([column]))
        fields = {k: getattr(alone, k)[:rows] for k in ("reward", "terminated", "ended", "mask", "time")}
        psi = scheme.psi(replace(alone, **fields), exact[: rows + 1, [column]], GAMMA)
        assert error(psi[:, 0], cut[:rows, column]) < EXACT


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("algo=a2c sampler=episodes", "add sampler=steps"),
        ("algo=reinforce variance=gae", "add variance.normalised=false"),
    ],
)
def test_refused_where_episodes_decide_the_length(line: str, told: str, here: Path) -> None:  # noqa: F811
    answer = pgrun(f"{line} variance.normalised=true")
    assert answer.code == 2
    assert "variance.normalised=true" in answer.err
    assert told in answer.err
    assert not list(here.iterdir())
