"""Play a saved policy: the same sampler, policies and environments that training evaluates with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from pgrun.config import user_modules
from pgrun.config.random_streams import (
    SHARED_IN_EVALUATION,
    draw_env_seeds,
    isolating_global_generators,
    make_streams,
    spawn_child_sequence,
)
from pgrun.config.schema import construct_from_settings
from pgrun.config.settings import RunSettings, Trainer
from pgrun.envs import Envs, EnvSettings, make_envs
from pgrun.envs.faults import import_error
from pgrun.envs.film import Camera, make_filmed_column
from pgrun.envs.masks import mask_in
from pgrun.envs.wrappers import find_user_modules
from pgrun.errors import InvalidCommand, escape_line, join_lines
from pgrun.kernels import is_available
from pgrun.policies.families import Family, connect_actions
from pgrun.policies.normalization import NoRewardScale, NoStateNorm, RunningNorm
from pgrun.policies.policy import Network, Policy, distribution_for
from pgrun.rollouts.samplers.episodes import Evaluation
from pgrun.rollouts.trajectory import Finished
from pgrun.storage.saved_policy import Saved, load_saved_policy, restore_policy
from pgrun.terminal.portable_torch import set_torch_up
from pgrun.tools.play.camera import make_camera, name_film
from pgrun.tools.play.options import PlayOptions
from pgrun.tools.play.report import format_play_report
from pgrun.training.backends import twins_of
from pgrun.training.members import build_member, family_of
from pgrun.training.saver import refusing_bad_data

COLUMNS = 100  # environments at once, where more episodes are asked for than the run's evaluation has


@dataclass(frozen=True)
class Role:
    """What the configuration of a run says of playing it."""

    env: EnvSettings
    network: Network
    family: Family
    top: RunSettings
    episodes: int  # of an evaluation
    max_steps: int | None  # of one of its episodes


def play_policy(wish: PlayOptions) -> str:
    """What came out, for the terminal. Raises ``InvalidCommand``."""
    saved, finished, films = play_episodes(wish)
    return format_play_report(wish, saved, finished, films)


def play_episodes(wish: PlayOptions) -> tuple[Saved, Finished, list[Path]]:
    """(the saved policy, return and length of each episode, films). Raises ``InvalidCommand``."""
    saved = load_saved_policy(wish.run, wish.policy)
    torch.set_grad_enabled(False)
    import_modules(wish.modules)
    role = load_role(saved, wish)
    set_torch_up(min(role.top.threads, os.cpu_count() or 1))
    seed = role.top.seed if wish.seed is None else wish.seed
    random = make_streams(seed, "cpu")
    episodes = wish.episodes or (1 if wish.pictures else role.episodes)
    seeds = draw_env_seeds(random.evaluation, episodes)
    noise = random.noise if wish.stochastic else None
    camera = make_camera(wish, episodes) if wish.pictures else None
    with isolating_global_generators(spawn_child_sequence(seed, SHARED_IN_EVALUATION)):
        if camera is None:
            finished = play_unseen(saved, role, seeds, noise)
        else:
            finished = play_before_camera(saved, role, camera, seeds, noise)
    return saved, finished, camera.files if camera else []


def export_policy(wish: PlayOptions) -> str:
    """Write the policy to ``wish.export``; what is in the file. Raises ``InvalidCommand``."""
    from pgrun.tools.play.export_onnx import write_onnx

    assert wish.export is not None
    saved = load_saved_policy(wish.run, wish.policy)
    import_modules(wish.modules)
    role = load_role(saved, wish)
    envs = make_envs(role.env, 1)
    try:
        policy = make_acting_policy(replace(saved, backend="torch"), role, envs)
        return write_onnx(wish.export, policy, envs)
    finally:
        envs.close()


def import_modules(names: tuple[str, ...]) -> None:
    """Code of the user's, which a run directory may name but only the command line may load."""
    for name in names:
        try:
            user_modules.import_user_module(name)
        except (Exception, SystemExit) as error:
            raise InvalidCommand("--modules", name, import_error(name, error)) from error


