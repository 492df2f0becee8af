"""Names of the folders of runs: what a run is, short, and safe in any path, shell or Hydra word.

``ppo_CartPole-v1_s0_12-09-31`` for a run, ``CartPole-v1_algo+seed_12-09-31`` for a sweep,
``3_algo=a2c,seed=0`` for a job of one. Hydra knows them as ``${run_name:}``, ``${sweep_name:}`` and
``${job_name:}``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

JOB_NAME = "${job_name:}"  # the usual folder of a sweep's job
OURS = ("${run_name:}", "${sweep_name:}")  # in the name of a folder: nobody has typed that name
LONGEST = {"part": 30, "name": 100}  # characters
FEW = 3  # seeds that a name spells out
FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
DIGITS = 7  # characters of a number that is not shortened


def name_safely(text: str, most: int = LONGEST["part"]) -> str:
    """Letters, digits and ``. _ + -``; whatever else there is, is a dash, and none at the ends."""
    gaps = re.sub(r"[^A-Za-z0-9._+-]+", "\0", text).strip("\0")
    return gaps.replace("\0", "-")[:most].strip(".")


def name_env(env_id: str) -> str:
    """An environment's id without its module and namespace."""
    return name_safely(re.split(r"[/:]", env_id)[-1])


def name_value(key: str, text: str) -> str:
    """A setting's value as typed; a long number by four digits."""
    if key == "env":
        return name_env(text)
    if len(text) > DIGITS and FLOAT.fullmatch(text):
        text = f"{float(text):.4g}"
    return name_safely(text)


def name_seeds(settings: Mapping[str, Any] | DictConfig) -> str:
    seeds = OmegaConf.select(as_config(settings), "seeds")
    if not OmegaConf.is_list(seeds):
        return f"s{name_safely(str(OmegaConf.select(as_config(settings), 'seed')))}"
    return f"s{'-'.join(map(str, seeds))}" if len(seeds) <= FEW else f"{len(seeds)}seeds"


def as_config(settings: Mapping[str, Any] | DictConfig) -> DictConfig:
    return settings if isinstance(settings, DictConfig) else OmegaConf.create(dict(settings))


def name_what(config: DictConfig, swept: Sequence[str] = ()) -> list[str]:
    """Algorithm and environment, or the run that a study looks at, without what a sweep varies."""
    run = OmegaConf.select(config, "run")
    if isinstance(run, str) and "run" not in swept:
        return [name_safely(Path(run).name, LONGEST["name"] // 2)]
    try:
        algo, env = OmegaConf.select(config, "algo.name"), OmegaConf.select(config, "env.id")
    except OmegaConfBaseException:  # an option's file that is no mapping, which the check refuses
        return []
    parts = [
        name_safely(str(algo)) if algo and "algo" not in swept else "",
        name_env(str(env)) if env and "env" not in swept else "",
    ]
    return [part for part in parts if part]


def name_run(_root_: DictConfig) -> str:
    """``ppo_CartPole-v1_s0``."""
    return "_".join([*name_what(_root_), name_safely(name_seeds(_root_))])


def name_sweep(_root_: DictConfig, keys: Sequence[str]) -> str:
    """``CartPole-v1_algo+seed``: what all jobs share, and the settings in which they differ."""
    differing = name_safely("+".join(shorten_keys(keys).values()), LONGEST["name"] // 2)
    return "_".join([*name_what(_root_, keys), differing or name_safely(name_seeds(_root_))])


def name_job(_root_: DictConfig, keys: Sequence[str]) -> str:
    """``3_algo=a2c,seed=0``, of the job that Hydra is about to run."""
    return name_numbered(_root_.hydra.job.num, _root_.hydra.overrides.task, keys)


def name_numbered(number: int, words: Iterable[str], keys: Sequence[str]) -> str:
    """The number, which alone makes it unique, and those of the ``words`` whose settings differ."""
    short = shorten_keys(keys)
    parts = []
    for word in words:
        key = setting_of_word(word)
        if key in short:
            parts.append(f"{short[key]}={name_value(key, word.partition('=')[2])}")
    return "_".join([str(number), *([",".join(parts)] if parts else [])])[: LONGEST["name"]].rstrip(",.=-")


def setting_of_word(word: str) -> str:
    """The setting that a word such as ``++env.kwargs.x=1`` or ``critic/optimizer=sgd`` is of."""
    return word.partition("=")[0].lstrip("+~").replace("/", ".")


def shorten_keys(keys: Sequence[str]) -> dict[str, str]:
    """Each by its last part, or by as many as tell it from the others."""
    short = {}
    for key in keys:
        parts = key.split(".")
        tails = (".".join(parts[-n:]) for n in range(1, len(parts) + 1))
        alone = (t for t in tails if sum(other == t or other.endswith(f".{t}") for other in keys) == 1)
        short[key] = name_safely(next(alone, key))
    return short


def find_differing(jobs: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The settings that not all jobs, each given by its words, have alike."""
    values: dict[str, set[str | None]] = {}
    for words in jobs:
        for word in words:
            values.setdefault(setting_of_word(word), set()).add(word)
    every = [set(map(setting_of_word, words)) for words in jobs]
    return tuple(
        key
        for key, texts in values.items()
        if not key.startswith("hydra.") and (len(texts) > 1 or not all(key in have for have in every))
    )


def register_names(keys: Sequence[str] = ()) -> None:
    """The resolvers, for a command whose jobs differ in ``keys``; launchers hand them to their workers."""
    OmegaConf.register_new_resolver("run_name", name_run, replace=True)
    for name, function in (("sweep_name", name_sweep), ("job_name", name_job)):
        OmegaConf.register_new_resolver(name, partial(function, keys=tuple(keys)), replace=True)


def find_job_folder(top: Path, number: int) -> Path:
    """The folder of a sweep's job; that which it would have by its number alone, where there is none."""
    return find_job_folders(top).get(number, top / str(number))


def find_job_folders(top: Path) -> dict[int, Path]:
    """Those below a sweep's folder by the number of the job."""
    there = sorted(top.iterdir()) if top.is_dir() else []
    numbers = {path: number_of(path.name) for path in there}
    return {number: path for path, number in reversed(numbers.items()) if number is not None}


def number_of(name: str) -> int | None:
    """The number that a job's folder begins with; None of another folder."""
    match = re.match(r"([0-9]{1,9})(_|$)", name)
    return int(match[1]) if match else None
