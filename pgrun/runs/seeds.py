"""``seeds=[0,1,2]``: a job that is the same run with each of these seeds, each in a
folder of its own below the job's.

Such a run is the one that ``seed=…`` alone would be, bit for bit. The job's value is the mean over seeds of
the final evaluations' mean returns.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from pgrun.command.app import App
from pgrun.errors import UserFacingError
from pgrun.runs.job_status import TO_GO_ON_WITH

Run = dict[str, Any]  # how one seed ended: seed, status, return_mean or error
Verdict = Callable[[Sequence[Run]], str | None]  # why the seeds that are left are not worth their time
ENDED = ("finished", "failed", "killed")  # the other seeds are run all the same


class SeedFailed(UserFacingError):
    """A seed of several has no result; the others were run all the same."""


def settings_with_seed(cfg: DictConfig, seed: int) -> dict[str, Any]:
    """The settings of one run; what refers to ``${seed}`` has it too."""
    from pgrun.command.compose import to_plain_settings

    own = cfg.copy()
    OmegaConf.set_readonly(own, False)
    with open_dict(own):
        own["seed"], own["seeds"] = seed, None
    return to_plain_settings(own)


def run_each_seed(
    cfg: DictConfig,
    settings: Mapping[str, Any],
    folder: Path,
    app: App,
    one: Callable[[Mapping[str, Any], Path], float],
    verdict: Verdict,
) -> float:
    """``one`` run for each seed, and the job's summary. The mean; NaN where a seed has no result."""
    from pgrun.runs.job_status import read_result
    from pgrun.terminal.signals import Stopped

    runs: list[Run] = []
    reason = None
    for seed in settings["seeds"]:
        below = folder / str(seed)
        below.mkdir(exist_ok=True)
        try:
            one(settings_with_seed(cfg, seed), below)
        except Stopped as stop:
            stop.hint = resume_seeds_hint(folder)
            raise
        runs.append(seed_record(seed, read_result(below, app)))
        reason = verdict(runs) if len(runs) < len(settings["seeds"]) else None
        if reason or runs[-1]["status"] not in ENDED:
            break
    return conclude_seeds(settings, runs, folder, app, reason)


def conclude_seeds(
    settings: Mapping[str, Any], runs: Sequence[Run], folder: Path, app: App, reason: str | None = None
) -> float:
    """Write the summary over seeds. The mean over them, which is printed; NaN where one has no result."""
    from pgrun.atomic_files import write_json
    from pgrun.terminal.printing import say

    summary = summarise_seeds(settings, runs, reason)
    write_json(folder / app.result, summary)
    if summary["status"] in ("finished", "pruned"):
        say(format_seeds_mean(summary))
        mean: float = summary["eval"]["return_mean"]
        return mean
    return math.nan


def resume_seeds_hint(folder: Path) -> str:
    """What to type after all seeds were stopped."""
    from pgrun.command.overrides import shell_word
    from pgrun.terminal.printing import shorten_folder

    word = shell_word("hydra.run.dir", shorten_folder(folder))
    return f"saved in {shorten_folder(folder)}; to go on: the same command with resume=auto {word}"


def seed_record(seed: int, summary: Mapping[str, Any]) -> Run:
    if summary["status"] == "finished":
        return {"seed": seed, "status": "finished", "return_mean": summary["eval"]["return_mean"]}
    return {"seed": seed, "status": summary["status"], "error": summary.get("error")}


def summarise_seeds(settings: Mapping[str, Any], runs: Sequence[Run], reason: str | None) -> dict[str, Any]:
    """``reason``: why the other seeds were left out; a seed without a result decides how the job ended, first
    of all one that ``resume=auto`` goes on with: it passes over a job that failed.
    """
    names = {key: settings[key]["name"] for key in ("algo", "variance")}
    summary = {**names, "env": settings["env"]["id"], "seeds": list(settings["seeds"]), "runs": list(runs)}
    lost = [run for run in runs if run["status"] != "finished"]
    for run in sorted(lost, key=lambda run: run["status"] not in TO_GO_ON_WITH):
        return {"status": run["status"], **summary, "error": f"seed {run['seed']}: {run['error']}"}
    returns = [run["return_mean"] for run in runs]
    spread = statistics.stdev(returns) if len(returns) > 1 else None
    over = {"return_mean": statistics.fmean(returns), "return_std": spread, "seeds": len(returns)}
    if reason:
        return {"status": "pruned", **summary, "eval": over, "error": reason}
    return {"status": "finished", **summary, "eval": over}


def format_seeds_mean(summary: Mapping[str, Any]) -> str:
    """``mean over seeds 0, 1, 2: 231.0 ± 12.1``."""
    over, seeds = summary["eval"], ", ".join(str(run["seed"]) for run in summary["runs"])
    spread = "" if over["return_std"] is None else f" ± {over['return_std']:.1f}"
    return f"\nmean over seed{'s' * (over['seeds'] > 1)} {seeds}: {over['return_mean']:.1f}{spread}"
