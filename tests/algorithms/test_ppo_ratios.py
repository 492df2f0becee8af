"""Clip-higher, the dual clip and ratios of whole episodes: by hand, against derivatives, and with torch's
twins.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import grad, vmap

from pgrun.algorithms.base import Learner
from pgrun.algorithms.estimator import Estimator
from pgrun.algorithms.ppo import Ppo
from pgrun.critics.base import NoCritic
from pgrun.diagnostics.update import policy_change
from pgrun.optimization.minibatches import shuffled_episodes
from pgrun.policies.policy import Policy
from pgrun.types import Batch
from pgrun.variance.group import Group
from pgrun.variance.reward_to_go import RewardToGo
from tests.algorithms.test_updates import CLOSE, batch_like, random
from tests.helpers.support_enumerate import used_gradient, world
from tests.helpers.support_exact import EXACT, FAR, error
from tests.helpers.support_pipeline import draw, settings

SETTINGS: list[dict[str, Any]] = [
    {"clip_high": 0.5},
    {"dual_clip": 1.3},
    {"ratio": "sequence"},
    {"ratio": "sequence", "clip_high": 0.3, "dual_clip": 1.1, "clip": 0.1},
]


def episodes(scheme: Any, psi: str = "none") -> tuple[Policy, Batch]:
    """Twenty episodes of different lengths, as an update of ppo gets them."""
    _, _, actual = world("both")
    rollout = replace(actual.rollout.columns(torch.arange(20)), group=4)
    assert rollout.mask.min() == 0
    learner: Any = None
    rollout = Ppo(ratio="sequence").prepare_rollout(rollout, learner)
    value = torch.zeros_like(rollout.obs[..., 0])
    return actual.policy, Estimator(scheme, 0.9).batch(rollout, value, NoCritic(), actual.policy)


@pytest.mark.parametrize("given", SETTINGS, ids=str)
def test_the_weight_is_the_derivative(given: dict[str, Any]) -> None:
    """log π up to 1 away, so that every clip is met."""
    algorithm, (_, batch) = Ppo(**given), episodes(RewardToGo())
    met = torch.zeros_like(batch.mask, dtype=torch.bool)
    moved = batch.log_prob + 0.6 * random(8, len(batch.mask), seed=6)
    with torch.enable_grad():
        weights = vmap(grad(lambda log_prob: algorithm.surrogate(log_prob, batch)))(moved)
    for log_prob, expected in zip(moved, weights, strict=True):
        torch.testing.assert_close(algorithm.gradient_weight(log_prob, batch), expected, **CLOSE)
        assert (expected[batch.mask == 0] == 0).all()
        met |= algorithm.clipped(algorithm.log_ratio(log_prob, batch).exp(), batch)
    assert (met & (batch.psi > 0)).any()
    assert (met & (batch.psi < 0)).any()


def by_hand(algorithm: Ppo, ratio: list[float], psi: list[float]) -> tuple[list[float], list[float]]:
    """(the objective of each row, its weight)"""
    n = len(psi)
    batch = batch_like(
        n,
        log_prob=torch.zeros(n, dtype=torch.float64),
        psi=torch.tensor(psi, dtype=torch.float64),
        mask=torch.ones(n, dtype=torch.float64),
    )
    batch = replace(batch, count=1.0)
    log_prob = torch.tensor(ratio, dtype=torch.float64).log()
    each = [
        float(algorithm.surrogate(log_prob[k : k + 1], replace(batch.rows(slice(k, k + 1)), count=1.0)))
        for k in range(n)
    ]
    return each, algorithm.gradient_weight(log_prob, batch).tolist()


def test_clip_higher_by_hand() -> None:
    """ε = 0.2 below and 0.28 above: 1.25 is inside, 1.5 counts as 1.28."""
    value, weight = by_hand(Ppo(clip=0.2, clip_high=0.28), [1.25, 1.5, 0.7, 0.7, 1.5], [2, 2, 2, -2, -2])
    assert value == pytest.approx([2.5, 2.56, 1.4, -1.6, -3.0])
    assert weight == pytest.approx([2.5, 0, 1.4, 0, -3.0])
    plain, _ = by_hand(Ppo(clip=0.2), [1.25], [2])
    assert plain == pytest.approx([2.4])


def test_the_dual_clip_by_hand() -> None:
    """c = 3: a bad action that has become five times as likely counts as three times; good ones do not feel
    it.
    """
    value, weight = by_hand(Ppo(dual_clip=3.0), [5.0, 2.0, 0.5, 5.0, 0.5], [-2, -2, -2, 2, 2])
    assert value == pytest.approx([-6.0, -4.0, -1.6, 2.4, 1.0])
    assert weight == pytest.approx([0, -4.0, 0, 0, 1.0])
    plain, _ = by_hand(Ppo(), [5.0], [-2])
    assert plain == pytest.approx([-10.0])


def test_the_ratio_of_an_episode_by_hand() -> None:
    """GSPO, eq. 5: 1/N Σᵢ min(sᵢAᵢ, clip(sᵢ)Aᵢ), sᵢ the geometric mean of the steps' ratios."""
    _, batch = episodes(Group("dr_grpo", "episode"))
    log_prob = batch.log_prob + 0.5 * random(len(batch.mask), seed=3)
    steps = batch.mask.view(batch.shape).sum(0)
    s = ((batch.mask * (log_prob - batch.log_prob)).view(batch.shape).sum(0) / steps).exp()
    advantage = batch.psi.view(batch.shape).sum(0)  # Ψ = A/|τ|
    wanted = torch.minimum(s * advantage, s.clamp(0.9, 1.1) * advantage).mean()
    objective = Ppo(ratio="sequence", clip=0.1).surrogate(log_prob, batch)
    assert float(objective) == pytest.approx(float(wanted), rel=1e-12)
    assert abs(float(Ppo(clip=0.1).surrogate(log_prob, batch)) - float(wanted)) > 1e-3


