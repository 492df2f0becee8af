"""Everything that is wrong with a job, found before its first step and before a run directory exists."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pgrun.compose import Job
from pgrun.envs import EnvSettings, probe
from pgrun.errors import Refused
from pgrun.schema import GROUPS, construct, fields, lookup, violations
from pgrun.settings import Diagnostics, Logger, Top, Trainer

SECTIONS = {"env": EnvSettings, "trainer": Trainer, "diagnostics": Diagnostics, "logger": Logger}


def problems(job: Job) -> list[str]:
    """One short phrase per violation: all of the values first, then what does not fit together."""
    listed = [group for group, choice in job.choices.items() if isinstance(choice, list)]
    if listed:
        return [
            f"{group}={','.join(job.choices[group])}: a list is a sweep, type pgrun -m" for group in listed
        ]
    found = list(wrong_values(job.settings))
    if not found:
        found = [*tuned_file(job), *misfits(job.settings), *unread(job), *environment(job.settings)]
    return found + list(device(job.settings))


def wrong_values(settings: Mapping[str, Any]) -> Iterator[str]:
    """Types and ranges, from the signatures of the classes that the names select."""
    top = {k: v for k, v in settings.items() if k in fields(Top)}
    yield from violations("", top, Top)
    for section, cls in SECTIONS.items():
        yield from violations(f"{section}.", settings[section], cls)
    for group in GROUPS:
        yield from group_values(group, group, settings[group], settings)
    nested = settings["critic"].get("optimizer")
    if isinstance(nested, Mapping):
        yield from group_values("critic.optimizer", "optimizer", nested, settings)


def group_values(
    where: str, group: str, given: Mapping[str, Any], settings: Mapping[str, Any]
) -> Iterator[str]:
    rest = dict(given)
    name = rest.pop("name", None)
    try:
        cls = lookup(group, str(name), tuple(settings.get("modules") or ()))
    except (LookupError, ImportError) as error:
        yield f"{where}.name={name}: {error}"
        return
    yield from violations(f"{where}.", rest, cls)


def classes(settings: Mapping[str, Any]) -> dict[str, Any]:
    modules = tuple(settings["modules"])
    return {group: lookup(group, settings[group]["name"], modules) for group in GROUPS}


def misfits(settings: Mapping[str, Any]) -> Iterator[str]:
    """Choices that make no sense together, each with the nearest one that does."""
    chosen = classes(settings)
    scheme, algo, sampler = chosen["variance"], chosen["algo"], settings["sampler"]
    name, kind = settings["variance"]["name"], sampler["name"]
    if kind not in algo.samplers:
        fits = algo.samplers[0]
        yield f"algo={settings['algo']['name']} needs sampler={fits}, not sampler={kind}: add sampler={fits}"
    if scheme.whole_episodes and kind != "episodes":
        yield (
            f"variance={name} needs whole episodes: add sampler=episodes, or take variance=value_baseline or gae"
        )
    if kind == "episodes" and scheme.mixes_columns and sampler["episodes"] < 2:
        yield f"variance={name} compares episodes: sampler.episodes must be at least 2"
    rows = sampler["steps"] * settings["env"]["num_envs"] if kind == "steps" else None
    minibatches = settings["algo"].get("minibatches", 1)
    if rows is not None and minibatches > rows:
        yield f"algo.minibatches={minibatches}: a batch has only {rows} rows (sampler.steps × env.num_envs)"


def unread(job: Job) -> Iterator[str]:
    """Settings typed on the command line that nothing in this job reads."""
    settings = job.settings
    uses_critic = classes(settings)["variance"].uses_critic
    shared = settings["network"]["name"] == "shared"
    variance, critic = settings["variance"], settings["critic"]
    for override in job.overrides:
        key = override.split("=")[0].lstrip("+~").replace("/", ".")
        if key == "critic" or key.startswith("critic."):
            if not uses_critic:
                yield f"{key}: variance={variance['name']} has no critic; take variance=value_baseline or gae"
            elif shared and key.startswith(("critic.optimizer", "critic.epochs", "critic.minibatches")):
                yield f"{key}: network=shared trains the critic with the policy's own steps; take network=separate"
            elif key == "critic.coef" and not shared:
                yield "critic.coef weighs the joint loss of network=shared; with network=separate set critic.optimizer.lr"
            elif key == "critic.lam" and critic["target"] != "td_lambda":
                yield f"critic.lam is read by critic.target=td_lambda, not by {critic['target']}"
            elif key == "critic.n" and critic["target"] != "n_step":
                yield f"critic.n is read by critic.target=n_step, not by {critic['target']}"
        if key == "variance.discounting" and variance.get("returns") == "whole":
            yield "variance.discounting: a whole return is always discounted from the start; add variance.returns=reward_to_go"


def tuned_file(job: Job) -> Iterator[str]:
    """``optional`` in the defaults list swallows a misspelt tuned file."""
    choice = job.choices.get("tuned")
    pair = f"{job.choices['algo']}/{job.choices['env']}"
    if choice not in (None, "none", pair) and job.settings["tuned"] is None:
        yield f"tuned={choice}: no such file; tuned=none turns tuned settings off"


def environment(settings: Mapping[str, Any]) -> Iterator[str]:
    try:
        probe(construct(EnvSettings, settings["env"])).close()
    except Refused as error:
        yield str(error)


def device(settings: Mapping[str, Any]) -> Iterator[str]:
    if settings["device"] == "cuda":
        import torch

        if not torch.cuda.is_available():
            yield "device=cuda: no CUDA device is available here; take device=cpu, or device=auto for whichever there is"


def run_directory(path: Path) -> Iterator[str]:
    """A directory that cannot be written, or that holds a run."""
    if any((path / name).exists() for name in ("summary.json", "metrics.csv")):
        yield f"{path} holds a run already: choose another hydra.run.dir, or remove it"
    existing = path
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        yield f"{path} cannot be written: choose another hydra.run.dir"
