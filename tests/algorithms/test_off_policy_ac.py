"""off_policy_ac mended step by step: what its critic converges to, what its actor follows, and which
baselines bias.
"""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor

from pgrun import exact
from pgrun.policies.policy import Policy
from pgrun.training.loop import make_batch
from tests.helpers.support_off_policy import ACTIONS, GAMMA, NOW, OLD, WORDS, Lab, lab
from tests.helpers.support_pipeline import built

CORRECTIONS = ("none", "q", "q_next", "all")


def distance(given: Lab, table: Tensor) -> float:
    """‖Q̂ − table‖ over the pairs of the buffer, each weighed by how often it is there."""
    return float((given.visited() * (given.read() - table).square()).sum().sqrt())


def settled(corrections: str) -> Lab:
    answer = lab(corrections)
    if not answer.critic.phi.any():
        answer.fixed_point()
    return answer


def actor_error(given: Lab) -> float:
    """‖mean direction of the update − the gradient at the buffer's states‖, over that gradient's length."""
    mean = torch.stack([given.direction() for _ in range(10)]).mean(0)
    truth = given.present_gradient()
    return float((mean - truth).norm() / truth.norm())


def test_the_critic_comes_nearer_with_each_correction() -> None:
    """What is left at q_next is the noise of drawing: ‖Q̂ − Q‖ was 0.31, 0.19 and 0.016."""
    error = [distance(actual := settled(c), actual.of_the_buffer(NOW)) for c in CORRECTIONS[:3]]
    assert error[0] > 1.3 * error[1]
    assert error[1] > 6 * error[2]
    assert distance(settled("all"), settled("all").of_the_buffer(NOW)) < 2 * error[2]


def test_with_the_buffers_next_action_it_is_the_old_policys_q() -> None:
    """Negative control: q converges too, to the older policy's Q; and q_next not to that."""
    actual = settled("q")
    assert 4 * distance(actual, actual.of_the_buffer(OLD)) < distance(actual, actual.of_the_buffer(NOW))
    assert distance(settled("q_next"), actual.of_the_buffer(OLD)) > 0.1


def test_the_buffer_is_a_sample_of_the_true_problem() -> None:
    """And what is left between its Q and the true one is sampling error: rewards of
    size 1, 16 000 of them on 8 pairs.
    """
    answer = lab("all")
    error = answer.of_the_buffer(NOW) - answer.solved()[1]
    assert float((answer.visited() * error.square()).sum().sqrt()) < 0.1


def test_only_with_actions_of_its_own_does_the_actor_follow_the_gradient() -> None:
    error = {c: actor_error(settled(c)) for c in CORRECTIONS}
    assert error["all"] < 0.25
    assert min(error[c] for c in CORRECTIONS[:3]) > 4 * error["all"]


@cache
def directions(baseline: str, draws: int) -> Tensor:
    """Directions on the *same* replayed states with the exact Q: only the actor's own
    actions differ [draws, P].
    """
    answer = lab("all", baseline)
    answer.set(answer.solved()[1])
    answer.run.noise.manual_seed(0)
    answer.run.sampler.batch = 64
    rollout = answer.draw()
    return torch.stack([answer.direction_on(rollout) for _ in range(draws)]).double()


def test_the_expectation_is_the_mean_of_the_draws_and_has_no_variance() -> None:
    """Neither V nor the sum over actions biases; each lowers the variance."""
    [expected], again = directions("expectation", 1), directions("expectation", 2)
    assert torch.equal(again[0], again[1])
    variance = {}
    for baseline in ("none", "v"):
        drawn = directions(baseline, 400)
        mean, error = drawn.mean(0), drawn.std(0) / len(drawn) ** 0.5
        assert ((mean - expected) / error).abs().max() < 4
        variance[baseline] = float(drawn.var(0).sum())
    assert 0 < variance["v"] < 0.9 * variance["none"]


