"""The command ``pgrun-study``: read, composed and refused as ``pgrun`` is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from pgrun.cli import main as cli
from pgrun.command.app import App, Entry

STUDY = App(
    name="pgrun-study",
    config="study",
    check=Entry("pgrun.tools.study.check:find_study_problems"),
    job=Entry("pgrun.tools.study.cli:run_study_job"),
    work=Entry("pgrun.tools.study.cli:study_in"),
    value=Entry("pgrun.tools.study.cli:read_study_objective"),
    record=Entry("pgrun.tools.study.cli:record_study_without_result"),
    table=Entry("pgrun.tools.study.table:format_study_table"),
    help=Entry("pgrun.tools.study.help:format_study_help"),
    result="study.json",
    files=("study.json", "study.png", "summary.json", "policy.safetensors"),
    options=str(Path(__file__).parent / "conf"),
    hint="look at it: {}",
)


def main() -> None:
    """The console script."""
    cli.main(STUDY)


def run_study_job(cfg: DictConfig) -> float:
    """A study; the least variance among its schemes, for any Hydra sweeper to minimise."""
    from pgrun.runs.job import run_job

    return run_job(cfg, STUDY)


def study_in(settings: Mapping[str, Any], folder: Path) -> float:
    from pgrun.atomic_files import write_json
    from pgrun.terminal.printing import Tone, say, shorten_folder
    from pgrun.tools.study.study import run_study
    from pgrun.tools.study.table import format_study

    settings = {key: setting for key, setting in settings.items() if key != "usual"}
    result = run_study(settings, lambda text: say(text, error=True, tone=Tone.PLAIN))
    write_json(folder / "study.json", result)
    say(format_study(result))
    shown = "study.json"
    if settings["picture"]:
        from pgrun.tools.study.picture import draw_study

        draw_study(result, folder / "study.png")
        shown = "study.json, study.png"
    say(f"\n  {shown} in {shorten_folder(folder)}")
    return read_study_objective(result)


def read_study_objective(result: Mapping[str, Any]) -> float:
    least: float = min(entry["variance"] for entry in result["schemes"].values())
    return least


def record_study_without_result(settings: Mapping[str, Any], folder: Path, status: str, error: str) -> None:
    """A study without a result."""
    from pgrun.runs.outcome import write_record

    write_record(folder / STUDY.result, settings, {"env": "env.id", "seed": "seed"}, status, error)


if __name__ == "__main__":  # python -m
    main()
