"""The search as Optuna sees it: it proposes a trial from how those before ended."""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from pgrun.command.search_settings import Search
from pgrun.command.search_space import Space, Trial
from pgrun.runs.search.record import Record

optuna.logging.set_verbosity(optuna.logging.WARNING)
SAMPLERS: dict[str, type[BaseSampler]] = {"tpe": TPESampler, "random": RandomSampler}


class Study:
    """Optuna's study, in memory; a trial depends on the seed, its number and what was told before, so that it
    can be proposed again.
    """

    def __init__(self, search: Search, space: Space, record: Record, folder: Path):
        self.search, self.record, self.folder = search, record, folder
        self.parameters = space.parameters
        self.asked: dict[int, optuna.Trial] = {}
        self.study = self.make()

    def make(self) -> optuna.Study:
        return optuna.create_study(direction="maximize")

    def ask(self, most: int) -> dict[int, Trial]:
        """The next trials by their numbers, at most so many; empty at the end."""
        begun = len(self.asked)
        return {n: self.propose(n) for n in range(begun, min(begun + most, self.search.n_trials))}

    def propose(self, number: int) -> Trial:
        """The trial of the record, or else a new one, which is recorded."""
        if known := self.record.trials[number : number + 1]:
            self.study.enqueue_trial(known[0])  # type: ignore[arg-type]
        values = self.fill(self.study.ask())
        if not known:
            self.record.trials.append(values)
            self.record.write(self.folder)
        return values

    def fill(self, trial: optuna.Trial) -> Trial:
        """A value for each parameter."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self.study.sampler = self.sampler(trial.number)
        self.asked[trial.number] = trial
        return {p.key: p.propose(trial) for p in self.parameters}

    def sampler(self, number: int) -> BaseSampler:
        seed = int(np.random.SeedSequence((self.search.seed, number)).generate_state(1)[0])
        return SAMPLERS[self.search.sampler](seed=seed)  # type: ignore[call-arg]

    def tell(self, number: int, summary: Mapping[str, Any]) -> None:
        """How a trial ended.

        One that failed is told as one that was stopped: near it there is nothing to be found.
        """
        trial, status = self.asked[number], summary["status"]
        for count, mean in enumerate(running_means(summary), 1):
            trial.report(mean, count)
        if status == "finished":
            self.study.tell(trial, summary["eval"]["return_mean"])
        else:
            self.study.tell(
                trial, state=TrialState.PRUNED if status in ("pruned", "failed") else TrialState.FAIL
            )

    def bars(self) -> dict[int, float]:
        """{after so many seeds: the median of the finished trials' running means},
        below which a trial is hopeless.
        """
        finished = self.study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
        if self.search.pruner == "none" or len(finished) < self.search.prune_after:
            return {}
        counts = {count for trial in finished for count in trial.intermediate_values}
        return {
            k: statistics.median(trial.intermediate_values[k] for trial in finished) for k in sorted(counts)
        }

    def describe(self) -> str:
        """What is to be said beside the trials of this command: nothing, there are no others."""
        return ""


def running_means(summary: Mapping[str, Any]) -> Sequence[float]:
    """The mean over the first seed, the first two, …"""
    returns = [run["return_mean"] for run in summary.get("runs", []) if run["status"] == "finished"]
    return [total / count for count, total in enumerate(accumulate(returns), 1)]
