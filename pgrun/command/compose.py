"""What a command line means: every job of it composed, before Hydra creates or writes anything."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from pgrun.command import sweep_values
from pgrun.command.app import PGRUN, App
from pgrun.command.composition_errors import Explainer
from pgrun.command.folder_names import JOB_NAME, find_differing, name_numbered, register_names
from pgrun.command.foreign_answers import ForeignWord, answer_foreign_words
from pgrun.command.hydra_env import register_config_sources
from pgrun.command.hydra_internals.jobs import split_sweep_words
from pgrun.command.hydra_words import CHANGEABLE
from pgrun.command.overrides import CliOverride, Command, split_foreign_text
from pgrun.command.search_settings import asks_for_search
from pgrun.command.search_space import read_search_space
from pgrun.config.paths import conf_dir
from pgrun.config.settings import spell_advantage_norm
from pgrun.errors import InvalidCommand, Mistake


@dataclass(frozen=True)
class Job:
    """One run of a command, composed and resolved."""

    settings: dict[str, Any]  # plain data, without the hydra section
    choices: dict[str, Any]  # the option chosen in each config group
    words: list[CliOverride]  # as typed
    hydra: DictConfig
    folder: Path
    number: int = 0  # among the command's jobs

    @property
    def composed(self) -> DictConfig:
        """The whole configuration, with Hydra's section."""
        root: DictConfig = self.hydra._get_root()  # type: ignore[assignment]
        return root

    def own_composed(self) -> DictConfig:
        """A copy of the whole configuration, that of this job where it was composed for another seed."""
        cfg: Any = copy.deepcopy(self.composed)
        words = [word for word in self.words if not word.key.startswith("hydra.")]
        with open_dict(cfg):
            cfg.hydra.job.num, cfg.hydra.job.id = self.number, str(self.number)
            for word in words:
                if word.key == "seed" and word.text not in cfg.hydra.overrides.task:
                    cfg.seed = word.value
            cfg.hydra.overrides.task = [word.text for word in words]
        return cfg  # type: ignore[no-any-return]


def format_settings_yaml(settings: Mapping[str, Any], package: str | None = None) -> str:
    """The resolved settings, or those of one package. Raises ``InvalidCommand`` where there is none."""
    part = OmegaConf.select(OmegaConf.create(dict(settings)), package or "")
    if package and part is None:
        raise InvalidCommand("--package", package, "no such part of the configuration")
    return OmegaConf.to_yaml(part).rstrip() if OmegaConf.is_config(part) else str(part)


@dataclass
class Jobs:
    """What a command composes to, and what does not compose."""

    composed: list[Job] = field(default_factory=list)
    problems: list[Mistake] = field(default_factory=list)
    translation: str = ""  # the whole command, where it was typed in another tool's words


def compose_jobs(command: Command) -> Jobs:
    """Every job of the command. A word that does not compose is reported, and the rest tried without it."""
    jobs, bad = Jobs(), set[str]()
    with composing_with_hydra(command.config_dir, command.app):
        explainer = Explainer(command.config_dir, command.app)
        sets, first = split_sweep(command, []), None
        if command.multirun:
            first, _ = try_compose(sets[0], True, explainer, jobs, bad)
            if first and (params := sweeper_params(first)):
                sets, first = split_sweep(command, params), None
        keys = find_differing([[word.text for word in words] for words in sets])
        register_names(keys)
        alike: dict[tuple[str, ...], Job] = {}  # a job of each set of words without the seed
        if first:  # composed already, before it was known how jobs are named
            first = replace(first, folder=Path(str(first.hydra.sweep.subdir)))
            jobs.composed.append(first)
            alike[drop_seed_words(sets[0])] = first
        for words in sets[len(jobs.composed) :]:
            number, like = len(jobs.composed), alike.get(drop_seed_words(words))
            job = like and copy_with_other_seed(like, words, number, keys)
            if job is None:
                job, go_on = try_compose(words, command.multirun, explainer, jobs, bad, number)
                if not go_on:
                    break
            if job:
                alike.setdefault(drop_seed_words(words), job)
                jobs.composed.append(job)
        answer_foreign(command, explainer, sets[0], bad, jobs)
    jobs.problems = list(dict.fromkeys(jobs.problems))
    if command.multirun and jobs.composed:  # ${now:} differs from job to job, and the sweep has one directory
        base = Path(jobs.composed[0].hydra.sweep.dir)
        jobs.composed = [replace(job, folder=base / job.folder) for job in jobs.composed]
    return jobs


def try_compose(
    words: Sequence[CliOverride],
    multirun: bool,
    explainer: Explainer,
    jobs: Jobs,
    bad: set[str],
    number: int = 0,
) -> tuple[Job | None, bool]:
    """(the job, left without its bad words; whether the others are worth trying)."""
    while True:
        kept = [word for word in words if word.text not in bad]
        try:
            return compose_one(kept, multirun, number, explainer.app.config), True
        except RecursionError:  # of Hydra, where an option's file names itself in its defaults
            jobs.problems.append(explainer.explain_circle(kept))
            return None, False
        except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
            word, problem = explainer.explain(error, kept)
            jobs.problems += [problem] if problem else []
            if word is None:
                return None, False
            bad.add(word.text)


