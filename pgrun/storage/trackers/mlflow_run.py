"""MLflow: the server, folder or SQLite file that ``MLFLOW_TRACKING_URI`` names, or MLflow's own default."""

from __future__ import annotations

import time
from collections.abc import Mapping

from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pgrun.config.settings import flatten_settings
from pgrun.storage.trackers.base import TrackedRun

MOST = 100  # params that a request may have


class MlflowRun:
    """A run of MLflow's with the same scalars over environment steps, and the settings as its params."""

    def __init__(self, told: TrackedRun):
        self.client = MlflowClient()
        if told.known_as is not None:
            self.run_id = told.known_as
            self.client.update_run(self.run_id, status="RUNNING")
            return
        run = self.client.create_run(self.find_experiment(told.project), run_name=told.folder.name)
        self.run_id = run.info.run_id
        flat = flatten_settings(told.settings)
        params = [Param(key, str(value)) for key, value in flat.items()]
        for first in range(0, len(params), MOST):
            self.client.log_batch(self.run_id, params=params[first : first + MOST])

    def find_experiment(self, name: str) -> str:
        """Made where there is none; two runs that start together may both try."""
        experiment_by_name = self.client.get_experiment_by_name(name)
        if experiment_by_name is None:
            try:
                return str(self.client.create_experiment(name))
            except MlflowException:
                experiment_by_name = self.client.get_experiment_by_name(name)
                if experiment_by_name is None:
                    raise
        return str(experiment_by_name.experiment_id)

    def add_row(self, env_steps: int, scalars: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        metrics = [Metric(tag, float(value), now, env_steps) for tag, value in scalars.items()]
        self.client.log_batch(self.run_id, metrics=metrics)

    def close(self, ok: bool) -> None:
        self.client.set_terminated(self.run_id, "FINISHED" if ok else "KILLED")
