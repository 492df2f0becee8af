"""Environments by name, with errors that say what to install or type."""

from __future__ import annotations

import difflib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from typing import Any, Literal

import gymnasium as gym
import numpy as np

from pgrun.config import user_modules
from pgrun.config.pages import install_command
from pgrun.config.schema import PositiveInt
from pgrun.envs.faults import ColumnFault, exception_of_user_code, format_exception, import_error
from pgrun.envs.masks import with_masks
from pgrun.envs.parallel import Parallel
from pgrun.envs.problems.registration import registry
from pgrun.envs.simulated import Simulated, simulation_of
from pgrun.envs.snapshot import can_be_read
from pgrun.envs.spaces import check_action_space, image_shape, observation_encoder
from pgrun.envs.table import TableEnvs, check_table, differs_from_twin, has_table, keeps_to_table
from pgrun.envs.vector import Envs, Loop, Native
from pgrun.envs.versions import newest_version, version_of
from pgrun.envs.wrappers import wrap_env
from pgrun.errors import InvalidCommand
from pgrun.kernels import is_available

COMPILED = (  # programs of our own: pgrun.envs.program
    "CartPole-v1",
    "Pendulum-v1",
    "MountainCar-v0",
    "MountainCarContinuous-v0",
    "Acrobot-v1",
)
log = logging.getLogger(__name__)
EXTRAS = {"Box2D": "box2d", "mujoco": "mujoco"}
MOST = 10_000_000  # entries of an observation
NATIVE = ("CartPole-v1",)  # gymnasium's own vector programs that behave exactly like their single environment


@dataclass(frozen=True)
class EnvSettings:
    id: str  # as it is registered with gymnasium, or module:Id
    num_envs: PositiveInt  # columns: environments at once
    max_episode_steps: PositiveInt | None = None  # null: the environment's own limit
    kwargs: dict[str, Any] = field(default_factory=dict)  # what its constructor is given
    flatten_images: bool = False  # into vectors, where observations are images
    vector: Literal["auto", "loop", "native", "async"] = "auto"  # how columns are stepped together
    wrappers: tuple[Any, ...] = ()  # around each environment: names, or {name:NAME,argument:value}
    action_mask: bool = False  # forbid the actions that the environment's mask does not allow
    restart: bool = False  # a resumed run may begin episodes anew, where those under way cannot be had again


def make_envs(env: EnvSettings, num_envs: int, role: str = "") -> Envs:
    """``num_envs`` columns of ``env``, not yet reset; ``role``: said after the name in messages."""
    envs = choose_columns(env, num_envs)
    envs.name = f"env={env.id}{role}"
    return envs


def choose_columns(env: EnvSettings, num_envs: int) -> Envs:
    one = make_one(env)
    if env.vector == "async":
        return Parallel(partial(make_one, env), one, num_envs)
    if env.vector != "loop":
        if has_program(env, one):
            return make_env_program(env, one, num_envs)
        if keeps_to_table(one) and not env.wrappers:
            return TableEnvs(one, num_envs)
    refuse_absent_program(env, one)
    made = [one]
    kind = Simulated if env.vector == "auto" and simulation_of(one) else Loop
    return kind(lambda: made.pop() if made else make_one(env), num_envs)


def list_program_envs() -> tuple[str, ...]:
    """Environments of which all columns are stepped in one program."""
    return COMPILED if is_available() else NATIVE


def has_program(env: EnvSettings, one: gym.Env) -> bool:
    """Whether ``one`` is such an environment, and not something else that was registered under its name."""
    return env.id in list_program_envs() and not (env.kwargs or env.wrappers) and can_be_read(one)


def make_env_program(env: EnvSettings, one: gym.Env, num_envs: int) -> Envs:
    if is_available():
        from pgrun.envs.program import Program

        return Program(one, num_envs)
    limit: dict[str, Any] = {"max_episode_steps": env.max_episode_steps} if env.max_episode_steps else {}
    return Native(gym.make_vec(env.id, num_envs, **limit))


