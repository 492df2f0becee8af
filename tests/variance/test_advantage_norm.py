"""What is done to Ψ before it is used: definitions, rounding, minibatches, and what is refused or said."""

from __future__ import annotations

import shutil
import statistics
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor

from pgrun.config.settings import AdvantageNorm
from pgrun.variance.advantage_norm import normalise_advantages
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import pgrun
from tests.helpers.support_pipeline import built, trained

NORMS = get_args(AdvantageNorm)


def random_rows(seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    psi = 3 + 2 * torch.randn(40, 5, generator=rng, dtype=torch.float64)
    return psi, (torch.rand(40, 5, generator=rng) < 0.7).double()


@pytest.mark.parametrize("norm", NORMS)
def test_it_is_what_the_formula_says(norm: AdvantageNorm) -> None:
    """Beside Python's own statistics, over rows with mask 1; ε = 1e-8 is no part of the oracle."""
    psi, mask = random_rows()
    kept = psi[mask > 0].tolist()
    mean, std = statistics.fmean(kept), statistics.pstdev(kept)
    size = statistics.fmean(x * x for x in kept) ** 0.5
    wanted = {"none": psi, "center": psi - mean, "scale": psi / size, "full": (psi - mean) / std}
    torch.testing.assert_close(normalise_advantages(psi, mask, norm), wanted[norm], rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("norm", ["center", "full"])
@pytest.mark.parametrize("value", [99.343, 1e6, -1e-3, 3e7])
@pytest.mark.parametrize("rows", [7, 8000])
def test_equal_weights_become_zero_in_float32(norm: AdvantageNorm, value: float, rows: int) -> None:
    """A float32 mean is off by its rounding, which √(σ² + ε) then divides by next to
    nothing: up to 1 for 1e6.
    """
    psi = torch.full((rows,), value, dtype=torch.float32)
    assert normalise_advantages(psi, torch.ones_like(psi), norm).abs().max() < 1e-6


@pytest.mark.parametrize("norm", NORMS)
def test_the_norm_of_a_normalised_batch_is_that_of_the_raw_one(norm: AdvantageNorm) -> None:
    """Why a minibatch may be normalised on top of the batch: moved and scaled Ψ have the same
    norm, up to ε.
    """
    psi, mask = random_rows()
    part, rows = slice(3, 9), mask[3:9]
    whole = normalise_advantages(psi, mask, norm)
    again = normalise_advantages(whole[part], rows, norm)
    torch.testing.assert_close(again, normalise_advantages(psi[part], rows, norm), rtol=1e-7, atol=1e-7)


def minibatch_moments(scope: str, monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float]]:
    """(mean, mean square) of Ψ over the rows with mask 1 of each minibatch that one update of PPO takes."""
    run = built(
        "algo=ppo",
        "tuned=none",
        f"advantage_scope={scope}",
        "algo.epochs=2",
        "algo.minibatches=4",
        "backend=torch",
    )
    rollout, _ = run.sampler.collect(run.policy, run.envs, run.noise, run.scale)
    value = run.learner.critic.values(rollout)
    batch = run.estimator.batch(rollout, value, run.learner.critic, run.policy)
    collected = []

    def note(rows, learner) -> None:
        kept = rows.psi[rows.mask > 0]
        collected.append((float(kept.mean()), float(kept.square().mean())))

    monkeypatch.setattr(run.algorithm, "ascend", note)
    run.algorithm.improve(batch, run.learner)
    return collected


def test_scope_decides_whose_mean_is_subtracted(monkeypatch: pytest.MonkeyPatch) -> None:
    each = minibatch_moments("minibatch", monkeypatch)
    assert len(each) == 8
    assert all(abs(mean) < 1e-6 and abs(square - 1) < 1e-5 for mean, square in each)
    whole = minibatch_moments("batch", monkeypatch)
    assert max(abs(mean) for mean, _ in whole) > 0.02
    assert abs(statistics.fmean(mean for mean, _ in whole)) < 1e-2


def final_theta(folder: Path, *words: str) -> Tensor:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    run, _ = trained(folder, "algo=reinforce", "tuned=none", "trainer.total_steps=1500", *words)
    return run.policy.theta.clone()


def test_constant_baselines_differ_by_default_and_not_when_centred(tmp_path: Path) -> None:
    """The lecture's first comparison.

    A mean baseline is centred already, so that centring makes ``none`` the same.
    """
    schemes = ("none", "mean_baseline", "leave_one_out")
    apart = [final_theta(tmp_path / "run", f"variance={name}") for name in schemes]
    assert not torch.allclose(apart[0], apart[1], atol=1e-2)
    same = [final_theta(tmp_path / "run", f"variance={name}", "advantage_norm=full") for name in schemes]
    # a factor N/(N−1) goes with the scale, but for ε; float32 and the steps of Adam amplify rounding
    for theta in same[1:]:
        torch.testing.assert_close(theta, same[0], rtol=0, atol=1e-3)


@pytest.mark.parametrize(("typed", "means"), [("true", "full"), ("false", "none"), ("center", "center")])
def test_old_spellings(typed: str, means: str) -> None:
    run = built(f"advantage_norm={typed}")
    assert run.settings["advantage_norm"] == run.estimator.advantage_norm == means


ZERO = "nothing would be learned"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("algo=reinforce variance=none sampler.episodes=1 env.num_envs=1 advantage_norm=full",
         [ZERO, "sampler.episodes=2"]),
        ("algo=reinforce variance=none sampler.episodes=1 advantage_norm=center",
         [ZERO, "advantage_norm=scale"]),
        ("algo=online_ac advantage_norm=true", [ZERO, "a batch here is one row"]),
        ("algo=off_policy_ac sampler.batch=1 advantage_norm=center", [ZERO]),
        ("algo=ppo sampler.steps=8 env.num_envs=1 algo.minibatches=8 advantage_scope=minibatch tuned=none",
         [ZERO, "minibatch"]),
        ("algo=reinforce advantage_scope=minibatch",
         ["algo=reinforce has no minibatches", "advantage_scope=batch"]),
        ("algo=a2c advantage_scope=minibatch", ["advantage_scope", "set advantage_norm"]),
        ("algo=ppo advantage_norm=standard", ["must be one of none, center, scale, full"]),
    ],
)  # fmt: skip
def test_refused(line: str, said: list[str], here: Path) -> None:  # noqa: F811
    answer = pgrun(line)
    assert answer.code == 2
    assert [text for text in said if text not in answer.err] == []
    assert not list(here.iterdir())


