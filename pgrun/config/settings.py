"""Settings that belong to no method: the run's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pgrun.config.schema import NonNegativeInt, Positive, PositiveInt, Probability, Range

Threads = Annotated[int, Range(1, 1024)]
AdvantageNorm = Literal["none", "center", "scale", "full"]  # see ``normalise_advantages``
CENTERING, SCALING = ("center", "full"), ("scale", "full")


def spell_advantage_norm(value: object) -> object:
    """The name that ``true`` and ``false`` stand for; anything else as it is."""
    return {True: "full", False: "none"}[value] if isinstance(value, bool) else value


def flatten_settings(settings: Mapping[str, Any], prefix: str = "") -> dict[str, bool | int | float | str]:
    """Nested settings as ``group.key``; what is no number or bool becomes its text."""
    flat: dict[str, bool | int | float | str] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= flatten_settings(value, f"{prefix}{key}.")
        elif isinstance(value, bool | int | float | str):
            flat[f"{prefix}{key}"] = value
        else:
            flat[f"{prefix}{key}"] = json.dumps(value)
    return flat


@dataclass(frozen=True)
class RunSettings:
    """Top-level keys of the configuration."""

    seed: NonNegativeInt = 0  # of everything that is drawn
    seeds: tuple[NonNegativeInt, ...] | None = None
    gamma: Probability = 0.99  # γ, the discount
    device: Literal["cpu", "cuda", "auto"] = "cpu"  # of the networks; auto: cuda where there is one
    threads: Threads = 1  # of torch and of NumPy; other numbers give other sums
    cores: Threads | Literal["auto"] = "auto"  # used at a time, at most; results are the same on any number
    backend: Literal["auto", "torch", "compiled"] = "auto"
    advantage_norm: AdvantageNorm = "none"
    advantage_scope: Literal["batch", "minibatch"] = "batch"
    state_norm: bool = False
    reward_scaling: bool = False
    modules: tuple[str, ...] = ()
    tuned: str | None = None
    ablate: str | None = None


@dataclass(frozen=True)
class Trainer:
    total_steps: PositiveInt = 100_000  # environment steps
    eval_every: PositiveInt | Literal["auto"] | None = "auto"  # environment steps; null: only at the end
    eval_episodes: PositiveInt = 20  # of the final evaluation; those under way have five
    eval_max_steps: PositiveInt | None = None  # cut the episodes of evaluations there
    stop_at_return: float | None = None  # of an evaluation
    film_every: PositiveInt | None = None  # environment steps between films of an episode; null: none
    checkpoint_every: PositiveInt | None = None  # environment steps; null: as often as 2 % of the time allows
    stack_seeds: bool = False  # the runs of ``seeds`` side by side in one tensor program


@dataclass(frozen=True)
class Diagnostics:
    """``gradient_every``: updates between readings of the gradient's variance; 0
    never; null: 60 readings a run.

    ``detail``: with each reading the variance by group of parameters, the noise scale, the cosine of two half
    batches, and what the local models of the step predicted. ``exact``: on tabular problems J of the new
    policy and the critic's error, with each row.
    """

    gradient_every: NonNegativeInt | None = None
    detail: bool = False
    exact: bool = False


@dataclass(frozen=True)
class Reference:
    """A policy that training is kept near, and what leaving it costs."""

    policy: str | None = None
    beta: Positive = 0.1
    place: Literal["reward", "loss", "both"] = "reward"
    estimator: Literal["exact", "k1", "k2", "k3"] = "k1"


@dataclass(frozen=True)
class Logger:
    every: PositiveInt | None = None  # updates between rows; null: at most 500 rows in a run
    progress: bool = True  # a bar on a terminal, lines elsewhere
    also: tuple[
        Literal["wandb", "mlflow", "trackio"], ...
    ] = ()  # trackers of the same scalars, as [wandb,mlflow]
    project: str = "pgrun"  # of the trackers: W&B's and trackio's project, MLflow's experiment