def load_role(saved: Saved, wish: PlayOptions) -> Role:
    config, where = saved.config, saved.folder
    try:
        env = construct_from_settings(EnvSettings, config["env"])
        top = construct_from_settings(
            RunSettings, {key: config[key] for key in ("seed", "threads", "state_norm")}
        )
        trainer = construct_from_settings(Trainer, config["trainer"])
        name = escape_line(str(config["network"]["name"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidCommand(
            where, None, f"its configuration cannot be read: {type(error).__name__}: {join_lines(error)}"
        ) from error
    return Role(
        env=replace(env, id=choose_env_id(env.id, wish), wrappers=wrappers_named_again(env.wrappers, wish)),
        network=network_of(saved, name, wish),
        family=family_in(saved, wish),
        top=top,
        episodes=trainer.eval_episodes,
        max_steps=wish.max_steps or trainer.eval_max_steps,
    )


def network_of(saved: Saved, name: str, wish: PlayOptions) -> Network:
    theirs = saved.config.get("modules") or ()
    again = "".join(f" --modules {module}" for module in theirs)
    try:
        network = build_member({**saved.config, "modules": wish.modules}, "network")
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        hint = f"; it was trained with code of yours: add{again}" if again and not wish.modules else ""
        raise InvalidCommand(
            saved.folder, None, f"its network={name} cannot be built: {join_lines(error)}{hint}"
        ) from error
    if not isinstance(network, Network):
        raise InvalidCommand(saved.folder, None, f"its network={name} is no network of pgrun's")
    return network


def family_in(saved: Saved, wish: PlayOptions) -> Family:
    with refusing_bad_data(f"{saved.folder}: its policy={saved.config.get('policy')} cannot be built"):
        family = family_of({**saved.config, "modules": wish.modules})
        if not isinstance(family, Family):
            raise TypeError("it is no policy of pgrun's")
    return family


def choose_env_id(theirs: str, wish: PlayOptions) -> str:
    """The run's own, or the same named again with its module: only the command line may import one."""
    theirs = escape_line(theirs)
    if wish.env is None:
        if ":" in theirs:
            raise InvalidCommand(
                wish.run,
                None,
                f"was trained on env={theirs}, which imports a module",
                f"name it again: --env {theirs}",
            )
        return theirs
    if wish.env.rpartition(":")[2] != theirs.rpartition(":")[2]:
        raise InvalidCommand("--env", wish.env, f"{wish.run} was trained on env={theirs}")
    return wish.env


def wrappers_named_again(theirs: tuple[Any, ...], wish: PlayOptions) -> tuple[Any, ...]:
    """The run's own. Those of the user's are in modules that the command has to name."""
    if unnamed := [name for name in find_user_modules(theirs) if name not in wish.modules]:
        again = "".join(f" --modules {escape_line(name)}" for name in unnamed)
        raise InvalidCommand(
            wish.run, None, "was trained in wrappers of yours", f"name them again: add{again}"
        )
    return theirs


def make_acting_policy(saved: Saved, role: Role, envs: Envs) -> Policy:
    """The saved policy for these environments."""
    mask = mask_in(envs, role.env.action_mask)
    norm = RunningNorm(envs.obs_size, left_alone=mask) if role.top.state_norm else NoStateNorm()
    norm.widen_observations(envs)
    dist = distribution_for(envs.action_space, role.family, role.network.log_std)
    connect_actions(dist, envs)
    with refusing_bad_data(f"{saved.folder}: its network cannot be built"):
        policy = role.network.policy(
            envs.obs_size, dist, norm, saved.value_head, torch.Generator(), mask=mask
        )
    restore_policy(policy, saved)
    return twins_of("compiled").policy(policy) if saved.backend == "compiled" and is_available() else policy


class Shown(Evaluation):
    """An evaluation of which another command speaks."""

    setting = "--max-steps"

    def _advice(self) -> str:
        return "add --max-steps 1000"


def make_sampler(episodes: int, role: Role) -> Shown:
    return Shown.of(episodes, role.max_steps)


def play_unseen(saved: Saved, role: Role, seeds: list[int], noise: torch.Generator | None) -> Finished:
    """The episodes that were played, as training evaluates: with as many columns, so that the run's own seeds
    give the run's own figure.
    """
    envs = make_envs(role.env, min(len(seeds), max(role.episodes, COLUMNS)))
    try:
        policy = make_acting_policy(saved, role, envs)
        return make_sampler(len(seeds), role).collect(policy, envs, noise, NoRewardScale(), seeds)[1]
    finally:
        envs.close()


def play_before_camera(
    saved: Saved, role: Role, camera: Camera, seeds: list[int], noise: torch.Generator | None
) -> Finished:
    """One episode after the other, in an environment that draws itself."""
    envs = make_filmed_column(role.env, camera)
    try:
        policy = make_acting_policy(saved, role, envs)
        return list(iterate_scenes(policy, envs, camera, seeds, noise, role))
    finally:
        camera.shown.close()
        envs.close()


def iterate_scenes(
    policy: Policy, envs: Envs, camera: Camera, seeds: list[int], noise: torch.Generator | None, role: Role
) -> Iterator[tuple[float, int]]:
    one = make_sampler(1, role)
    for i, seed in enumerate(seeds):
        with camera.episode(name_film(i)):
            _, finished = one.collect(policy, envs, noise, NoRewardScale(), [seed])
        yield from finished