def test_a_cancelled_baseline_is_said_once(here: Path) -> None:  # noqa: F811
    quick = "trainer.total_steps=200 trainer.eval_episodes=1 trainer.eval_every=null logger.progress=false"
    answer = pgrun(f"algo=reinforce variance=mean_baseline advantage_norm=full {quick}")
    assert answer.code == 0
    assert answer.err.count("become the same estimator") == 1
    assert "become the same estimator" not in pgrun(f"algo=reinforce variance=mean_baseline {quick}").err


def test_a_replayed_field_of_ones_own_follows_the_rows() -> None:
    """``extra``: what an algorithm adds to a rollout is cut, flattened and shuffled with the rest."""
    run = built("algo=ppo", "tuned=none")
    rollout, _ = run.sampler.collect(run.policy, run.envs, run.noise, run.scale)
    rollout = replace(rollout, extra={"twice": 2 * rollout.reward})
    batch = run.estimator.batch(rollout, run.learner.critic.values(rollout), run.learner.critic, run.policy)
    order = torch.randperm(len(batch.mask), generator=torch.Generator().manual_seed(0))
    assert torch.equal(batch.rows(order).extra["twice"], 2 * rollout.reward.flatten()[order])
    kept = rollout.columns(torch.tensor([1, 0]))
    assert torch.equal(kept.extra["twice"], 2 * rollout.reward[:, [1, 0]])