def refuse_absent_program(env: EnvSettings, one: gym.Env) -> None:
    """Raises ``InvalidCommand`` where the user insists on a program for all columns and there is none."""
    if env.vector != "native" or has_program(env, one) or (keeps_to_table(one) and not env.wrappers):
        return
    why = f"env={env.id} has none"
    if env.wrappers:
        why = "env.wrappers are around each environment"
    elif env.action_mask:
        why = "with env.action_mask=true there is none"
    elif env.id in list_program_envs() and env.kwargs:
        why = f"that of env={env.id} knows no env.kwargs"
    elif env.id in COMPILED and env.id not in list_program_envs():
        why = f"that of env={env.id} needs numba, which is not installed"
    raise InvalidCommand(
        "env.vector",
        "native",
        f"one program for all columns is wanted, and {why}",
        "leave env.vector out, or type env.vector=loop",
    )


def refuse_needless_processes(env: EnvSettings, one: gym.Env) -> None:
    """Raises ``InvalidCommand`` where columns are asked for in processes and are one program already."""
    if env.vector == "async" and (has_program(env, one) or has_table(one)):
        raise InvalidCommand(
            "env.vector",
            "async",
            f"a process would take longer to be asked than all columns of env={env.id} to be stepped here",
            "leave env.vector out",
        )


def refuse_random_table(env: EnvSettings, one: gym.Env) -> None:
    """Raises ``InvalidCommand`` where each environment of these settings draws a table of its own."""
    if has_table(one) and one.spec is not None and one.spec.kwargs and differs_from_twin(one, make_one(env)):
        raise InvalidCommand(
            "env",
            f"{env.id} with env.kwargs={env.kwargs}",
            "is another problem each time it is made: training, evaluation and a resumed run would differ",
            "give its map, say 'env.kwargs.desc=[SFFF,FHFH,FFFH,HFFG]'",
        )


def make_one(env: EnvSettings, **kwargs: Any) -> gym.Env:
    """One gymnasium environment, or ``InvalidCommand`` with the reason."""
    require_registered(env.id)
    limit = {"max_episode_steps": env.max_episode_steps} if env.max_episode_steps else {}
    try:
        with warnings.catch_warnings(record=True) as caught, silencing_deprecations(env.id):
            one = gym.make(env.id, disable_env_checker=True, **limit, **env.kwargs, **kwargs)
            if has_table(one):
                check_table(one)
            one = wrap_env(one, env.wrappers)
            if env.action_mask:
                one = with_masks(one, env.id)
        for warning in caught:  # of a refused one they would stand before the reason
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        return one
    except (ImportError, gym.error.DependencyNotInstalled) as error:
        raise InvalidCommand("env", env.id, explain_missing_package(env.id, first_line(error))) from error
    except gym.error.Error as error:
        raise InvalidCommand("env", env.id, first_line(error)) from error
    except InvalidCommand:
        raise
    except (Exception, SystemExit) as error:
        given = f" with env.kwargs={env.kwargs}" if env.kwargs else ""
        said = format_exception(error) if env.id.startswith("pgrun/") else exception_of_user_code(error)
        raise InvalidCommand("env", f"{env.id}{given}", f"cannot be made: {said}") from error


@contextmanager
def silencing_deprecations(name: str) -> Iterator[None]:
    """Meanwhile MuJoCo says nothing of deprecations, where ``name`` is gymnasium's own task.

    MuJoCo 3.16 and later say on the screen that what gymnasium's own models are written in will go: nothing
    that a user can change.
    """
    spec = registry.get(name)
    if (
        spec is None
        or not str(spec.entry_point).startswith("gymnasium.envs.mujoco.")
        or not find_spec("mujoco")
    ):
        yield
        return
    import mujoco

    mujoco.set_mju_user_warning(lambda text: None if "deprecated" in str(text) else log.warning("%s", text))
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(None)


