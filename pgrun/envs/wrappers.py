"""``env.wrappers``: gymnasium's by name and the user's own as ``module:Class``, from the inside out.

An entry is a name, or a mapping with its arguments: ``{name: FrameStackObservation, stack_size: 4}``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gymnasium as gym
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, RecordEpisodeStatistics, TimeLimit

from pgrun.config import user_modules
from pgrun.envs.faults import exception_of_user_code, import_error
from pgrun.errors import InvalidCommand

DRAWS = "training draws nothing; pgrun-play RUN_DIR --render or --video DIR does"
REFUSED = {  # gymnasium's that have no place in training
    "TimeLimit": "set env.max_episode_steps",
    "Autoreset": "episodes are reset here already; leave it out",
    "RecordVideo": DRAWS,
    "HumanRendering": DRAWS,
    "RenderCollection": DRAWS,
    "AddRenderObservation": DRAWS,
}
KEEPS_STATISTICS = {  # over episodes, and in each column apart
    "NormalizeObservation": "state_norm=true",
    "NormalizeReward": "reward_scaling=true",
}
HARMLESS = (TimeLimit, OrderEnforcing, PassiveEnvChecker, RecordEpisodeStatistics)  # rewards, observations, …


def wrap_env(env: gym.Env, wrappers: Sequence[Any]) -> gym.Env:
    """``env`` in all of them. Raises ``InvalidCommand``."""
    for entry in wrappers:
        name, arguments = split_entry(entry)
        kind = find_wrapper(name)
        try:
            env = kind(env, **arguments)
        except (Exception, SystemExit) as error:
            raise InvalidCommand(
                "env.wrappers", format_entry(entry), f"cannot be made: {exception_of_user_code(error)}"
            ) from error
        if not isinstance(env, gym.Env):
            raise InvalidCommand(
                "env.wrappers", name, f"makes a {type(env).__name__}, which is no environment"
            )
    return env


def split_entry(entry: Any) -> tuple[str, dict[str, Any]]:
    """(the name, the arguments). Lists are given as tuples, which gymnasium wants for shapes."""
    if isinstance(entry, str):
        return entry, {}
    if isinstance(entry, Mapping) and isinstance(entry.get("name"), str):
        given = {str(key): value for key, value in entry.items() if key != "name"}
        return entry["name"], {key: tuple(x) if isinstance(x, list) else x for key, x in given.items()}
    if isinstance(entry, Mapping) and len(entry) == 1 and all(isinstance(x, Mapping) for x in entry.values()):
        ((name, arguments),) = entry.items()  # as rl-zoo's files have it
        own = {"name": str(name).rpartition(".")[2], **arguments}
        raise InvalidCommand("env.wrappers", None, f"type {format_entry(own)}")
    raise InvalidCommand(
        "env.wrappers",
        entry,
        "is no wrapper",
        "type a name, or {name:NAME,argument:value}, as in "
        "env.wrappers=[TimeAwareObservation,{name:ClipReward,min_reward:-1,max_reward:1}]",
    )


def find_wrapper(name: str) -> Any:
    module, colon, inner = name.rpartition(":")
    if colon:
        return find_users_wrapper(module, inner)
    if name in REFUSED:
        raise InvalidCommand("env.wrappers", name, REFUSED[name])
    if name in gym.wrappers.__all__:
        try:
            return getattr(gym.wrappers, name)
        except ImportError as error:
            raise InvalidCommand("env.wrappers", name, f"cannot be had here: {error}") from error
    near = difflib.get_close_matches(name, gym.wrappers.__all__, n=3, cutoff=0.4)
    hint = f"nearest: {', '.join(near)}" if near else "such as TimeAwareObservation"
    raise InvalidCommand(
        "env.wrappers", name, f"none of gymnasium's wrappers; {hint}; your own is typed module:Class"
    )


def find_users_wrapper(module: str, name: str) -> Any:
    try:
        wrapper = getattr(user_modules.import_user_module(module), name, None)
    except (Exception, SystemExit) as error:
        raise InvalidCommand("env.wrappers", f"{module}:{name}", import_error(module, error)) from error
    if not (isinstance(wrapper, type) and issubclass(wrapper, gym.Wrapper)):
        raise InvalidCommand(
            "env.wrappers", f"{module}:{name}", f"{module} has no gymnasium.Wrapper of that name"
        )
    return wrapper


def find_user_modules(wrappers: Sequence[Any]) -> list[str]:
    """The modules of the user's that they are in."""
    names = [split_entry(entry)[0] for entry in wrappers]
    return list(dict.fromkeys(name.rpartition(":")[0] for name in names if ":" in name))


def format_wrappers(wrappers: Sequence[Any]) -> str:
    """As they are typed: ``[A,{name:B,argument:1}]``."""
    return f"[{','.join(map(format_entry, wrappers))}]"


def format_entry(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{format_entry(x)}' for key, x in value.items())}}}"
    if isinstance(value, list | tuple):
        return format_wrappers(value)
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def find_statistics(wrappers: Sequence[Any]) -> Iterator[str]:
    """What is to be known of wrappers that keep statistics over episodes: one line each."""
    for name in dict.fromkeys(split_entry(entry)[0] for entry in wrappers):
        if name in KEEPS_STATISTICS:
            yield (
                f"env.wrappers: {name} keeps statistics of its own in each environment, in evaluation too, "
                f"which no checkpoint saves; {KEEPS_STATISTICS[name]} keeps one for all, saves it and "
                "freezes it in evaluation"
            )


def changing_wrappers(env: gym.Env) -> list[str]:
    """The wrappers around ``env`` that may change what it shows, pays or does."""
    wrappers = []
    while isinstance(env, gym.Wrapper):
        if type(env) not in HARMLESS:
            wrappers.append(type(env).__name__)
        env = env.env
    return wrappers
