"""Films during training: what the policy does at the start of an evaluation, every so many steps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from pgrun.config.random_streams import (
    SHARED_IN_EVALUATION,
    isolating_global_generators,
    spawn_child_sequence,
)
from pgrun.config.schema import construct_from_settings
from pgrun.envs import EnvSettings
from pgrun.envs.film import Camera, make_filmed_column
from pgrun.policies.families import connect_actions
from pgrun.rollouts.samplers.episodes import Evaluation

if TYPE_CHECKING:
    from pgrun.training.build import Run
    from pgrun.training.counters import Counters

FOLDER = "films"  # in the run's folder


def film_if_due(run: Run, counters: Counters, folder: Path) -> None:
    """With ``trainer.film_every``: a film of an evaluation episode, before training, every so many steps, and
    at the end.

    Nothing of it is learned from, and no random number of the run's is drawn. Raises ``InvalidCommand`` where
    the environment cannot be drawn, which is before training.
    """
    every, over = run.trainer.film_every, counters.env_steps >= run.trainer.total_steps
    if every is None or not (over or counters.env_steps >= counters.next_film):
        return
    counters.next_film = (counters.env_steps // every + 1) * every
    with isolating_global_generators(spawn_child_sequence(run.top.seed, SHARED_IN_EVALUATION)):
        film_episode(run, folder / FOLDER, f"step-{counters.env_steps:09d}")


def film_episode(run: Run, folder: Path, name: str) -> None:
    """An episode of the deterministic policy, from the seed of the first evaluation episode. It is that one,
    but for environments whose columns share one random stream (CartPole-v1, tables).
    """
    camera = Camera("rgb_array", folder, shown=tqdm(disable=True))
    env = construct_from_settings(EnvSettings, run.settings["env"])
    column = make_filmed_column(env, camera)
    try:
        run.policy.normaliser.widen_observations(column)
        connect_actions(run.policy.dist, column)
        with camera.episode(name):
            Evaluation.of(1, run.trainer.eval_max_steps).look(run.policy, column, run.eval_seeds[:1])
    finally:
        column.close()