def require_registered(name: str) -> None:
    """Refuse an id that is not registered, naming the nearest ones; imports ``module:Id``'s module."""
    module, _, name = name.rpartition(":")
    if module:
        try:
            imported = user_modules.import_user_module(module)
        except (Exception, SystemExit) as error:
            raise InvalidCommand("env", f"{module}:{name}", import_error(module, error)) from error
    if name in registry:
        return
    if module and isinstance(getattr(imported, name, None), type):
        code = f'gymnasium.register("{name}-v0", entry_point="{module}:{name}")'
        raise InvalidCommand(
            "env",
            f"{module}:{name}",
            f"{name} is a class, and an id is needed",
            f"put {code} into {module} and type env={module}:{name}-v0",
        )
    near = difflib.get_close_matches(name, list(registry), n=3, cutoff=0.5)
    hint = f"nearest: {', '.join(near)}" if near else "gymnasium.pprint_registry() lists all ids"
    if newest := newest_version(name, registry):
        hint = f"type env={module}{':' * bool(module)}{newest}"
    looked = f": {module} was imported and registered nothing of that name" if module else ""
    raise InvalidCommand("env", name, f"not registered with gymnasium{looked}; {hint}")


def first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or exception_of_user_code(error)


def explain_missing_package(name: str, text: str) -> str:
    """Which extra of ours brings the package that an environment lacks."""
    for package, extra in EXTRAS.items():
        if package.lower() in text.lower() and find_spec(package) is None:
            return f'needs the extra "{extra}": {install_command(extra)}'
    newest = newest_version(name, registry)
    instead = f"; type env={newest}" if newest and version_of(newest) > version_of(name) else ""
    return f"cannot be made here: {text}{instead}"


def make_probed_env(env: EnvSettings) -> gym.Env:
    """Make one environment, check its spaces and reset it, before a run directory exists."""
    one = make_one(env)
    seen, done = (getattr(one, name, None) for name in ("observation_space", "action_space"))
    try:
        size, _ = observation_encoder(seen)  # type: ignore[arg-type]
        check_action_space(done)  # type: ignore[arg-type]
    except InvalidCommand as error:
        raise InvalidCommand("env", env.id, error) from error
    if not size:
        raise InvalidCommand(
            "env", env.id, f"observation space {one.observation_space} has no entries", "give it one, say 0"
        )
    if size > MOST:
        raise InvalidCommand(
            "env", env.id, f"its observations have {size:,} entries, and {MOST:,} is the most for a network"
        )
    refuse_images(env, one.observation_space, size)
    refuse_absent_program(env, one)
    refuse_needless_processes(env, one)
    refuse_random_table(env, one)
    column = Loop(lambda: one, 1)
    try:
        column._reset([0])
    except ColumnFault as fault:
        raise InvalidCommand("env", env.id, f"cannot be reset: {fault.reason}") from fault.__cause__
    if not np.isfinite(column.obs).all():
        raise InvalidCommand(
            "env", env.id, f"cannot be reset: observation is {column.obs[~np.isfinite(column.obs)][0]}"
        )
    return one


def refuse_images(env: EnvSettings, space: gym.Space[Any], size: int) -> None:
    """Networks but ``cnn`` know nothing of pixels that are neighbours: that has to be wanted."""
    shape = image_shape(space)
    if shape and not env.flatten_images:
        raise InvalidCommand(
            "env",
            env.id,
            f"its observations are images of {' × '.join(map(str, shape))} bytes, and this network "
            "takes a flat vector",
            f"take network=cnn or shared_cnn; or type env.flatten_images=true for one of {size:,} numbers",
        )
    if env.flatten_images and not shape:
        raise InvalidCommand(
            "env.flatten_images",
            "true",
            f"env={env.id} gives no images",
            "leave it out (network=cnn is for images of bytes, and means it)",
        )
