"""Environments by name, with errors that say what to install or type."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import gymnasium as gym

from pgrun import own
from pgrun.envs.spaces import check_action_space, observation_encoder
from pgrun.envs.table import TableEnvs, keeps_to_table
from pgrun.envs.vector import Envs, Loop, Native
from pgrun.errors import Refused
from pgrun.registration import registry
from pgrun.schema import PositiveInt

EXTRAS = {"Box2D": "box2d", "mujoco": "mujoco"}
NATIVE = ("CartPole-v1",)  # native vector programs that behave exactly like their single environment


@dataclass(frozen=True)
class EnvSettings:
    id: str
    num_envs: PositiveInt
    max_episode_steps: PositiveInt | None = None
    kwargs: dict[str, Any] = field(default_factory=dict)


def make(env: EnvSettings, num_envs: int) -> Envs:
    """``num_envs`` columns of ``env``, not yet reset."""
    envs = columns(env, num_envs)
    envs.name = f"env={env.id}"
    return envs


def columns(env: EnvSettings, num_envs: int) -> Envs:
    if env.id in NATIVE and not env.kwargs:
        limit: dict[str, Any] = {"max_episode_steps": env.max_episode_steps} if env.max_episode_steps else {}
        return Native(gym.make_vec(env.id, num_envs, **limit))
    one = make_one(env)
    if keeps_to_table(one):
        return TableEnvs(one, num_envs)
    one.close()
    return Loop(lambda: make_one(env), num_envs)


def make_one(env: EnvSettings, **kwargs: Any) -> gym.Env:
    """One gymnasium environment, or ``Refused`` with the reason."""
    find(env.id)
    limit = {"max_episode_steps": env.max_episode_steps} if env.max_episode_steps else {}
    try:
        return gym.make(env.id, disable_env_checker=True, **limit, **env.kwargs, **kwargs)
    except (ImportError, gym.error.DependencyNotInstalled) as error:
        raise Refused(missing(env.id, str(error))) from error
    except TypeError as error:
        raise Refused(
            f"env.kwargs={dict(env.kwargs)}: {env.id} says: {str(error).split(' was raised from')[0]}"
        ) from error
    except gym.error.Error as error:
        raise Refused(f"env={env.id}: {str(error).splitlines()[0]}") from error


def find(name: str) -> None:
    """Refuse an id that is not registered, naming the nearest ones; imports ``module:Id``'s module."""
    module, _, name = name.rpartition(":")
    if module:
        try:
            own.load(module)
        except ImportError as error:
            raise Refused(f"env={module}:{name}: cannot import {module}: {error}") from error
    if name in registry:
        return
    near = difflib.get_close_matches(name, list(registry), n=3, cutoff=0.5)
    hint = f"nearest: {', '.join(near)}" if near else "gymnasium.pprint_registry() lists all ids"
    raise Refused(f"env={name} is not registered with gymnasium; {hint}")


def missing(name: str, reason: str) -> str:
    """Which extra of ours brings the package that an environment lacks."""
    for package, extra in EXTRAS.items():
        if package.lower() in reason.lower() and find_spec(package) is None:
            return f'env={name} needs the extra "{extra}": pip install -c constraints.txt -e ".[{extra}]"'
    return f"env={name} cannot be made here: {reason.splitlines()[0]}"


def probe(env: EnvSettings) -> gym.Env:
    """Make one environment and check its spaces, before a run directory exists."""
    one = make_one(env)
    observation_encoder(one.observation_space)
    check_action_space(one.action_space)
    return one
