"""V-trace over every episode of small problems: where it comes to rest, what its gradient is the mean of."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from pgrun.algorithms.base import Learner
from pgrun.algorithms.estimator import Estimator
from pgrun.algorithms.off_policy_pg import OffPolicyPg, log_ratio
from pgrun.returns import lambda_return
from pgrun.variance.td0 import Td0
from tests.helpers.support_enumerate import batch_of, tabular_policy, world
from tests.helpers.support_exact import (
    EXACT,
    FAR,
    GAMMA,
    MDPS,
    Mdp,
    error,
    probabilities,
    time_limited,
    visits,
    wrong_critic,
)

all_mdps = pytest.mark.parametrize("name", MDPS)
WIDE = 1e9  # no cap


def moved(theta: Tensor) -> Tensor:
    draw = torch.Generator().manual_seed(9)
    return theta + 1.5 * torch.randn(len(theta), generator=draw, dtype=torch.float64)


def values_of(mdp: Mdp, pi: Tensor) -> tuple[Tensor, Tensor]:
    """(V [H+1, S], Q [H, S, A]) of a table π [S, A], by backward induction."""
    v, qs = [torch.zeros(mdp.states, dtype=torch.float64)], []
    for _ in range(mdp.horizon):
        qs.append((mdp.chance * mdp.reward).sum(-1) + GAMMA * mdp.chance[..., :-1] @ v[-1])
        v.append((pi * qs[-1]).sum(-1))
    return torch.stack(v[::-1]), torch.stack(qs[::-1])


def fixed_point_policy(mdp: Mdp, theta: Tensor, rho_bar: float) -> Tensor:
    """π_ρ̄(a|s) ∝ min(ρ̄ μ(a|s), π(a|s)) (Espeholt et al. 2018, eq. 3)."""
    mu, pi = probabilities(mdp, theta), probabilities(mdp, moved(theta))
    least = (rho_bar * mu).minimum(pi)
    return least / least.sum(1, keepdim=True)


def mean_errors(name: str, table: Tensor, algorithm: OffPolicyPg) -> Tensor:
    """E_μ[vₜ − V(sₜ); sₜ = s] [H, S] of V = ``table``, π = ``moved``."""
    mdp, theta, every_episode = world(name)
    batch = batch_of(
        every_episode.policy, every_episode.rollout, every_episode.look_up(table), Estimator(Td0(), GAMMA)
    )
    pi = tabular_policy(moved(theta))
    ratio = log_ratio(pi.dist.log_prob(pi.params(batch.obs), batch.action), batch).exp()
    x, _ = algorithm.v_trace(ratio, batch)
    total = torch.zeros(mdp.horizon, mdp.states + 1, dtype=torch.float64)
    total.scatter_add_(
        1, every_episode.state[:-1], every_episode.rollout.mask * every_episode.probability * x
    )
    return total[:, :-1]


@all_mdps
@pytest.mark.parametrize("rho_bar", [0.7, 1.0, WIDE])
@pytest.mark.parametrize(("c_bar", "lam"), [(1.0, 1.0), (0.5, 0.6), (WIDE, 1.0)])
def test_it_rests_at_the_values_of_the_capped_policy(
    name: str, rho_bar: float, c_bar: float, lam: float
) -> None:
    """Whatever c̄ and λ are; at those of π itself only without a cap."""
    mdp, theta, _ = world(name)
    algorithm = OffPolicyPg(weights="v_trace", rho_bar=rho_bar, c_bar=c_bar, lam=lam)
    at_rest = values_of(mdp, fixed_point_policy(mdp, theta, rho_bar))[0]
    assert float(mean_errors(name, at_rest, algorithm).abs().max()) < EXACT
    target = time_limited(mdp, moved(theta), GAMMA)[1]
    off = float(mean_errors(name, target, algorithm).abs().max())
    assert (off < EXACT) == (rho_bar == WIDE)
    assert off < EXACT or off > FAR
    assert float(mean_errors(name, wrong_critic(mdp), algorithm).abs().max()) > FAR


def mean_step(name: str, table: Tensor, **given: float) -> Tensor:
    """E_μ of the ascent direction at ``moved`` [P]: the surrogate's gradient, each episode by its chance."""
    _, theta, every_episode = world(name)
    batch = batch_of(
        every_episode.policy,
        every_episode.rollout,
        every_episode.look_up(table, 0.0),
        Estimator(Td0(), GAMMA),
    )
    algorithm = OffPolicyPg(weights="v_trace", **given)  # type: ignore[arg-type]
    chance = every_episode.probability.expand(batch.shape).flatten() * batch.count
    with torch.enable_grad():
        policy = tabular_policy(moved(theta).requires_grad_())
        log_prob = policy.dist.log_prob(policy.params(batch.obs), batch.action)
        weighted = replace(batch, mask=batch.mask * chance)  # psi has its mask
        total = algorithm.surrogate(log_prob, weighted)
        return torch.autograd.grad(total, policy.theta)[0]


