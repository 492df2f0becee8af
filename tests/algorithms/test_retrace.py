"""Retrace over every episode of small problems: where it rests, that it contracts, and its gradient."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium as gym
import pytest
import torch
from torch import Tensor

from pgrun import exact
from pgrun.algorithms.estimator import Estimator
from pgrun.algorithms.off_policy_pg import OffPolicyPg, log_ratio
from pgrun.algorithms.retrace import record_action_values
from pgrun.critics.fitted_q import FittedQ, FittedQCritic
from pgrun.optimization.optimizers import Optimizer, Sgd
from pgrun.policies.distributions import Categorical
from pgrun.policies.mlp import Mlp
from pgrun.policies.normalization import NoStateNorm
from pgrun.policies.policy import Policy
from pgrun.returns import retrace_errors
from pgrun.tools.study.every_episode import list_episodes
from pgrun.training.counters import Counters
from pgrun.training.loop import collect_rollout, learn_from_rollout
from pgrun.variance.advantage import Advantage
from tests.algorithms.test_v_trace import moved, values_of
from tests.helpers.support_enumerate import tabular_policy, world
from tests.helpers.support_exact import EXACT, FAR, GAMMA, MDPS, error, probabilities
from tests.helpers.support_pipeline import built

all_mdps = pytest.mark.parametrize("name", MDPS)
RETRACE = {
    "algo.weights": "retrace", "advantage_norm": "none", "env.id": "CartPole-v1", "network.hidden": [8],
    "sampler.episodes": 4, "env.num_envs": 4,
}  # fmt: skip


def applied(name: str, q: Tensor, lam: float) -> Tensor:
    """E_μ[Qʳ(sₜ, aₜ); sₜ = s, aₜ = a] [H, S, A] for π = ``moved``; Q [H, S, A] itself where μ never is."""
    mdp, theta, every_episode = world(name)
    pi, r = probabilities(mdp, moved(theta)), every_episode.rollout
    v = torch.cat([(pi * q).sum(-1), torch.zeros(1, mdp.states, dtype=torch.float64)])
    state, time = every_episode.state[:-1].clamp(max=mdp.states - 1), torch.arange(mdp.horizon)[:, None]
    taken = q[time, state, r.action]
    target = r.reward + GAMMA * (1 - r.terminated) * every_episode.look_up(v)[1:]
    policy = tabular_policy(moved(theta))
    log_prob = policy.dist.log_prob(policy.params(r.obs[:-1]), r.action)
    x = retrace_errors(r.mask * (target - taken), (r.mask * (log_prob - r.log_prob)).exp(), GAMMA, lam)
    chance = r.mask * every_episode.probability
    cell = (time * mdp.states + state) * 2 + r.action
    sums = [torch.zeros(q.numel(), dtype=torch.float64).index_add(0, cell.flatten(), y.flatten())
            for y in (chance * x, chance)]  # fmt: skip
    return q + (sums[0] / sums[1].clamp(min=1e-300)).view(q.shape)


@all_mdps
@pytest.mark.parametrize("lam", [0.0, 0.6, 1.0])
def test_it_rests_at_q_of_the_target_policy_and_contracts(name: str, lam: float) -> None:
    """From any Q the distance to Q^π shrinks by γ at least (Munos et al. 2016, theorem 1); Q^μ is no rest."""
    mdp, theta, _ = world(name)
    target = values_of(mdp, probabilities(mdp, moved(theta)))[1]
    assert error(applied(name, target, lam), target) < EXACT
    behaviour = values_of(mdp, probabilities(mdp, theta))[1]
    assert error(applied(name, behaviour, lam), behaviour) > FAR
    wrong = target + torch.randn(
        target.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64
    )
    reached = applied(name, wrong, lam) != wrong
    far = (wrong - target).abs().max()
    assert (applied(name, wrong, lam) - target)[reached].abs().max() <= GAMMA * far


def test_its_gradient_is_that_of_q_in_the_old_states() -> None:
    """Without caps E = Σₜ Σ_s P_μ(sₜ = s) Σ_a π(a|s)Q^π(s, a)∇log π(a|s) where Q_φ is Q^π, and by λ = 1
    where it is not; with c̄ = 1 or ρ̄ = 1 another. On TokenTree, where a state has one time.
    """
    p = exact.read_problem(gym.make("pgrun/TokenTree-v0", length=2))
    states, actions = p.observations, p.reward.shape[1]
    theta = torch.linspace(-1, 1, actions * states, dtype=torch.float64)
    behaviour, target = (
        Policy(Mlp([states, actions], bias=False), Categorical(actions), x, NoStateNorm())
        for x in (theta, theta.roll(3))
    )
    every = list_episodes(p, behaviour)
    pi = exact.policy_table(target, p)
    q = p.reward.clone()
    for _ in range(p.horizon):
        q = p.reward + GAMMA * p.transition @ (pi * q).sum(-1)
    aim = torch.zeros_like(q)
    for at in exact.state_visits(p, exact.policy_table(behaviour, p)):
        aim += at[:, None] * pi * (q - (pi * q).sum(-1, keepdim=True))

    def mean_step(table: Tensor, **given: float) -> Tensor:
        phi = table.T.flatten().contiguous()
        critic = FittedQCritic(
            FittedQ(), Mlp([states, actions], bias=False), phi, behaviour, Optimizer(phi, Sgd(lr=0.1))
        )
        algorithm = OffPolicyPg(weights="retrace", **given)  # type: ignore[arg-type]
        rollout = record_action_values(every.rollout, LearnerOf(critic))  # type: ignore[arg-type]
        rollout = replace(rollout, q=critic.action_values(rollout))
        batch = Estimator(Advantage(), GAMMA).batch(rollout, critic.values(rollout), critic, behaviour)
        batch = algorithm.renew_values(batch, target)
        present = (pi * table).sum(-1)[batch.state]  # V of the target, and not of the behaviour
        assert error(batch.mask * batch.extra["v"], batch.mask * present) < EXACT
        ratio = log_ratio(target.dist.log_prob(target.params(batch.obs), batch.action), batch)
        weight = algorithm.weighted_psi(ratio, batch) * batch.mask
        chance = every.probability.expand(batch.shape).flatten()
        score = target.dist.score(target.params(batch.obs), batch.action)
        total = (chance * weight)[:, None] * score
        return torch.zeros_like(q).index_add(0, batch.state, total)

    free = {"rho_bar": 1e9, "c_bar": 1e9}
    assert error(mean_step(q, **free), aim) < EXACT
    assert error(mean_step(q, **free, lam=0.5), aim) < EXACT
    wrong = q + torch.linspace(-1, 1, q.numel(), dtype=torch.float64).view(q.shape)
    assert error(mean_step(wrong, **free), aim) < EXACT, "traces of ρ itself reach the end: no Q is left"
    assert error(mean_step(wrong, rho_bar=1e9), aim) > FAR, "and capped at 1 they do not"
    assert error(mean_step(q), aim) > FAR


class LearnerOf:
    """A learner of which only its critic is asked for."""

    def __init__(self, critic: FittedQCritic):
        self.critic = critic


def test_a_run_learns_alike_on_both_backends() -> None:
    words = ["algo=off_policy_pg", "variance=advantage", "critic=fitted_q", "tuned=none"]
    thetas = []
    for backend in ("torch", "compiled"):
        run = built(*words, **RETRACE, backend=backend)
        start = run.policy.theta.clone()
        rollout, _ = collect_rollout(run)
        scalars = learn_from_rollout(run, rollout, Counters(next_eval=0))
        assert scalars["value/loss"] > 0
        thetas.append(run.policy.theta - start)
    assert thetas[0].norm() > 0
    torch.testing.assert_close(*thetas, rtol=0, atol=1e-3 * float(thetas[0].norm()))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"variance": {"name": "td0", "discounting": "reward_to_go"}}, "variance=advantage critic=fitted_q"),
        ({"critic": {"name": "exact"}}, "variance=advantage critic=fitted_q"),
        ({"variance": {"name": "advantage", "discounting": "from_start"}}, "takes no factor γ^t"),
        ({"advantage_norm": "scale"}, "add advantage_norm=none"),
        ({"algo": {"weights": "retrace", "truncate": 2.0, "self_normalise": False}}, "has caps of its own"),
    ],
)
def test_refusals(changed: dict[str, Any], said: str) -> None:
    fits = {
        "algo": {"weights": "retrace", "truncate": None, "self_normalise": False},
        "variance": {"name": "advantage", "discounting": "reward_to_go"},
        "critic": {"name": "fitted_q"},
        "advantage_norm": "none",
    }
    assert list(OffPolicyPg.misfits(fits, None)) == []
    assert any(said in mistake.sentence() for mistake in OffPolicyPg.misfits(fits | changed, None))
