"""Programs traced from torch functions: the same weights, and refusal of what no program of rows can say."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("numba")

from pgrun.algorithms.base import Algorithm
from pgrun.algorithms.off_policy_pg import OffPolicyPg
from pgrun.algorithms.ppo import Ppo
from pgrun.compiled.tape import NotByRow
from pgrun.compiled.tracing import TracedWeight, trace_gradient_weight
from pgrun.kernels.row_programs import BLOCK, run_program
from pgrun.types import Batch

ROWS = 600  # more than two blocks
ALGORITHMS = sorted(path.stem for path in (Path(__file__).parents[2] / "conf" / "algo").glob("*.yaml"))


def batch_of(rows: int = ROWS, **changes: Any) -> Batch:
    g = torch.Generator().manual_seed(3)
    psi, mask = torch.randn(rows, generator=g), (torch.rand(rows, generator=g) > 0.2).float()
    old = torch.randn(rows, generator=g) * 0.3 - 0.7
    empty = torch.zeros(rows, 1)
    batch = Batch(
        obs=empty, action=empty, log_prob=old, params=empty, psi=psi * mask, mask=mask,
        value=psi - 1, target=psi + 1, count=7.0, shape=(rows // 5, 5),
    )  # fmt: skip
    return replace(batch, **changes)


def weights(traced: TracedWeight, algorithm: Algorithm, log_prob: torch.Tensor, batch: Batch) -> torch.Tensor:
    """By the program, of the rows in another order."""
    order = np.random.default_rng(0).permutation(len(log_prob))
    table = np.zeros((len(traced.columns), len(log_prob)), np.float32)
    for k, name in enumerate(traced.columns):
        own = name.removeprefix("extra.")
        if name != "raw_psi":
            table[k] = (batch.extra[own] if name != own else getattr(batch, name)).numpy()
    scalars = np.zeros(len(traced.scalars), np.float32)
    traced.fill_scalars(algorithm, scalars)
    scalars[0] = batch.count
    out, registers = np.zeros(len(log_prob), np.float32), np.zeros((traced.registers, BLOCK), np.float32)
    run_program(traced.program, scalars, table, order, log_prob.numpy()[order], registers, out)
    result = np.zeros_like(out)
    result[order] = out
    return torch.from_numpy(result)


def algorithm(name: str) -> Algorithm:
    module = importlib.import_module(f"pgrun.algorithms.{name}")
    return getattr(module, "".join(part.capitalize() for part in name.split("_")))()


def check(algo: Algorithm, batch: Batch | None = None, bound: float = 1e-6) -> TracedWeight:
    batch = batch or batch_of()
    log_prob = batch.log_prob + 0.4 * torch.randn(ROWS, generator=torch.Generator().manual_seed(5))
    traced = trace_gradient_weight(algo, batch.extra)
    expected = algo.gradient_weight(log_prob, batch)
    assert expected.abs().max() > 0
    ours = weights(traced, algo, log_prob, batch)
    torch.testing.assert_close(ours, expected, rtol=bound, atol=bound)
    return traced


@pytest.mark.parametrize("name", [name for name in ALGORITHMS if name != "off_policy_pg"])
def test_every_algorithm_of_rows(name: str) -> None:
    check(algorithm(name))


@pytest.mark.parametrize("truncate", [None, 0.9])
def test_importance_weights_by_step(truncate: float | None) -> None:
    check(OffPolicyPg(weights="per_step", truncate=truncate))


@pytest.mark.parametrize("weights", ["trajectory", "per_decision", "past_only", "state_ratio"])
def test_importance_weights_that_mix_rows_are_refused(weights: Any) -> None:
    with pytest.raises(NotByRow):
        trace_gradient_weight(OffPolicyPg(weights=weights), {})


def test_the_surrogate_by_itself() -> None:
    """Automatic differentiation traced: PPO without its closed form."""

    class Pure(Ppo):
        gradient_weight = Algorithm.gradient_weight

    check(Pure())


def test_numbers_that_change_are_arguments() -> None:
    """ε falls during a run; the program traced at the start goes on being right."""
    algo, batch = Ppo(clip=0.2), batch_of()
    traced = trace_gradient_weight(algo, {})
    log_prob = batch.log_prob + 0.4 * torch.randn(ROWS, generator=torch.Generator().manual_seed(5))
    before = weights(traced, algo, log_prob, batch)
    algo.epsilon = 0.05
    after = weights(traced, algo, log_prob, batch)
    torch.testing.assert_close(after, algo.gradient_weight(log_prob, batch))
    assert (before - after).abs().max() > 0.01


def test_an_infinite_ratio_has_no_gradient_where_the_clip_is_active() -> None:
    """ρ = ∞ with Ψ > 0: 0 and not 0·∞; with Ψ < 0 it is −∞, in torch as here."""
    batch = batch_of(psi=torch.ones(ROWS), mask=torch.ones(ROWS))
    log_prob = batch.log_prob + 200.0
    traced = trace_gradient_weight(Ppo(), {})
    assert not weights(traced, Ppo(), log_prob, batch).any()
    down = replace(batch, psi=-batch.psi)
    assert torch.equal(weights(traced, Ppo(), log_prob, down), torch.full((ROWS,), -torch.inf))
    masked = replace(down, mask=torch.zeros(ROWS), psi=torch.zeros(ROWS))
    assert not weights(traced, Ppo(), log_prob, masked).any()


def test_nan_goes_through() -> None:
    batch = batch_of()
    log_prob = torch.full((ROWS,), torch.nan)
    ours = weights(trace_gradient_weight(Ppo(), {}), Ppo(), log_prob, batch)
    assert torch.equal(ours.isnan(), Ppo().gradient_weight(log_prob, batch).isnan())
    assert ours.isnan().any()


@dataclass
class Own(Algorithm):
    """A user's, with much of what a surrogate may be written with."""

    power: int = 2
    floor: float = 0.3
    mode: str = "soft"

    def surrogate(self, log_prob: torch.Tensor, batch: Batch) -> torch.Tensor:
        ratio = (log_prob - batch.log_prob).clamp(min=-1).exp()
        near = torch.where((ratio > 1 + self.floor) & ~(batch.psi < 0), ratio.sqrt(), ratio.tanh() + ratio**2)
        pull = (ratio - 1).abs() * 3 / self.power + torch.sigmoid(ratio) * batch.extra["trust"]
        if self.mode == "soft":
            pull = pull + (1 / ratio).reciprocal().detach() * ratio.log1p()
        near = near.clamp(min=self.floor).minimum(batch.value.abs() + 1).maximum(torch.full_like(near, 0.1))
        return (batch.mask * (near * batch.psi - 0.1 * pull.expm1())).sum() / batch.count


