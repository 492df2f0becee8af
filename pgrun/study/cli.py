"""The command ``pgrun-study``: read, composed and refused as ``pgrun`` is."""

from __future__ import annotations

import sys
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from pgrun import cli
from pgrun.app import App

STUDY = App(
    name="pgrun-study",
    config="study",
    check="pgrun.study.check:problems",
    job="pgrun.study.cli:job",
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
    from pgrun.job import guarded

    return guarded(cfg, study_in, record)


def study_in(cfg: DictConfig, folder: Path) -> float:
    from pgrun.compose import plain
    from pgrun.report import shortest
    from pgrun.study.check import drawable
    from pgrun.study.study import conduct
    from pgrun.study.table import describe
    from pgrun.whole import write_json

    settings = plain(cfg)
    settings.pop("usual", None)
    result = conduct(settings, lambda text: print(text, file=sys.stderr, flush=True))
    write_json(folder / "study.json", result)
    print(describe(result))
    shown = "study.json"
    if settings["picture"] is not False and drawable():
        from pgrun.study.picture import draw

        draw(result, folder / "study.png")
        shown = "study.json, study.png"
    elif settings["picture"] is None:
        print('\nno picture: pip install -c constraints.txt -e ".[plot]" brings matplotlib')
    print(f"\n  {shown} in {shortest(folder)}", flush=True)
    return min(entry["variance"] for entry in result["schemes"].values())


def record(cfg: DictConfig, folder: Path, status: str, error: str) -> None:
    """A study without a result."""
    from pgrun.whole import write_json

    settings = {name: OmegaConf.select(cfg, key) for name, key in (("env", "env.id"), ("seed", "seed"))}
    try:
        write_json(folder / "study.json", {"status": status, **settings, "error": error})
    except OSError as unwritable:
        print(f"no study.json in {folder}: {unwritable}", file=sys.stderr)
