"""What is frozen: a fresh network, a table of logits, or the policy of a run, loaded as data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import torch

from pgrun.config.schema import Probability, coerce, construct_from_settings
from pgrun.envs import EnvSettings
from pgrun.envs.masks import is_masked, mask_in
from pgrun.envs.problems.teaching import Tabular
from pgrun.envs.spaces import observation_encoder
from pgrun.errors import InvalidCommand
from pgrun.exact import Problem, read_problem
from pgrun.policies.gsde import GsdeGaussian
from pgrun.policies.normalization import NoStateNorm, RunningNorm
from pgrun.policies.policy import Network, Policy, distribution_for
from pgrun.storage.saved_policy import Saved, load_saved_policy, restore_policy
from pgrun.tools.study.exact_ascent import climb_to_share
from pgrun.tools.study.settings import Study, Table
from pgrun.training.members import build_member, family_of
from pgrun.training.saver import refusing_bad_data

if TYPE_CHECKING:
    from torch import Tensor


GAMMA = 0.99


def resolve_saved_run(settings: Mapping[str, Any]) -> tuple[dict[str, Any], Saved | None]:
    """The settings with what a run brings: its environment, network and γ."""
    if settings["run"] is None:
        gamma = GAMMA if settings["gamma"] is None else settings["gamma"]
        return {**settings, "gamma": gamma}, None
    saved = load_saved_policy(settings["run"], typed="run=")
    theirs = saved.config
    with refusing_bad_data(f"run={settings['run']}: its configuration cannot be read"):
        resolved = {
            **settings,
            "gamma": coerce(theirs["gamma"] if settings["gamma"] is None else settings["gamma"], Probability),
            "env": {**theirs["env"], "num_envs": settings["env"]["num_envs"]},
            "network": theirs["network"],
        }
        construct_from_settings(EnvSettings, resolved["env"])
        if not isinstance(build_member(resolved, "network"), Network) or not isinstance(
            theirs["state_norm"], bool
        ):
            raise ValueError(f"network={theirs['network']}, state_norm={theirs['state_norm']}")
    return resolved, saved


def find_tabular_problem(env: gym.Env) -> Problem | None:
    """The table that an environment publishes, where the policy sees its states one by one."""
    try:
        problem = read_problem(env)
    except LookupError:
        return None
    space = env.observation_space
    sees = isinstance(space, gym.spaces.Discrete) and (space.n, space.start) == (problem.observations, 0)
    return problem if sees else None


def freeze_policy(
    settings: Mapping[str, Any], saved: Saved | None, env: gym.Env, init: torch.Generator
) -> tuple[Policy, Network]:
    """(the policy, the network that a critic of it has); ``settings`` are resolved."""
    size, _ = observation_encoder(env.observation_space)
    mask = mask_in(env, is_masked(env))
    family = None if saved is None else family_of({**saved.config, "modules": settings["modules"]})
    wanted = propose_table(construct_from_settings(Table, settings["policy"]), env)
    if saved is not None:
        network = build_member(settings, "network")
        dist = distribution_for(env.action_space, family, network.log_std)
        if isinstance(dist, GsdeGaussian) and dist.hold != 1:
            raise InvalidCommand(
                "run", saved.folder, "its policy=gsde holds its noise, and a study draws it for every step"
            )
        norm = RunningNorm(size, left_alone=mask) if saved.config["state_norm"] else NoStateNorm()
        with refusing_bad_data(f"run={saved.folder}: its network cannot be built"):
            policy = network.policy(size, dist, norm, saved.value_head, init, mask=mask)
        restore_policy(policy, saved, "run=")
        return policy, network
    dist = distribution_for(env.action_space)
    if not wanted.wanted:
        network = build_member(settings, "network")
        return network.policy(size, dist, NoStateNorm(), False, init, mask=mask), network
    network = Network(hidden=(), bias=False)
    policy = network.policy(size, dist, NoStateNorm(), False, init, torch.float64)
    policy.theta.copy_(table_logits(wanted.theta, size, dist.linear))
    if wanted.ascent is not None:
        climb_to_share(policy, read_problem(env), settings["gamma"], wanted.ascent)
    return policy, network


def propose_table(given: Table, env: gym.Env) -> Table:
    """The policy that a teaching environment comes with (``env.kwargs.theta``), where
    no other is asked for.
    """
    inner = env.unwrapped
    theirs = inner.theta if isinstance(inner, Tabular) else None
    return given if given.wanted or theirs is None else replace(given, theta=theirs)


def table_logits(theta: Any, states: int, actions: int) -> Tensor:
    """W [A, S] flat, as the network without hidden layers has it, from logits [S·A] state by state, or
    π(action 0) of two.
    """
    if theta is None:
        return torch.zeros(actions * states, dtype=torch.float64)
    if isinstance(theta, int | float):
        row = torch.tensor([math.log(theta), math.log1p(-theta)], dtype=torch.float64)
        return row[:, None].expand(-1, states).flatten()
    return torch.tensor(theta, dtype=torch.float64).view(states, actions).T.flatten()


def find_wrong_theta(theta: Any, states: int, actions: int) -> str | None:
    """What is wrong with ``policy.theta`` here."""
    if theta is None:
        return None
    if isinstance(theta, int | float) and not isinstance(theta, bool):
        if actions != 2:
            return (
                f"a single number is π(action 0) of two actions, and there are {actions}: give a list of "
                "logits"
            )
        return None if 0 < theta < 1 else "must be in (0, 1): the probability of action 0 in every state"
    flat = isinstance(theta, list | tuple) and all(
        isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x) for x in theta
    )
    if flat and len(theta) == states * actions:
        return None
    return (
        f"must be a number, or a list of {states * actions} logits: {states} states × {actions} actions, "
        "state by state"
    )


def settings_of(study: Study, settings: Mapping[str, Any]) -> EnvSettings:
    """No more columns than episodes are played at once."""
    env = construct_from_settings(EnvSettings, settings["env"])
    return replace(env, num_envs=min(env.num_envs, study.episodes))