def test_both_ratios_start_with_the_same_gradient() -> None:
    """At θ_old, where Ψ is one number an episode; where it is not, an episode's ratio spreads it evenly."""
    _, _, actual = world("both")
    rollout = Ppo(ratio="sequence").prepare_rollout(actual.rollout.columns(torch.arange(20)), None)  # type: ignore[arg-type]
    value = torch.zeros_like(rollout.obs[..., 0])

    def used(scheme: Any, ratio: Any) -> Tensor:
        algorithm = Ppo(epochs=1, minibatches=1, ratio=ratio)
        return used_gradient(actual.policy, rollout, value, Estimator(scheme, 0.9), algorithm)

    assert error(used(Group(), "token"), used(Group(), "sequence")) < EXACT
    assert error(used(RewardToGo(), "token"), used(RewardToGo(), "sequence")) > FAR


def test_minibatches_of_whole_episodes() -> None:
    """Each episode in one of them, the divisor in proportion: their surrogates add up to the batch's."""
    _, batch = episodes(Group())
    seen, total, algorithm = [], torch.zeros(()), Ppo(ratio="sequence")
    log_prob = batch.log_prob + 0.3 * random(len(batch.mask), seed=3)
    batch = replace(batch, extra={**batch.extra, "moved": log_prob})
    for rows in shuffled_episodes(batch, 3, draw()):
        steps, columns = rows.shape
        own = rows.extra["episode"].view(steps, columns)
        assert (own == own[0]).all()
        assert rows.count == pytest.approx(columns)
        seen += own[0].tolist()
        total = total + rows.count * algorithm.surrogate(rows.extra["moved"], rows)
    assert sorted(seen) == list(range(20))
    assert seen != sorted(seen)
    assert float(total) == pytest.approx(20 * float(algorithm.surrogate(log_prob, batch)), rel=1e-12)


def test_an_infinite_ratio_of_no_account() -> None:
    """An episode with Ψ = 0 enters nothing, however far the policy has moved."""
    _, batch = episodes(Group())
    psi = torch.where(batch.extra["episode"] == 0, 0.0, batch.psi)
    far = torch.where(batch.extra["episode"] == 0, batch.log_prob + 1e6, batch.log_prob)
    algorithm = Ppo(ratio="sequence")
    assert algorithm.gradient_weight(far, replace(batch, psi=psi)).isfinite().all()
    assert algorithm.surrogate(far, replace(batch, psi=psi)).isfinite()


