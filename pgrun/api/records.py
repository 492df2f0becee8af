"""What a run or a study has left in its folder, as a record."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pgrun.command.app import PGRUN
from pgrun.errors import InvalidCommand

if TYPE_CHECKING:
    from pgrun.api.play import PlayResult
    from pgrun.api.policy import ActingPolicy

Row = dict[str, float | None]


@dataclass(frozen=True)
class OwnCode:
    """What a run's folder may name, and only its user may load: their environment's
    module, and their modules.
    """

    env: str | None = None
    modules: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunResult:
    """A finished run.

    ``metrics`` are the rows of metrics.csv, what was not measured is None: ``pandas.DataFrame(run.metrics)``.
    """

    folder: Path
    summary: dict[str, Any]  # of summary.json
    settings: dict[str, Any] = field(repr=False)  # of job.json: every setting, nested
    metrics: list[Row] = field(repr=False)
    which_policy: str = field(default="final", repr=False)
    own_code: OwnCode = field(default_factory=OwnCode, repr=False)

    @cached_property
    def policy(self) -> ActingPolicy:
        """Loaded from the folder when it is first asked for. Raises ``InvalidCommand``."""
        from pgrun.api.policy import load_policy
        from pgrun.storage import saved_policy
        from pgrun.training.identity import find_code_to_name_again

        saved = saved_policy.load_saved_policy(str(self.folder), self.which_policy)
        own = self.own_code
        named = {key: value for key, value in vars(own).items() if value}
        missing = " and ".join(find_code_to_name_again(saved.config, named))
        if missing:
            raise InvalidCommand(
                self.folder, None, "runs code of yours, which has to be named again", f"add {missing}"
            )
        return load_policy(saved, own.env, own.modules)

    def play(
        self,
        *,
        episodes: int | None = None,
        seed: int | None = None,
        stochastic: bool = False,
        max_steps: int | None = None,
        video: str | os.PathLike[str] | None = None,
    ) -> PlayResult:
        """Play episodes as ``pgrun-play`` does: those of the final evaluation, unless told otherwise.

        seed: of other episodes. stochastic: actions are sampled. max_steps: an episode is cut there. video: a
        folder for a film of each episode. Raises ``InvalidCommand``.
        """
        from pgrun.api.play import play_saved_run

        own = self.own_code
        numbers = {"--episodes": episodes, "--seed": seed, "--max-steps": max_steps, "--env": own.env}
        words = [str(self.folder), "--policy", self.which_policy, *["--stochastic"] * stochastic]
        words += [f"{flag}={value}" for flag, value in numbers.items() if value is not None]
        words += [f"--modules={name}" for name in own.modules]
        return play_saved_run(words + ([] if video is None else [f"--video={os.fspath(video)}"]))


@dataclass(frozen=True)
class StudyResult:
    """A finished study.

    ``rows``: one a scheme, with its variance, bias and cost: ``pandas.DataFrame(study.rows)``.
    """

    folder: Path
    result: dict[str, Any] = field(repr=False)  # of study.json

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [{"scheme": label, **entry} for label, entry in self.result["schemes"].items()]


def load(
    folder: str | os.PathLike[str],
    *,
    policy: Literal["final", "best"] = "final",
    env: str | None = None,
    modules: Sequence[str] = (),
) -> RunResult:
    """The finished run in a folder.

    ``policy``: the last one, or the one that did best in an evaluation during training.

    ``"last"`` is the newest below outputs/.

    A run of your own code names it, and only you may load it, which its policy needs: say ``env`` and
    ``modules`` again. Raises ``InvalidCommand``.
    """
    from pgrun.config.paths import POLICY_FILES
    from pgrun.runs.job_status import SETTINGS, read_json_object, read_result
    from pgrun.storage.newest_run import replace_last

    if policy not in tuple(POLICY_FILES):
        raise InvalidCommand("policy", policy, f"must be {' or '.join(POLICY_FILES)}")
    place = Path(replace_last(read_path(folder), "pgrun.load")).expanduser().resolve()
    if not place.is_dir():
        raise InvalidCommand(folder, None, "no such folder")
    summary = read_result(place, PGRUN)
    if summary["status"] != "finished" or "runs" in summary:
        raise InvalidCommand(folder, None, explain_not_one_run(place, summary))
    summary.pop("settings", None)  # what reading adds to every file, for those that have them
    settings = read_json_object(place / SETTINGS)["settings"]
    metrics = read_rows(place / "metrics.csv")
    return RunResult(place, summary, settings, metrics, policy, OwnCode(env, tuple(modules)))


def read_path(folder: object) -> str:
    """A folder as text. Raises ``InvalidCommand`` where it is no path, but a list of them for example."""
    if not isinstance(folder, str | os.PathLike):
        raise InvalidCommand("folder", folder, "must be a path", "call it once for each of several")
    return str(os.fspath(folder))


def load_runs(
    folder: str | os.PathLike[str], *, env: str | None = None, modules: Sequence[str] = ()
) -> list[RunResult]:
    """Every finished run in a sweep's folder, or below any other, in the order of their folders.

    One that did not finish is left out with a warning that says why. Raises ``InvalidCommand``
    where there is none at all.
    """
    from pgrun.analysis.compare.read_runs import Found, expand_glob, find_run_folders
    from pgrun.terminal.exit_codes import refuse_gone_folder

    top = read_path(folder)
    refuse_gone_folder(top)
    runs = list[RunResult]()
    for one in expand_glob(top):
        for place in find_run_folders(one, Found()):
            try:
                runs.append(load(place, env=env, modules=modules))
            except InvalidCommand as error:
                warnings.warn(f"left out: {error}", stacklevel=2)
    if not runs:
        raise InvalidCommand(
            folder, None, "no finished run in it or below; sweeps lie in outputs/multirun/<date>/<sweep>"
        )
    return runs


def explain_not_one_run(place: Path, summary: Mapping[str, Any]) -> str:
    if "runs" in summary:
        seeds = ", ".join(str(run["seed"]) for run in summary["runs"])
        return f"holds a run for each of the seeds {seeds}: pgrun.load_runs(folder) reads them all"
    if summary["status"] != "not run":
        return f"holds no finished run: {summary['status']}: {summary['error']}"
    if any(place.glob("*/summary.json")):
        return "holds no run of its own; pgrun.load_runs(folder) reads those below it"
    return f"holds no run: there is no {PGRUN.result} in it"


def read_rows(path: Path) -> list[Row]:
    """The rows of a metrics.csv, whose cells are floats or None."""
    from pgrun.analysis.compare.metrics import read_metrics

    metrics = read_metrics(path, read_metrics(path, ()).tags)
    columns = {"env_steps": metrics.steps, **metrics.columns}
    cells = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, map(none_if_blank, row), strict=True)) for row in cells]


def none_if_blank(cell: float) -> float | None:
    return None if math.isnan(cell) else cell


def read_study(folder: Path) -> StudyResult:
    """The result of a study that has just finished, from its folder."""
    from pgrun.atomic_files import read_json
    from pgrun.tools.study.cli import STUDY

    return StudyResult(folder, read_json(folder / STUDY.result))
