"""Q_φ(s, ·) on-policy: what it is regressed on, its gradient, and what its error does to the policy's."""

from __future__ import annotations

import gymnasium as gym
import pytest
import torch
from torch import Tensor

from pgrun import exact
from pgrun.algorithms.estimator import Estimator
from pgrun.critics.exact import ExactCritic
from pgrun.critics.fitted_q import FittedQ, FittedQCritic
from pgrun.optimization.optimizers import Optimizer, Sgd
from pgrun.policies.distributions import Categorical
from pgrun.policies.mlp import Mlp
from pgrun.policies.normalization import NoStateNorm
from pgrun.policies.policy import Policy
from pgrun.tools.study.collect import Seen
from pgrun.tools.study.every_episode import EveryEpisode, list_episodes
from pgrun.training.counters import Counters
from pgrun.training.loop import collect_rollout, learn_from_rollout
from pgrun.variance.action_baseline import ActionBaseline
from pgrun.variance.all_actions import AllActions
from tests.helpers.support_cli import pgrun as command
from tests.helpers.support_exact import EXACT, FAR, error
from tests.helpers.support_pipeline import built

GAMMA, START = 0.9, "from_start"

pytestmark = pytest.mark.usefixtures("without_gradients")


def world(settings: FittedQ) -> tuple[exact.Problem, Policy, EveryEpisode, FittedQCritic]:
    """TokenTree, whose states know the time, and a Q_φ(s, ·) that is wrong everywhere."""
    p = exact.read_problem(gym.make("pgrun/TokenTree-v0", length=2))
    states, actions = p.observations, p.reward.shape[1]
    theta = torch.linspace(-1, 1, actions * states, dtype=torch.float64)
    policy = Policy(Mlp([states, actions], bias=False), Categorical(actions), theta, NoStateNorm())
    phi = torch.linspace(-1, 2, actions * states, dtype=torch.float64).roll(5)
    optimizer = Optimizer(phi, Sgd(lr=1.0, max_grad_norm=None))
    critic = FittedQCritic(settings, Mlp([states, actions], bias=False), phi, policy, optimizer)
    return p, policy, list_episodes(p, policy), critic


def table_of(critic: FittedQCritic, p: exact.Problem) -> Tensor:
    """Q_φ [S, A]"""
    return critic.every(exact.network_inputs(critic.policy, p))


def test_all_actions_is_off_by_what_q_is_and_a_corrected_baseline_is_not() -> None:
    """E ĝ = Σₜ γᵗ Σ_s P(sₜ = s) Σ_a Q_φ(s, a)∇π(a|s), the right side by autograd through the table."""
    p, policy, every, critic = world(FittedQ())
    seen = Seen(policy, every.rollout, critic)
    actual = every.probability @ seen.estimates(Estimator(AllActions(START), GAMMA), 1)
    visits, q = exact.state_visits(p, exact.policy_table(policy, p)), table_of(critic, p)
    discount = GAMMA ** torch.arange(len(visits), dtype=torch.float64)
    with torch.enable_grad():
        theta = policy.theta.clone().requires_grad_()
        moved = policy.with_theta(theta).params(exact.network_inputs(policy, p)).softmax(-1)
        objective = (discount[:, None, None] * visits[..., None] * moved * q).sum()
        (wanted,) = torch.autograd.grad(objective, theta)
    truth = exact.gradient(policy, p, GAMMA)
    assert error(actual, wanted) < EXACT
    assert error(actual, truth) > FAR
    corrected = every.probability @ seen.estimates(Estimator(ActionBaseline(START), GAMMA), 1)
    assert error(corrected, truth) < EXACT


@pytest.mark.parametrize(("target", "right"), [("mc", True), ("td_lambda", False), ("td0", False)])
def test_targets_have_q_as_their_mean(target: str, right: bool) -> None:
    """E[y | s, a] = Q(s, a): of mc whatever Q_φ is; of those that bootstrap where Q_φ is right, and only
    there.
    """
    p, policy, every, critic = world(FittedQ(target=target))
    known = ExactCritic(p, policy, GAMMA)
    q = known.action_values(every.rollout).flatten()

    def furthest() -> float:
        rows = critic.rows(every.rollout, GAMMA)
        chance = (every.probability * every.rollout.mask).flatten()
        cell = rows.state * p.reward.shape[1] + rows.action
        sums = [torch.zeros(p.reward.numel(), dtype=torch.float64).index_add(0, cell, chance * x)
                for x in (rows.target, q, torch.ones_like(q))]  # fmt: skip
        reached = sums[2] > 0
        return float(((sums[0] - sums[1]) / sums[2])[reached].abs().max())

    assert (furthest() < EXACT) == right
    if not right:  # the right Q in φ: a state of TokenTree is at one time alone
        q_table = torch.zeros_like(p.reward)
        live = every.rollout.mask > 0
        q_table[every.rollout.state[:-1][live], every.rollout.action[live]] = q.view(live.shape)[live]
        critic.phi.copy_(q_table.T.flatten())
        assert furthest() < EXACT


def test_a_fit_is_a_step_down_the_squared_error() -> None:
    _, _, every, critic = world(FittedQ())
    rows = critic.rows(every.rollout, GAMMA)
    with torch.enable_grad():
        phi = critic.phi.clone().requires_grad_()
        q = critic.net.activations(*critic.net.layers(phi), rows.obs)[-1]
        off = q[torch.arange(len(q)), rows.action] - rows.target
        (slope,) = torch.autograd.grad(0.5 * (rows.mask * off.square()).sum() / rows.mask.sum(), phi)
    before = critic.phi.clone()
    critic.fit(rows, torch.Generator())
    torch.testing.assert_close(critic.phi, before - slope, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scheme", ["all_actions", "td0"])
def test_a_run_fits_it_and_goes_on_as_it_was(scheme: str) -> None:
    given = {"env.id": "CartPole-v1", "env.num_envs": 4, "sampler.steps": 16}
    words = ["algo=a2c", f"variance={scheme}", "critic=fitted_q", "advantage_norm=none"]
    run, again = (built(*words, **given, **{"network.hidden": [8]}) for _ in range(2))
    first = run.learner.critic.phi.clone()
    learn_from_rollout(run, collect_rollout(run)[0], Counters(next_eval=0))
    assert not torch.equal(run.learner.critic.phi, first)
    again.load_state_dict(run.state_dict())
    for one in (run, again):
        scalars = learn_from_rollout(one, collect_rollout(one)[0], Counters(next_eval=0))
    assert torch.equal(run.policy.theta, again.policy.theta)
    assert scalars["value/loss"] > 0


def test_actions_that_are_no_choices_are_refused() -> None:
    answer = command("variance=all_actions critic=fitted_q env=Pendulum-v1 algo=a2c tuned=none")
    assert answer.code == 2
    assert "has an output for each action" in answer.err
