"""Environments by name, with errors that say what to install or type."""

from __future__ import annotations

import difflib
import warnings
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import gymnasium as gym
import numpy as np

from pgrun.config import user_modules
from pgrun.config.schema import PositiveInt
from pgrun.envs.faults import ColumnFault, exception, exception_of_user_code, import_error
from pgrun.envs.problems.registration import registry
from pgrun.envs.spaces import check_action_space, image_shape, observation_encoder
from pgrun.envs.table import TableEnvs, check_table, has_table, keeps_to_table
from pgrun.envs.vector import Envs, Loop, Native
from pgrun.errors import Refused

EXTRAS = {"Box2D": "box2d", "mujoco": "mujoco"}
MOST = 10_000_000  # entries of an observation
NATIVE = ("CartPole-v1",)  # native vector programs that behave exactly like their single environment


@dataclass(frozen=True)
class EnvSettings:
    id: str
    num_envs: PositiveInt
    max_episode_steps: PositiveInt | None = None
    kwargs: dict[str, Any] = field(default_factory=dict)
    flatten_images: bool = False  # into vectors, where observations are images
    restart: bool = False  # a resumed run may begin episodes anew, where those under way cannot be had again


def make(env: EnvSettings, num_envs: int, role: str = "") -> Envs:
    """``num_envs`` columns of ``env``, not yet reset; ``role``: said after the name in messages."""
    envs = columns(env, num_envs)
    envs.name = f"env={env.id}{role}"
    return envs


def columns(env: EnvSettings, num_envs: int) -> Envs:
    if env.id in NATIVE and not env.kwargs:
        limit: dict[str, Any] = {"max_episode_steps": env.max_episode_steps} if env.max_episode_steps else {}
        return Native(gym.make_vec(env.id, num_envs, **limit))
    one = make_one(env)
    if keeps_to_table(one):
        return TableEnvs(one, num_envs)
    made = [one]
    return Loop(lambda: made.pop() if made else make_one(env), num_envs)


def make_one(env: EnvSettings, **kwargs: Any) -> gym.Env:
    """One gymnasium environment, or ``Refused`` with the reason."""
    require_registered(env.id)
    limit = {"max_episode_steps": env.max_episode_steps} if env.max_episode_steps else {}
    try:
        with warnings.catch_warnings(record=True) as caught:
            one = gym.make(env.id, disable_env_checker=True, **limit, **env.kwargs, **kwargs)
            if has_table(one):
                check_table(one)
        for warning in caught:  # of a refused one they would stand before the reason
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        return one
    except (ImportError, gym.error.DependencyNotInstalled) as error:
        raise Refused(missing(env.id, first_line(error))) from error
    except gym.error.Error as error:
        raise Refused(f"env={env.id}: {first_line(error)}") from error
    except Refused:
        raise
    except (Exception, SystemExit) as error:
        given = f" with env.kwargs={env.kwargs}" if env.kwargs else ""
        said = exception(error) if env.id.startswith("pgrun/") else exception_of_user_code(error)
        raise Refused(f"env={env.id}{given} cannot be made: {said}") from error


def require_registered(name: str) -> None:
    """Refuse an id that is not registered, naming the nearest ones; imports ``module:Id``'s module."""
    module, _, name = name.rpartition(":")
    if module:
        try:
            found = user_modules.import_user_module(module)
        except (Exception, SystemExit) as error:
            raise Refused(f"env={module}:{name}: {import_error(module, error)}") from error
    if name in registry:
        return
    if module and isinstance(getattr(found, name, None), type):
        code = f'gymnasium.register("{name}-v0", entry_point="{module}:{name}")'
        raise Refused(
            f"env={module}:{name}: {name} is a class, and an id is needed: put {code} "
            f"into {module} and type env={module}:{name}-v0"
        )
    near = difflib.get_close_matches(name, list(registry), n=3, cutoff=0.5)
    hint = f"nearest: {', '.join(near)}" if near else "gymnasium.pprint_registry() lists all ids"
    looked = f": {module} was imported and registered nothing of that name" if module else ""
    raise Refused(f"env={name} is not registered with gymnasium{looked}; {hint}")


def first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or exception_of_user_code(error)


def missing(name: str, text: str) -> str:
    """Which extra of ours brings the package that an environment lacks."""
    for package, extra in EXTRAS.items():
        if package.lower() in text.lower() and find_spec(package) is None:
            return f'env={name} needs the extra "{extra}": pip install -c constraints.txt -e ".[{extra}]"'
    return f"env={name} cannot be made here: {text}"


def probe(env: EnvSettings) -> gym.Env:
    """Make one environment, check its spaces and reset it, before a run directory exists."""
    one = make_one(env)
    seen, done = (getattr(one, name, None) for name in ("observation_space", "action_space"))
    try:
        size, _ = observation_encoder(seen)  # type: ignore[arg-type]
        check_action_space(done)  # type: ignore[arg-type]
    except Refused as error:
        raise Refused(f"env={env.id}: {error}") from error
    if not size:
        raise Refused(
            f"env={env.id}: observation space {one.observation_space} has no entries; give it one, say 0"
        )
    if size > MOST:
        raise Refused(
            f"env={env.id}: its observations have {size:,} entries, and {MOST:,} is the most for a network"
        )
    refuse_images(env, one.observation_space, size)
    column = Loop(lambda: one, 1)
    try:
        column._reset([0])
    except ColumnFault as fault:
        raise Refused(f"env={env.id} cannot be reset: {fault.reason}") from fault.__cause__
    if not np.isfinite(column.obs).all():
        raise Refused(
            f"env={env.id} cannot be reset: observation is {column.obs[~np.isfinite(column.obs)][0]}"
        )
    return one


def refuse_images(env: EnvSettings, space: gym.Space[Any], size: int) -> None:
    """The networks here know nothing of pixels that are neighbours: that has to be wanted."""
    shape = image_shape(space)
    if shape and not env.flatten_images:
        raise Refused(
            f"env={env.id}: its observations are images of {' × '.join(map(str, shape))} bytes, and the "
            f"networks here take a flat vector: type env.flatten_images=true for one of {size:,} numbers, or "
            "wrap the environment to give features"
        )
    if env.flatten_images and not shape:
        raise Refused(f"env.flatten_images=true: env={env.id} gives no images; leave it out")
