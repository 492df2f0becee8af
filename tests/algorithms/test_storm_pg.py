"""Recursive momentum over every episode of small problems: the error that is handed on, and the variance."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from pgrun.algorithms.base import Learner
from pgrun.algorithms.estimator import Estimator
from pgrun.algorithms.storm_pg import StormPg
from pgrun.critics.base import NoCritic
from pgrun.training.counters import Counters
from pgrun.training.loop import collect_rollout, learn_from_rollout
from pgrun.variance.base import Scheme
from pgrun.variance.none import None_
from pgrun.variance.reward_to_go import RewardToGo
from tests.helpers.support_cli import pgrun as command
from tests.helpers.support_enumerate import World, batch_of, enumerate_world, tabular_policy, world
from tests.helpers.support_exact import EXACT, FAR, GAMMA, MDPS, error, true_gradient
from tests.helpers.support_pipeline import built

ALPHA = 0.3
all_mdps = pytest.mark.parametrize("name", MDPS)


def next_directions(given: World, theta: Tensor, scheme: Scheme, algorithm: StormPg) -> Tensor:
    """dₜ of every episode by itself [n, P], drawn by θ, after what the algorithm remembers."""
    directions, memory = [], dict(algorithm.memory)
    for n in range(len(given.probability)):
        steps: list[Tensor] = []
        policy = tabular_policy(theta)
        learner = Learner(policy, NoCritic(), SimpleNamespace(step=steps.append), torch.Generator())  # type: ignore[arg-type]
        rollout = given.rollout.columns(torch.tensor([n]))
        value = torch.zeros_like(rollout.obs[..., 0])
        algorithm.memory = dict(memory)
        algorithm.update(batch_of(policy, rollout, value, Estimator(scheme, GAMMA)), learner)
        directions.append(-steps[0])
    algorithm.memory = memory
    return torch.stack(directions)


def remembering(mdp: Any, theta: Tensor, wrong: Tensor, **given: Any) -> StormPg:
    """That had d = ∇J(θ) + ``wrong`` at θ."""
    algorithm = StormPg(alpha=ALPHA, **given)
    algorithm.memory = {"direction": true_gradient(mdp, theta) + wrong, "theta": theta.clone()}
    return algorithm


@all_mdps
@pytest.mark.parametrize(
    ("weights", "scheme"),
    [("trajectory", None_()), ("trajectory", RewardToGo("from_start")),
     ("per_decision", RewardToGo("from_start"))],
)  # fmt: skip
def test_the_error_is_handed_on_and_no_other_comes_in(name: str, weights: str, scheme: Scheme) -> None:
    """E[dₜ] − ∇J(θₜ) = (1 − α)(dₜ₋₁ − ∇J(θₜ₋₁)), exactly; with truncated weights another comes in."""
    mdp, theta, _ = world(name)
    draw = torch.Generator().manual_seed(4)
    moved, wrong = (theta + x for x in torch.randn(2, len(theta), generator=draw, dtype=torch.float64))
    wrong = wrong - theta
    every_episode = enumerate_world(mdp, moved)

    def handed_on(**given: Any) -> Tensor:
        algorithm = remembering(mdp, theta, wrong, weights=weights, **given)
        mean = every_episode.probability @ next_directions(every_episode, moved, scheme, algorithm)
        return mean - true_gradient(mdp, moved)

    assert error(handed_on(), (1 - ALPHA) * wrong) < EXACT
    assert error(handed_on(truncate=0.5), (1 - ALPHA) * wrong) > FAR


@all_mdps
def test_where_it_stands_still_the_noise_is_alpha_squared(name: str) -> None:
    """And a little way on still below that of one batch."""
    mdp, theta, every_episode = world(name)

    def variance(at: Tensor, algorithm: StormPg) -> float:
        now = enumerate_world(mdp, at)
        directions = next_directions(now, at, RewardToGo("from_start"), algorithm)
        mean = now.probability @ directions
        return float(now.probability @ (directions - mean).square().sum(1))

    nothing = torch.zeros_like(theta)
    plain = variance(theta, StormPg())  # remembers nothing
    assert variance(theta, remembering(mdp, theta, nothing)) == pytest.approx(ALPHA**2 * plain, rel=1e-9)
    near = theta + 0.1 * torch.ones_like(theta).cumsum(0).cos()
    assert variance(near, remembering(mdp, theta, nothing)) < 0.5 * variance(near, StormPg())
    assert len(every_episode.probability) > 3


def test_a_run_goes_on_as_it_was() -> None:
    given = {"env.num_envs": 4, "sampler.episodes": 4, "network.hidden": [8], "env.id": "CartPole-v1"}
    run, again = (built("algo=storm_pg", "tuned=none", **given) for _ in range(2))
    learn_from_rollout(run, collect_rollout(run)[0], Counters(next_eval=0))
    again.load_state_dict(run.state_dict())
    for one in (run, again):
        scalars = learn_from_rollout(one, collect_rollout(one)[0], Counters(next_eval=0))
    assert torch.equal(run.policy.theta, again.policy.theta)
    assert 0 < scalars["weight/ess"] <= 1
    assert scalars["direction/cosine"] < 1


def test_corrections_of_the_gradient_are_refused() -> None:
    answer = command("algo=storm_pg variance=all_actions critic=fitted_q env=CartPole-v1 tuned=none")
    assert answer.code == 2
    assert "cannot weigh" in answer.err


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"advantage_norm": "scale"}, "add advantage_norm=none"),
        ({"algo": {"weights": "trajectory", "entropy": 0.1}}, "add algo.entropy=0"),
        ({"network": {"name": "shared"}}, "add network=separate"),
        ({"reward_scaling": True}, "add reward_scaling=false"),
        ({"algo": {"weights": "per_decision", "entropy": 0.0}}, "add variance=reward_to_go"),
    ],
)
def test_refusals(changed: dict[str, Any], said: str) -> None:
    fits = {
        "algo": {"weights": "trajectory", "entropy": 0.0},
        "variance": {"name": "value_baseline"},
        "network": {"name": "separate"},
        "advantage_norm": "none",
        "reward_scaling": False,
    }
    assert list(StormPg.misfits(fits, None)) == []
    assert any(said in mistake.sentence() for mistake in StormPg.misfits(fits | changed, None))
