"""The meter's details against the definitions, written out from the units' own gradients."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from pgrun.diagnostics.gradient_detail import detail_scalars, halves_cosine
from pgrun.diagnostics.gradient_variance import Measurement, jackknife
from pgrun.policies.mlp import Mlp
from tests.helpers.support_pipeline import draw, trained

NET = Mlp([2, 3, 2], free=1)  # 9 + 8 + 1 parameters
ROWS = torch.tensor(40.0)


def reading(units: torch.Tensor) -> Measurement:
    without = (units.sum(0) - units) / (len(units) - 1)
    return Measurement(units.mean(0), *jackknife(without), without)


def test_groups_are_slices_and_add_up() -> None:
    units = torch.randn(10, NET.size, dtype=torch.float64, generator=draw(1)) * torch.arange(1, 19)
    scalars = detail_scalars(reading(units), ROWS, NET)
    of_mean = units.var(0) / len(units)  # of the mean of independent units, parameter by parameter
    assert torch.isclose(scalars["gradient/variance/layer_1"], of_mean[:9].sum())
    assert torch.isclose(scalars["gradient/variance/layer_2"], of_mean[9:17].sum())
    assert torch.isclose(scalars["gradient/variance/log_std"], of_mean[17])


def test_the_halves_are_the_means_of_every_other_unit() -> None:
    units = torch.randn(7, 5, dtype=torch.float64, generator=draw(2))
    a, b = units[0::2].mean(0), units[1::2].mean(0)
    assert torch.isclose(halves_cosine(reading(units).without), a @ b / (a.norm() * b.norm()))


def test_the_noise_scale_is_that_of_the_rows() -> None:
    """20 000 units of one row with variance 18·4 around ‖G‖² = 18: B_simple = 4 rows,
    within 4 standard errors (0.1).
    """
    units = 1 + 2 * torch.randn(20_000, NET.size, dtype=torch.float64, generator=draw(3))
    scalars = detail_scalars(reading(units), torch.tensor(20_000.0), NET)
    assert abs(scalars["gradient/noise_scale"] - 4) < 0.1
    nothing = detail_scalars(reading(units - units.mean(0)), ROWS, NET)
    assert nothing["gradient/noise_scale"].numel() == 0  # no signal: blank


def test_in_a_run_they_are_columns_and_add_up(tmp_path: Path) -> None:
    words = ["algo=ppo", "env=Pendulum-v1", "trainer.total_steps=256", "env.num_envs=4", "sampler.steps=32"]
    trained(tmp_path, *words, "diagnostics.detail=true", "diagnostics.gradient_every=1")
    for row in csv.DictReader((tmp_path / "metrics.csv").open()):
        parts = [float(x) for tag, x in row.items() if tag.startswith("gradient/variance/")]
        assert len(parts) == 4  # three layers and log σ
        whole = float(row["gradient/variance"])
        assert abs(sum(parts) - whole) < 1e-4 * whole  # float32


def test_a_state_with_a_row_for_each_action_counts_once(tmp_path: Path) -> None:
    words = ["algo=off_policy_ac", "algo.baseline=expectation", "env=CartPole-v1", "sampler.batch=16"]
    short = ["sampler.warmup=50", "trainer.total_steps=300", "tuned=none"]
    trained(tmp_path, *words, *short, "diagnostics.detail=true", "diagnostics.gradient_every=1")
    rows = [row for row in csv.DictReader((tmp_path / "metrics.csv").open()) if row["gradient/noise_scale"]]
    assert rows
    for row in rows:
        variance, norm = float(row["gradient/variance"]), float(row["gradient/norm"])
        assert float(row["gradient/noise_scale"]) == pytest.approx(
            16 * variance / (norm**2 - variance), rel=1e-3
        )