def test_negative_control_another_q_is_seen_by_the_same_comparison() -> None:
    """10 % more Q in the expectation is 13 standard errors off, and more than 4."""
    [expected] = directions("expectation", 1)
    drawn = directions("v", 400)
    error = drawn.std(0) / len(drawn) ** 0.5
    assert ((drawn.mean(0) - 1.1 * expected) / error).abs().max() > 4


def test_the_table_is_solved_where_it_should_be() -> None:
    """The time limit plays no part: V with 200 steps left is V with 400 left."""
    p = exact.read_problem(lab("all").run.envs.envs[0])
    pi = exact.policy_table(lab("all").run.policy, p)
    longer = exact.read_problem(lab("all").run.envs.envs[0], 400)
    torch.testing.assert_close(exact.values(p, pi, GAMMA)[0][0], exact.values(longer, pi, GAMMA)[0][0])


@pytest.mark.parametrize("baseline", ["none", "v", "expectation"])
def test_what_the_update_learns_from_has_the_buffers_states(baseline: str) -> None:
    """Rows of the expectation: each state once for every action, and the divisor is the number of states."""
    answer = lab("all", baseline)
    answer.run.sampler.batch = 16
    rollout = answer.draw()
    seen = answer.run.algorithm.prepare_rollout(rollout, answer.run.learner)
    assert torch.equal(seen.obs[0], rollout.obs[0])
    assert seen.count == 16
    assert torch.equal(seen.replayed_from.action, rollout.action)


@pytest.mark.parametrize("baseline", ["none", "v", "expectation"])
def test_a_state_has_its_entropy_bonus_once(baseline: str) -> None:
    """With Q = 0 the update is that of the bonus, c_H times the gradient of the mean entropy by autograd."""
    more = (f"algo.baseline={baseline}", "variance=q", "algo.entropy=0.5", "advantage_norm=none")
    run = built(*WORDS, "sampler.batch=16", *more)
    run.learner.critic.phi.zero_()
    first, _ = run.sampler.collect(run.policy, run.envs, run.noise, run.scale)
    rollout, _, batch = make_batch(run, run.sampler.recall(first, run.policy, run.scale, run.noise))
    ours = run.algorithm.loss_gradient(batch, run.learner)
    policy = run.policy

    def mean_entropy(theta: Tensor) -> Tensor:
        moved = Policy(policy.net, policy.dist, theta, policy.normaliser, False)
        return moved.dist.entropy(moved.params(rollout.obs[0])).mean()

    with torch.enable_grad():
        theirs = torch.func.grad(mean_entropy)(policy.theta)
    assert theirs.norm() > 1e-4
    torch.testing.assert_close(ours, -0.5 * theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("baseline", "scheme", "values"),
    [("none", "q", 0), ("v", "q", 1), ("none", "advantage", 1), ("v", "advantage", 1)],
)
def test_v_is_subtracted_once_whichever_words_ask_for_it(baseline: str, scheme: str, values: int) -> None:
    """Ψ = Q(s, a) − V(s), V = Σ_a π(a|s)Q(s, a) written out here; never Q − 2V."""
    run = built(*WORDS, "sampler.batch=64", f"algo.baseline={baseline}", f"variance={scheme}")
    first, _ = run.sampler.collect(run.policy, run.envs, run.noise, run.scale)
    drawn = run.sampler.recall(first, run.policy, run.scale, run.noise)
    rollout, _, batch = make_batch(run, drawn)
    obs, critic = rollout.obs[0], run.learner.critic
    every = torch.stack([critic.q(obs, torch.full((64,), a)) for a in range(ACTIONS)], 1)
    value = (run.policy.params(obs).softmax(-1) * every).sum(1)
    expected = every.gather(1, rollout.action[0, :, None])[:, 0] - values * value
    torch.testing.assert_close(batch.psi, expected, rtol=1e-5, atol=1e-6)
    assert value.abs().max() > 1e-3