def answer_foreign(
    command: Command, explainer: Explainer, words: Sequence[CliOverride], bad: set[str], jobs: Jobs
) -> None:
    """Say what other tools' names are here, as soon as it is known what the rest of the command means."""
    typed = [word for word in command.words if word.key in explainer.foreign]
    foreign = [*command.foreign, *(ForeignWord(w.shown, *split_foreign_text(w.text)) for w in typed)]
    if not foreign:
        return
    single = {word.key: word.text for word in words}  # one value each, where the command is a sweep
    kept = [word for word in command.words if word not in typed and word.text not in bad]

    def settings_of(texts: list[str]) -> dict[str, Any] | None:
        same = {word.text: single.get(word.key, word.text) for word in kept}
        try:
            texts = [same.get(text, text) for text in texts]
            return compose_one([CliOverride.read(text) for text in texts], False, 0).settings
        except (HydraException, OmegaConfBaseException, YAMLError, ValueError):
            return None

    texts = [word.text for word in kept]
    mistakes, jobs.translation = answer_foreign_words(foreign, texts, command.options, settings_of)
    jobs.problems += mistakes


@contextmanager
def composing_with_hydra(config_dir: str | None = None, app: App = PGRUN) -> Iterator[None]:
    """Hydra's compose API on our configuration and the user's own."""
    register_config_sources(config_dir, app.options)
    with (
        initialize_config_dir(str(conf_dir()), job_name=app.name, version_base="1.3"),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "provider=.* is not available")  # ``hydra_settings`` refuses it
        yield


def split_sweep(command: Command, params: list[str]) -> list[list[CliOverride]]:
    """The overrides of each job, in Hydra's order; ``params`` come from ``hydra.sweeper.params``."""
    if not command.multirun:
        return [list(command.words)]
    overrides = parse_overrides(command, params)
    if asks_for_search(command):
        space = read_search_space([override for override in overrides if not override.is_hydra_override()])
        return [
            [CliOverride.read(text) for text in [*hydra_words(command), *space.typed(trial)]]
            for trial in space.corners()
        ]
    if (count := sweep_values.count_jobs(overrides)) > sweep_values.MOST:
        raise InvalidCommand(
            f"a sweep of {count:,} jobs",
            None,
            f"at most {sweep_values.MOST:,} at a time",
            "take fewer values",
        )
    try:
        batch = split_sweep_words(overrides)
    except HydraException as error:
        raise InvalidCommand(
            error,
            None,
            "a sweep takes values: seed=0,1,2 or seed=range(0,3); intervals are searched: "
            "hydra/sweeper=optuna",
        ) from error
    if not batch:
        raise InvalidCommand(
            "a sweep without jobs", None, "a pattern such as algo=glob(*) has to fit some option's name"
        )
    return [[CliOverride.read(text) for text in texts] for texts in batch]


def parse_overrides(command: Command, params: Sequence[str]) -> list[Override]:
    """``params`` come from ``hydra.sweeper.params``."""
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    return parser.parse_overrides([*params, *(word.text for word in command.words)])


def hydra_words(command: Command) -> list[str]:
    return [word.text for word in command.words if word.key.startswith("hydra.")]


def sweeper_params(job: Job) -> list[str]:
    params = OmegaConf.select(job.hydra, "sweeper.params") or {}
    return [f"{key}={value}" for key, value in params.items()]


def compose_one(words: Sequence[CliOverride], multirun: bool, number: int, config: str = PGRUN.config) -> Job:
    try:
        cfg = compose(config, overrides=[word.text for word in words], return_hydra_config=True)
    except KeyError as error:
        raise ValueError(f"hydra.job.env_copy: no environment variable is called {error}") from error
    with open_dict(cfg.hydra):
        cfg.hydra.job.num = number
        cfg.hydra.job.id = str(number)
    choices = OmegaConf.to_container(cfg.hydra.runtime.choices)
    settings = to_plain_settings(cfg)
    for key in CHANGEABLE:  # an interpolation that leads nowhere shows here, before anybody reads it
        part = OmegaConf.select(cfg, key, throw_on_missing=True)
        if OmegaConf.is_config(part):
            OmegaConf.to_container(part, resolve=True)
    hydra = cfg.hydra
    folder = Path(str(hydra.sweep.subdir)) if multirun else Path(hydra.run.dir)
    return Job(settings, dict(choices), list(words), hydra, folder, number)  # type: ignore[arg-type]


def copy_with_other_seed(
    like: Job, words: Sequence[CliOverride], number: int, keys: Sequence[str]
) -> Job | None:
    """The same job with another seed, without composing it (a tenth of a second);
    None where that is not so simple.
    """
    subdir = OmegaConf.to_container(like.hydra.sweep, resolve=False)["subdir"]  # type: ignore[index, call-overload]
    seeds = [word for word in words if word.key == "seed"]
    if subdir != JOB_NAME or len(seeds) != 1 or "${" in seeds[0].text:
        return None
    cfg: Any = like.composed
    before, cfg["seed"] = cfg["seed"], seeds[0].value
    settings = to_plain_settings(cfg)
    cfg["seed"] = before
    folder = Path(name_numbered(number, [word.text for word in words], keys))
    return replace(like, settings=settings, words=list(words), folder=folder, number=number)


def drop_seed_words(words: Sequence[CliOverride]) -> tuple[str, ...]:
    return tuple(word.text for word in words if word.key != "seed")


def to_plain_settings(cfg: DictConfig) -> dict[str, Any]:
    """The run's own settings as resolved plain data, each value under one spelling."""
    settings: dict[str, Any] = {str(key): cfg[key] for key in cfg if key != "hydra"}
    for key, value in settings.items():
        if OmegaConf.is_config(value):
            settings[key] = OmegaConf.to_container(value, resolve=True, throw_on_missing=True)
    if "advantage_norm" in settings:
        settings["advantage_norm"] = spell_advantage_norm(settings["advantage_norm"])
    return settings
