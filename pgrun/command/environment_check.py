"""The environment of a job: made once before anything is written, and what hangs on it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import gymnasium as gym

from pgrun.config.schema import construct_from_settings
from pgrun.envs import EnvSettings, make_probed_env
from pgrun.envs.masks import offers_mask
from pgrun.envs.table import keeps_to_table
from pgrun.errors import InvalidCommand, Mistake

TELL_MASKS: dict[str, bool] = {}  # by the settings of an environment, what its probe has said
TAKEN = {  # arguments of ``gymnasium.make`` that are no environment's own
    "id": "chosen with env=…",
    "max_episode_steps": "set env.max_episode_steps",
    "render_mode": "training draws nothing; pgrun-play RUN_DIR --render or --video DIR does",
    "disable_env_checker": "nothing reads it here; leave it out",
}


def probe_environment(settings: Mapping[str, Any]) -> tuple[gym.Env | None, list[Mistake]]:
    """(one environment, closed; what is wrong with it)."""
    wanted = construct_from_settings(EnvSettings, settings["env"])
    if taken := [key for key in wanted.kwargs if key in TAKEN]:
        return None, [Mistake(f"env.kwargs.{key}", None, TAKEN[key]) for key in taken]
    try:
        env = make_probed_env(wanted)
        TELL_MASKS[str(settings["env"])] = not wanted.action_mask and offers_mask(env)
        with suppress(Exception, SystemExit):  # told where it matters, at the end of a run
            env.close()
        return env, []
    except InvalidCommand as error:
        if os.environ.get("PGRUN_DEBUG"):
            raise
        return None, [*error.mistakes]


def tells_mask(env: Mapping[str, Any]) -> bool:
    """Whether the environment of these settings told which actions are allowed when it was checked."""
    return TELL_MASKS.get(str(env), False)


def find_wrong_start(settings: Mapping[str, Any], env: gym.Env) -> Iterator[Mistake]:
    """The first state alone can be given to an environment that is its table."""
    if settings["sampler"].get("shared") != "start":
        return
    if settings["env"]["vector"] == "loop" or not keeps_to_table(env):
        yield Mistake(
            "sampler.shared",
            "start",
            f"env={settings['env']['id']} is not its transition table, and takes a seed alone",
            "take sampler.shared=seed, or a tabular environment such as env=FrozenLake-v1",
        )


def find_inexact(settings: Mapping[str, Any], env: gym.Env | None) -> Iterator[Mistake]:
    from pgrun.diagnostics import exact_errors

    if settings["diagnostics"]["exact"]:
        yield from exact_errors.find_inexact_settings(settings, env)
