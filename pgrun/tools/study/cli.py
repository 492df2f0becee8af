"""The command ``pgrun-study``: read, composed and refused as ``pgrun`` is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from pgrun.cli import main as cli
from pgrun.command.app import App

STUDY = App(
    name="pgrun-study",
    config="study",
    check="pgrun.tools.study.check:problems",
    job="pgrun.tools.study.cli:job",
    work="pgrun.tools.study.cli:study_in",
    value="pgrun.tools.study.cli:value",
    record="pgrun.tools.study.cli:record",
    table="pgrun.tools.study.table:table",
    help="pgrun.tools.study.help:help_text",
    result="study.json",
    files=("study.json", "study.png", "summary.json", "policy.safetensors"),
    options=str(Path(__file__).parent / "conf"),
    hint="look at it: {}",
)


def main() -> None:
    """The console script."""
    cli.main(STUDY)


def job(cfg: DictConfig) -> float:
    """A study; the least variance among its schemes, for any Hydra sweeper to minimise."""
    from pgrun.runs.job import run_job

    return run_job(cfg, STUDY)


def study_in(settings: Mapping[str, Any], folder: Path) -> float:
    from pgrun.atomic_files import write_json
    from pgrun.terminal.printing import Tone, say, shortest
    from pgrun.tools.study.check import drawable
    from pgrun.tools.study.study import run_study
    from pgrun.tools.study.table import describe

    settings = {key: setting for key, setting in settings.items() if key != "usual"}
    result = run_study(settings, lambda text: say(text, error=True, tone=Tone.PLAIN))
    write_json(folder / "study.json", result)
    say(describe(result))
    shown = "study.json"
    if settings["picture"] is not False and drawable():
        from pgrun.tools.study.picture import draw

        draw(result, folder / "study.png")
        shown = "study.json, study.png"
    elif settings["picture"] is None:
        say('\nno picture: pip install -c constraints.txt -e ".[plot]" brings matplotlib')
    say(f"\n  {shown} in {shortest(folder)}")
    return value(result)


def value(result: Mapping[str, Any]) -> float:
    least: float = min(entry["variance"] for entry in result["schemes"].values())
    return least


def record(settings: Mapping[str, Any], folder: Path, status: str, error: str) -> None:
    """A study without a result."""
    from pgrun.runs.outcome import write_record

    write_record(folder / STUDY.result, settings, {"env": "env.id", "seed": "seed"}, status, error)


if __name__ == "__main__":  # python -m
    main()
