"""The Hydra sweeper: trials proposed, checked as any command is, launched, and what came out told."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from pgrun.atomic_files import write_json
from pgrun.command.app import PGRUN
from pgrun.command.folder_names import find_job_folder
from pgrun.command.search_settings import Search
from pgrun.config.schema import construct_from_settings
from pgrun.terminal.printing import say
from pgrun.terminal.signals import read_stop_signal


class Optuna(Sweeper):
    """``hydra/sweeper=optuna``, by way of ``hydra_plugins``.

    The keyword arguments are those of ``Search``.
    """

    config: DictConfig
    hydra_context: HydraContext
    launcher: Launcher

    def __init__(self, **settings: Any):
        self.search: Search = construct_from_settings(Search, settings)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config, self.hydra_context = config, hydra_context
        self.folder = Path(config.hydra.sweep.dir)
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        from pgrun.command import search_space
        from pgrun.runs.search import pruning, record
        from pgrun.runs.search.open_study import open_study

        self.folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, self.folder / "multirun.yaml")
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        params = [f"{key}={value}" for key, value in self.search.params.items()]
        self.space = search_space.read_search_space(parser.parse_overrides([*params, *arguments]))
        first = self.compose(self.space.typed(self.space.corners()[0]), 0).settings
        known = record.load_record(self.folder, record.new_record(self.search, self.space, first), self.space)
        study = open_study(self.search, self.space, known, self.folder)
        begun, launched = time.monotonic(), 0
        while batch := study.ask(self.search.n_jobs):
            trials = {number: self.space.typed(values) for number, values in batch.items()}
            pruning.set_bars(self.folder, study.bars())
            launched += len(self.launch(trials))
            if read_stop_signal(self.folder):
                return
            for number in trials:
                study.tell(number, self.result(number))
                self.progress(number, (time.monotonic() - begun) / launched if launched else None)
        if told := study.describe():
            say(f"\n{told}")

    def compose(self, words: Sequence[str], number: int) -> Any:
        """The job of a trial, as ``compose.compose_one`` makes one of a command."""
        from pgrun.command.compose import Job, to_plain_settings
        from pgrun.command.overrides import CliOverride

        cfg = self.hydra_context.config_loader.load_sweep_config(self.config, list(words))
        with open_dict(cfg.hydra):
            cfg.hydra.job.num, cfg.hydra.job.id = number, str(number)
        choices: Any = OmegaConf.to_container(cfg.hydra.runtime.choices)
        typed = [CliOverride.read(word) for word in words]
        return Job(
            to_plain_settings(cfg), choices, typed, cfg.hydra, self.folder / str(cfg.hydra.sweep.subdir)
        )

    def launch(self, trials: dict[int, list[str]]) -> list[int]:
        """Launch the trials that are not done, and are no combination that the check refuses; which."""
        todo = [n for n, words in trials.items() if not self.over(n) and self.allowed(n, words)]
        for _, run in groupby(enumerate(todo), lambda pair: pair[1] - pair[0]):
            numbers = [number for _, number in run]
            for job in self.launcher.launch([trials[n] for n in numbers], initial_job_idx=numbers[0]):
                _ = job.return_value  # raises what the launcher met with
        return todo

    def over(self, number: int) -> bool:
        return self.result(number)["status"] in ("finished", "pruned", "failed")

    def allowed(self, number: int, words: Sequence[str]) -> bool:
        from pgrun.command.validate import find_problems

        folder = self.folder / str(number)
        try:
            job = self.compose(words, number)
            folder, sentences = job.folder, [one.sentence() for one in find_problems(job)]
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            sentences = [str(error).splitlines()[0]]
        if sentences:
            folder.mkdir(exist_ok=True)
            write_json(folder / PGRUN.result, {"status": "failed", "error": "; ".join(sentences)})
        return not sentences

    def result(self, number: int) -> dict[str, Any]:
        from pgrun.runs.job_status import read_result

        return read_result(find_job_folder(self.folder, number), PGRUN)

    def progress(self, number: int, seconds: float | None) -> None:
        """``seconds`` that a trial of this command took, on average; None before the first."""
        from pgrun.runs.announce import format_duration
        from pgrun.runs.search.report import format_trial_result

        left = sum(not self.over(later) for later in range(number + 1, self.search.n_trials))
        more = f"; about {format_duration(left * seconds)} left" if left and seconds is not None else ""
        say(f"\ntrial {number} of {self.search.n_trials}: {format_trial_result(self.result(number))}{more}")
