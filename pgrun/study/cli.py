"""The command ``pgrun-study``: read, composed and refused as ``pgrun`` is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from pgrun import cli
from pgrun.command.app import App

STUDY = App(
    name="pgrun-study",
    config="study",
    check="pgrun.study.check:problems",
    job="pgrun.study.cli:job",
    work="pgrun.study.cli:study_in",
    value="pgrun.study.cli:value",
    record="pgrun.study.cli:record",
    table="pgrun.study.table:table",
    help="pgrun.study.help:help_text",
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
    from pgrun.jobs.job import guarded

    return guarded(cfg, STUDY)


def study_in(settings: Mapping[str, Any], folder: Path) -> float:
    from pgrun.command.report import say, shortest
    from pgrun.store.whole import write_json
    from pgrun.study.check import drawable
    from pgrun.study.study import conduct
    from pgrun.study.table import describe

    settings = {key: setting for key, setting in settings.items() if key != "usual"}
    result = conduct(settings, lambda text: say(text, error=True))
    write_json(folder / "study.json", result)
    say(describe(result))
    shown = "study.json"
    if settings["picture"] is not False and drawable():
        from pgrun.study.picture import draw

        draw(result, folder / "study.png")
        shown = "study.json, study.png"
    elif settings["picture"] is None:
        say('\nno picture: pip install -c constraints.txt -e ".[plot]" brings matplotlib')
    say(f"\n  {shown} in {shortest(folder)}")
    return value(result)


def value(result: Mapping[str, Any]) -> float:
    return min(entry["variance"] for entry in result["schemes"].values())


def record(settings: Mapping[str, Any], folder: Path, status: str, error: str) -> None:
    """A study without a result."""
    from pgrun.jobs.job import write_record

    write_record(folder / STUDY.result, settings, {"env": "env.id", "seed": "seed"}, status, error)


if __name__ == "__main__":  # python -m
    main()