@all_mdps
def test_its_gradient_is_that_of_the_present_values_in_the_old_states(name: str) -> None:
    """Without caps E = Σₜ Σ_s P_μ(sₜ = s) Σ_a π(a|s)Q^π(s, a)∇log π(a|s), for any V: per_step has Q^μ there.
    With ρ̄ = 1 it is another.
    """
    mdp, theta, _ = world(name)
    target = moved(theta)
    pi = probabilities(mdp, target)

    def aim(q: Tensor) -> Tensor:
        centred = q - (pi * q).sum(-1, keepdim=True)
        return (visits(mdp, theta)[..., None] * pi * centred).mT.flatten(1).sum(0)

    wrong = wrong_critic(mdp)
    for table in (torch.cat([wrong[:-1], torch.zeros_like(wrong[:1])]), torch.zeros_like(wrong)):
        mean = mean_step(name, table, rho_bar=WIDE, c_bar=WIDE)  # the time limit is the end
        assert error(mean, aim(time_limited(mdp, target, GAMMA)[0])) < EXACT
        assert error(mean, aim(time_limited(mdp, theta, GAMMA)[0])) > FAR
        assert error(mean_step(name, table, rho_bar=1.0), mean) > FAR


def test_on_policy_it_is_gae() -> None:
    """Weights of 1: x is Gλ − V."""
    mdp, _, episodes = world("both")
    value = episodes.look_up(wrong_critic(mdp))
    batch = batch_of(episodes.policy, episodes.rollout, value, Estimator(Td0(), GAMMA))
    x, _ = OffPolicyPg(weights="v_trace", lam=0.6).v_trace(torch.ones_like(episodes.rollout.reward), batch)
    r = episodes.rollout
    gae = lambda_return(r.reward, r.terminated, r.ended, value, GAMMA, 0.6) - value[:-1]
    assert error(x * r.mask, gae * r.mask) < EXACT


def test_the_critic_is_fitted_to_what_came_out() -> None:
    """V + x of the policy after its steps, and not of the one before."""
    mdp, theta, episodes = world("terminates")
    value = episodes.look_up(wrong_critic(mdp), 0.0)
    batch = batch_of(episodes.policy, episodes.rollout, value, Estimator(Td0(), GAMMA))
    seen = []
    critic = SimpleNamespace(
        fits_first=False, joint_delta=lambda *x: 0.0, fit=lambda rows, generator: seen.append(rows)
    )
    policy = tabular_policy(theta)

    def step(gradient: Tensor) -> None:
        policy.theta.copy_(moved(theta))

    algorithm = OffPolicyPg(weights="v_trace", reuses=1)
    algorithm.update(batch, Learner(policy, critic, SimpleNamespace(step=step), torch.Generator()))  # type: ignore[arg-type]
    ratio = log_ratio(policy.dist.log_prob(policy.params(batch.obs), batch.action), batch).exp()
    wanted = batch.value + algorithm.v_trace(ratio, batch)[0].flatten()
    assert torch.equal(seen[0].target, wanted)
    assert error(wanted, replace(batch).target) > FAR


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"variance": {"name": "gae"}}, "add variance=td0"),
        ({"advantage_norm": "scale"}, "add advantage_norm=none"),
        ({"variance": {"name": "td0", "discounting": "from_start"}}, "takes no factor γ^t"),
        ({"algo": {"weights": "v_trace", "truncate": 2.0, "self_normalise": False}}, "has caps of its own"),
        ({"critic": {"name": "fitted", "fit": "before"}}, "critic.fit=before: is too early"),
    ],
)
def test_refusals(changed: dict[str, Any], said: str) -> None:
    fits = {
        "algo": {"weights": "v_trace", "truncate": None, "self_normalise": False},
        "variance": {"name": "td0", "discounting": "reward_to_go"},
        "advantage_norm": "none",
        "critic": {"name": "fitted", "fit": "after"},
    }
    assert list(OffPolicyPg.misfits(fits, None)) == []
    assert any(said in one.sentence() for one in OffPolicyPg.misfits(fits | changed, None))
