"""critic.fit: Ψ taken from the critic after it was fitted to the same batch is biased by a known factor;
before, it is not.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pgrun.training.build import Run
from pgrun.training.counters import Counters
from pgrun.training.loop import learn_from_rollout
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import pgrun
from tests.helpers.support_pipeline import built

RATE, V0, THETA = 0.7, 0.4, [0.5, -0.2]
# one state and one step, reward = action; V is one number, fitted by one step of gradient descent
ONE_CHOICE = (
    "env=pgrun/FixedHorizon-v0 +env.kwargs.T=1 algo=reinforce variance=value_baseline advantage_norm=false "
    "optimizer=sgd optimizer.lr=1 network.hidden=[] network.bias=false diagnostics.gradient_every=1 "
    f"critic/optimizer=sgd critic.optimizer.lr={RATE} critic.target=mc critic.epochs=1"
).split()


def every_batch(fit: str, episodes: int) -> tuple[Tensor, list[dict[str, Tensor]]]:
    """(E Δθ of one update of training over every batch, the scalars of each)."""
    run = built(*ONE_CHOICE, f"critic.fit={fit}", f"sampler.episodes={episodes}", f"env.num_envs={episodes}")
    theta, critic = torch.tensor(THETA), run.learner.critic
    mean, told = torch.zeros(2), []
    for actions in product((0, 1), repeat=episodes):
        run.policy.theta.copy_(theta)
        critic.phi.fill_(V0)
        script = torch.tensor(actions)
        run.policy.actor = lambda script=script: lambda obs, noise: script.numpy()
        rollout, _ = run.sampler.collect(run.policy, run.envs, run.noise, run.scale)
        told.append(learn_from_rollout(run, rollout, Counters()))
        moved = run.policy.theta - theta
        assert told[-1]["gradient/norm"] == pytest.approx(float(moved.norm()), abs=1e-6)  # of the same Ψ
        assert critic.phi == pytest.approx(V0 - RATE * (V0 - sum(actions) / episodes))  # fitted once
        mean += theta.softmax(0)[script].prod() * moved
    return mean, told


@pytest.mark.parametrize("episodes", [2, 3])
def test_the_bias_of_fitting_first(episodes: int) -> None:
    """V becomes (1 − η)V₀ + ηḠ, of which the episode's own return is η/N: the mean is (1 − η/N)∇J."""
    p = torch.tensor(THETA).softmax(0)
    truth = p[0] * p[1] * torch.tensor([-1.0, 1.0])
    rounding = {"rtol": 1e-5, "atol": 1e-6}  # float32
    torch.testing.assert_close(every_batch("after", episodes)[0], truth, **rounding)
    before = every_batch("before", episodes)[0]
    torch.testing.assert_close(before, (1 - RATE / episodes) * truth, **rounding)
    assert (before - truth).norm() > 0.1 * truth.norm()


@pytest.mark.parametrize("fit", ["after", "before"])
def test_scalars_are_of_the_critic_before_its_fit(fit: str) -> None:
    for scalars in every_batch(fit, 2)[1]:
        assert scalars["value/mean"] == pytest.approx(V0)


def order(run: Run, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What moves when, in one update."""
    collected: list[str] = []
    for owner, name in ((run.algorithm, "improve"), (run.learner.critic, "fit")):
        original = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *a, f=original, n=name: (collected.append(n), f(*a))[1])
    rollout, _ = run.sampler.collect(run.policy, run.envs, run.noise, run.scale)
    recalled = run.sampler.recall(rollout, run.policy, run.scale, run.noise)
    learn_from_rollout(run, recalled, Counters())
    return collected


@pytest.mark.parametrize("words", [["algo=a2c"], ["algo=off_policy_ac", "sampler.warmup=1"]], ids=str)
def test_each_is_fitted_once_and_when_it_says(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert order(built(*words, "critic.fit=after"), monkeypatch) == ["improve", "fit"]
    assert order(built(*words, "critic.fit=before"), monkeypatch) == ["fit", "improve"]


def test_a_shared_network_has_no_order(here: Path) -> None:  # noqa: F811
    answer = pgrun("algo=a2c network=shared critic.fit=before")
    assert (answer.code, "add network=separate" in answer.err) == (2, True)
