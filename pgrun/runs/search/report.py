"""The end of a search: every trial, best first, and what to type for the best."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgrun.command.folder_names import find_job_folders
from pgrun.command.overrides import CliOverride, Command
from pgrun.command.search_settings import FILE
from pgrun.errors import escape_line
from pgrun.runs import sweep
from pgrun.runs.job_status import read_json_object, read_result
from pgrun.terminal.printing import Tone, say, shorten_folder

if TYPE_CHECKING:
    from pgrun.command.compose import Job

FRESH = 5  # seeds for another look at the best
Row = dict[str, Any]  # the summary of a trial, with its number, its parameters and its words


def report_search(command: Command, jobs: Sequence[Job]) -> int:
    """Print and keep how every trial ended; how many have no result for a reason that is not their own."""
    app, folder = command.app, Path(jobs[0].hydra.sweep.dir)
    rows = read_trials(folder, command, int(jobs[0].hydra.sweeper.n_trials))
    ranked = sorted((row for row in rows if "eval" in row), key=rank_trial)
    others = [row for row in rows if row["status"] not in ("finished", "pruned")]
    lost = [row for row in others if row["status"] != "failed"]
    say("\n" + (format_trial_table(ranked, len(rows)) if ranked else "no trial of this command finished"))
    if ranked and ranked[0]["status"] == "finished":
        say("\n" + format_best_trial(ranked[0], command, bool(jobs[0].hydra.sweeper.storage)))
    say("\n" + app.hint.format(shlex.quote(shorten_folder(folder))))
    if ranked:
        sweep.write_sweep_page(folder, [row["folder"] for row in ranked], app)
    for line in sweep.describe_outcomes(others):
        say(f"{app.name}: {line.replace('job', 'trial', 1)}", error=True, tone=Tone.ERROR)
    if lost:
        told = f"{len(lost)} of {len(rows)} trials did not finish: {sweep.advise_on_lost_jobs(lost, folder)}"
        say(f"{app.name}: {told}", error=True, tone=Tone.ERROR)
    sweep.write_sweep_summary(folder, rows, app)
    return len(lost) or int(bool(rows) and not ranked)


def read_trials(folder: Path, command: Command, wanted: int) -> list[Row]:
    """A row for each trial that was proposed, and for those that were not."""
    search = read_json_object(folder / FILE)
    proposed = search.get("trials", [])
    folders = find_job_folders(folder)
    rows: list[Row] = []
    shared = "study" in search.get("sweeper", {})
    for number in range(len(proposed) if shared else max(wanted, len(proposed))):
        values = proposed[number] if number < len(proposed) else {}
        if values is None:  # another command's
            continue
        words = [CliOverride(f"{key}={value}", key, value) for key, value in values.items()]
        at = folders.get(number, folder / str(number))
        result = read_result(at, command.app)
        rows.append({**result, "number": number, "values": values, "words": words, "folder": at})
    return rows


def rank_trial(row: Row) -> tuple[bool, float]:
    """Pruned ones last: their mean is over fewer seeds."""
    return row["status"] != "finished", -row["eval"]["return_mean"]


def format_trial_table(rows: Sequence[Row], of: int) -> str:
    from pgrun.analysis.compare.table import choose_decimals, format_mean_and_std
    from pgrun.presentation.tables import align_columns

    digits = choose_decimals([row["eval"]["return_mean"] for row in rows])
    keys = list(rows[0]["values"])
    cells = [["trial", "mean ± std", "seeds", *(key.lstrip("+") for key in keys), ""]]
    for row in rows:
        mean = format_mean_and_std(row["eval"]["return_mean"], deviation_over_seeds(row), digits)
        pruned = "pruned" if row["status"] == "pruned" else ""
        seeds = ",".join(str(run["seed"]) for run in seed_summaries(row))
        cells.append(
            [
                str(row["number"]),
                mean,
                seeds,
                *(format_trial_value(row["values"][key]) for key in keys),
                pruned,
            ]
        )
    done = sum(row["status"] == "finished" for row in rows)
    return "\n".join(
        [f"{done} of {of} trials finished; final evaluations, over seeds", *align_columns(cells)]
    )


def seed_summaries(row: Row) -> list[Mapping[str, Any]]:
    """The summaries of each seed; of the one that a trial without ``seeds`` has."""
    return row.get("runs") or [row]


def deviation_over_seeds(row: Row) -> float:
    given = row["eval"]["return_std"] if "runs" in row else None  # one run's own is over its episodes
    return float("nan") if given is None else given


def format_trial_value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def format_best_trial(row: Row, command: Command, shared: bool) -> str:
    """Words that can be pasted: the same trial, on seeds that did not choose it. ``shared``: other commands
    have trials of the study too.
    """
    used = [int(run["seed"]) for run in seed_summaries(row)]
    fresh = f"seeds=[{','.join(str(max(used) + 1 + n) for n in range(FRESH))}]"
    kept = {word.key: word.shown for word in command.words if not word.key.startswith("hydra.")}
    kept |= {word.key.lstrip("+").replace("/", "."): word.shown for word in row["words"]}
    kept = {key: text for key, text in kept.items() if key not in ("seed", "seeds")}
    options = ["--config-dir", command.flags.config_dir] if command.flags.config_dir else []
    line = shlex.join([command.app.name, *options, *kept.values(), fresh])
    which = "best of this command's trials" if shared else "best"
    return (
        f"{which}: trial {row['number']}, {format_trial_result(row)}. As the best of several it is lucky "
        f"too; on other seeds:\n  {line}"
    )


def format_trial_result(summary: Mapping[str, Any]) -> str:
    """``231.0 ± 12.1 over 3 seeds``; ``failed: …``."""
    from pgrun.analysis.compare.table import choose_decimals, format_mean_and_std

    if summary["status"] != "finished":
        return escape_line(f"{summary['status']}: {summary['error']}")
    mean, count = summary["eval"]["return_mean"], len(seed_summaries(dict(summary)))
    return (
        f"{format_mean_and_std(mean, deviation_over_seeds(dict(summary)), choose_decimals([mean]))} over "
        f"{count} seed{'s' * (count > 1)}"
    )