@pytest.mark.parametrize("ratio", ["token", "sequence"])
def test_the_clip_fraction_is_told(ratio: Any) -> None:
    policy, batch = episodes(Group())
    other = policy.with_theta(policy.theta + 2 * random(len(policy.theta), seed=5))
    told = policy_change(policy, other, batch, Ppo(ratio=ratio))
    log_prob = other.dist.log_prob(other.params(batch.obs), batch.action)
    step = batch.mask * (log_prob - batch.log_prob)
    if ratio == "sequence":
        mean = step.view(batch.shape).sum(0) / batch.mask.view(batch.shape).sum(0)
        step = mean.expand(batch.shape).flatten()
    active = ((batch.psi > 0) & (step.exp() > 1.2)) | ((batch.psi < 0) & (step.exp() < 0.8))
    wanted = float((batch.mask * active).sum() / batch.mask.sum())
    assert float(told["ratio/clip_fraction"]) == pytest.approx(wanted)
    assert 0 < wanted < 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"algo.ratio": "sequence"}, "is the ratio of a whole episode: add sampler=episodes"),
        (
            {"algo.ratio": "sequence", "sampler": {"name": "episodes", "episodes": 3}},
            "add algo.minibatches=1",
        ),
        ({"algo.ratio": "sequence", "advantage_scope": "minibatch"}, "add advantage_scope=batch"),
        ({}, None),
    ],
)
def test_refusals(changes: dict[str, Any], said: str | None) -> None:
    misfits = [one.sentence() for one in Ppo.misfits(settings("algo=ppo", **changes), None)]
    assert any(said in text for text in misfits) if said else misfits == []


def test_the_schedule_takes_both_sides() -> None:
    ppo = Ppo(clip=0.2, clip_high=0.4, clip_schedule="linear")
    assert (ppo.epsilon, ppo.upper) == (0.2, 0.4)
    ppo.set_progress(0.75)
    assert (ppo.epsilon, ppo.upper) == pytest.approx((0.05, 0.1))
    plain = Ppo(clip_schedule="linear")
    plain.set_progress(0.5)
    assert plain.upper == plain.epsilon


def test_a_learner_takes_steps_on_whole_episodes() -> None:
    """What the algorithm sees in each step, with three minibatches."""
    policy, batch = episodes(Group())
    seen: list[Batch] = []

    class Watching(Ppo):
        def ascend(self, batch: Batch, learner: Learner) -> None:
            seen.append(batch)

    learner = Learner(policy, NoCritic(), None, draw())  # type: ignore[arg-type]
    Watching(epochs=2, minibatches=3, ratio="sequence").improve(batch, learner)
    assert [rows.shape[1] for rows in seen] == [6, 7, 7] * 2
    Watching(epochs=1, minibatches=3).improve(batch, learner)
    own = seen[-1].extra["episode"].unique(return_counts=True)[1]
    assert (own < batch.shape[0]).any()


@pytest.mark.parametrize("given", SETTINGS, ids=str)
def test_the_compiled_backend(given: dict[str, Any]) -> None:
    """Traced where a row is enough; an episode's ratio takes the general path, by the setting."""
    support = pytest.importorskip("tests.helpers.support_compiled")
    changes: dict[str, Any] = {f"algo.{key}": value for key, value in given.items()}
    if given.get("ratio") == "sequence":
        changes |= {"sampler": {**settings("sampler=episodes")["sampler"], "episodes": 6}}
    changes |= {"env.max_episode_steps": 40}
    assert support.apart("ppo", 1, **changes) < 1e-5  # the bound of tests/compiled/test_compiled_updates.py
    run = support.update(support.built("ppo", "compiled", **changes))
    (steps,) = run.learner.steps.values()
    assert (steps is None) == (given.get("ratio") == "sequence")
    assert steps is None or steps.traced is not None
