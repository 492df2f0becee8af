"""Weights & Biases: online, or with ``WANDB_MODE=offline`` a folder below the run's, for ``wandb sync``."""

from __future__ import annotations

import os
from collections.abc import Mapping

import wandb

from pgrun.storage.trackers.base import TrackedRun, make_run_id

STEPS = "env_steps"  # the x axis: W&B's own step may not go back, which a resumed run does


class WandbRun:
    """A run of W&B's with the same scalars over environment steps, and the settings as its config."""

    def __init__(self, told: TrackedRun):
        self.run_id = told.known_as or make_run_id()
        self.run = wandb.init(
            project=told.project,
            name=told.folder.name,
            group=told.folder.parent.name,  # a sweep's, or the day
            dir=os.fspath(told.folder),
            id=self.run_id,
            resume="allow",
            config=dict(told.settings),
            save_code=False,
            settings=wandb.Settings(silent=True, console="off"),
        )
        self.run.define_metric(STEPS, hidden=True)
        self.run.define_metric("*", step_metric=STEPS)

    def add_row(self, env_steps: int, scalars: Mapping[str, float]) -> None:
        self.run.log({STEPS: env_steps, **scalars})

    def close(self, ok: bool) -> None:
        self.run.finish(exit_code=0 if ok else 1)
