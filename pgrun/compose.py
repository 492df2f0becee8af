"""What a command line means: every job of it composed, before Hydra creates or writes anything."""

from __future__ import annotations

import argparse
import difflib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import (
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pgrun.errors import Refused
from pgrun.hydra_env import register


def conf_dir() -> Path:
    """conf/ beside this file in a wheel, one level up in a checkout."""
    here = Path(__file__).resolve().parent
    return next(place for place in (here / "conf", here.parent / "conf") if place.is_dir())


@dataclass(frozen=True)
class Job:
    """One run of a command, composed and resolved."""

    settings: dict[str, Any]  # plain data, without the hydra section
    choices: dict[str, Any]  # the option chosen in each config group
    overrides: list[str]  # as typed
    hydra: DictConfig


def parse(argv: list[str]) -> argparse.Namespace:
    """Hydra's own flags and the overrides."""
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        raise Refused(f"{message}; settings are typed as key=value, for example: pgrun seed=3")

    parser.error = refuse  # type: ignore[method-assign]
    args = parser.parse_args(argv)
    for word in args.overrides:
        if "=" not in word and not word.startswith("~"):
            raise Refused(
                f"{word!r} is no setting; settings are typed as key=value, for example: pgrun seed=3"
            )
    return args


def jobs(args: argparse.Namespace) -> Iterator[Job]:
    """Every job of the command; raises ``Refused`` for what does not compose."""
    register()
    sets = [list(args.overrides)]
    if args.multirun:
        try:
            parsed = OverridesParser.create().parse_overrides(args.overrides)
        except OverrideParseException as error:
            raise Refused(explain(error, args.overrides)) from error
        sets = BasicSweeper.split_arguments(parsed, max_batch_size=None)[0]
    extra = [f"hydra.searchpath=['file://{os.path.abspath(args.config_dir)}']"] if args.config_dir else []
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        for overrides in sets:
            try:
                yield compose_one(list(overrides), extra)
            except (HydraException, OmegaConfBaseException) as error:
                raise Refused(explain(error, overrides)) from error


def compose_one(overrides: list[str], extra: list[str]) -> Job:
    cfg = compose("config", overrides=[*overrides, *extra], return_hydra_config=True)
    choices = OmegaConf.to_container(cfg.hydra.runtime.choices)
    return Job(plain(cfg), dict(choices), overrides, cfg.hydra)


def plain(cfg: DictConfig) -> dict[str, Any]:
    """The run's own settings as resolved plain data."""
    own = OmegaConf.masked_copy(cfg, [key for key in cfg if key != "hydra"])
    return OmegaConf.to_container(own, resolve=True)  # type: ignore[return-value]


def explain(error: Exception, overrides: list[str]) -> str:
    """One sentence with the nearest names, for what Hydra could not compose."""
    if isinstance(error, MissingConfigException):
        return unknown_option(error)
    text = str(error)
    if match := re.search(r"Could not override '([^']*)'", text):
        return unknown_key(match[1], text)
    if match := re.search(r"Could not override '?([\w.@/]+)'?\.?\s*\n?No match in the defaults list", text):
        return unknown_key(match[1], text)
    if isinstance(error, OverrideParseException):
        return f"cannot read {' '.join(overrides)!r}: {text.splitlines()[0]}"
    return text.splitlines()[0]


def unknown_option(error: MissingConfigException) -> str:
    group, _, name = (error.missing_cfg_file or "").rpartition("/")
    while group and not (conf_dir() / group).is_dir():
        group, _, head = group.rpartition("/")
        name = f"{head}/{name}"
    if group == "env":
        import gymnasium

        options = list(gymnasium.registry)
    else:
        options = sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))
    return f"{group}={name}: no such option; {nearest(name, options)}"


def unknown_key(key: str, text: str) -> str:
    with_defaults = compose("config", overrides=[])
    keys = list(every_key(plain(with_defaults)))
    groups = [path.name for path in conf_dir().iterdir() if path.is_dir()]
    return f"{key}: no such setting; {nearest(key, [*keys, *groups])}"


def every_key(settings: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in settings.items():
        yield prefix + key
        if isinstance(value, Mapping):
            yield from every_key(value, f"{prefix}{key}.")


def nearest(name: str, options: list[str]) -> str:
    near = difflib.get_close_matches(name, options, n=3, cutoff=0.6)
    near = near or [option for option in options if option.endswith(f".{name.split('.')[-1]}")][:3]
    if near:
        return f"nearest: {', '.join(near)}"
    return f"there are {', '.join(options)}" if len(options) < 30 else "see pgrun --help"