def test_an_algorithm_of_the_users_own() -> None:
    batch = batch_of(extra={"trust": torch.linspace(0, 1, ROWS)})
    traced = check(Own(), batch, 1e-5)
    assert traced.choices == {"mode": "soft"}
    assert not traced.fits(Own(mode="hard"))
    assert "extra.trust" in str(traced)


@dataclass
class Reads(Algorithm):
    """One thing that no program can say."""

    what: str = field(init=False, default="")
    held: Any = field(init=False, default=None)

    def surrogate(self, log_prob: torch.Tensor, batch: Batch) -> torch.Tensor:
        return (READS[type(self).__name__](self, log_prob, batch) * log_prob * batch.mask).sum() / batch.count


def write(algo: Any) -> float:
    algo.count_of_calls = 1
    return 1.0


READS = {
    "Mean": lambda s, lp, b: b.psi - b.psi.mean(),
    "Size": lambda s, lp, b: b.psi / len(lp),
    "Table": lambda s, lp, b: torch.arange(len(lp)) * b.psi,
    "Reversed": lambda s, lp, b: b.psi.flip(0),
    "Draws": lambda s, lp, b: torch.rand_like(lp),
    "Observations": lambda s, lp, b: b.obs[:, 0],
    "Branch": lambda s, lp, b: b.psi if lp.max() > 0 else -b.psi,
    "Double": lambda s, lp, b: (b.psi.double() * 2).float(),
    "Holds": lambda s, lp, b: s.state * b.psi,
    "Writes": lambda s, lp, b: write(s) * b.psi,
    "Transposed": lambda s, lp, b: b.psi.view(b.shape).T.reshape(-1),
    "Outside": lambda s, lp, b: OUTSIDE * b.psi,
    "Fails": lambda s, lp, b: b.psi / {}["nothing"],
}
OUTSIDE = torch.tensor(2.0)


@pytest.mark.parametrize("name", READS)
def test_what_is_refused(name: str) -> None:
    state = torch.get_rng_state()
    algo = type(name, (Reads,), {})()
    algo.state = {"β": 1.0} if name == "Holds" else None
    with pytest.raises(NotByRow):
        trace_gradient_weight(algo, {})
    assert torch.equal(torch.get_rng_state(), state)
    assert not hasattr(algo, "count_of_calls")
