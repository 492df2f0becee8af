"""Values by playing on from the states that were visited: no network, and no error but noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces

from pgrun.config.schema import PositiveInt
from pgrun.critics.base import Context, CriticSettings, Unfitted
from pgrun.envs.snapshot import can_be_read
from pgrun.envs.table import TableEnvs, keeps_to_table
from pgrun.envs.vector import Loop
from pgrun.errors import Mistake
from pgrun.exact import read_problem
from pgrun.rollouts.continuations import Continuations, Places
from pgrun.types import Rollout

if TYPE_CHECKING:
    from torch import Tensor


def has_end(env: gym.Env) -> bool:
    """Whether every episode has one: by a limit of steps, or since no state of its table comes twice."""
    if getattr(env.spec, "max_episode_steps", None) is not None:
        return True
    try:
        read_problem(env)
    except LookupError:
        return False
    return True


OF_EVERY_ACTION = ("all_actions", "action_baseline")


@dataclass(frozen=True)
class Vine(CriticSettings):
    """V̂(s) is the mean return of ``continuations`` new episodes from s (Schulman et al. 2015, §5.2: the vine;
    Kazemnejad et al. 2024: VinePPO, which is ``variance=td0``).

    The environment is put back to where it stood. V̂ knows nothing of what followed there, so every scheme
    that V leaves unbiased stays so, whatever the number: its noise is 1/K of a return's variance. The steps
    that this takes are environment steps like others, and counted in ``env_steps``.
    """

    continuations: PositiveInt = 4  # new episodes from each visited state
    optimizer: dict[str, Any] | None = None
    knows_q: ClassVar[bool] = True
    learns: ClassVar[bool] = False

    @classmethod
    def misfits(cls, settings: Mapping[str, Any], env: gym.Env | None) -> Iterator[Mistake]:
        if settings["reward_scaling"]:
            yield Mistake("critic", "vine", "sums rewards as they are", "add reward_scaling=false")
        if env is None:
            return
        sampler, limit = settings.get("sampler") or {}, getattr(env.spec, "max_episode_steps", None) or np.inf
        if sampler.get("at_cap") == "truncate" and (sampler["max_steps"] or np.inf) < limit:
            yield Mistake(
                "sampler.at_cap",
                "truncate",
                "critic=vine plays episodes to their own end, and knows nothing of what comes behind a cut",
                f"take env.max_episode_steps={sampler['max_steps']}, which ends them, or critic=fitted",
            )
        if settings["variance"]["name"] in OF_EVERY_ACTION and not isinstance(
            env.action_space, spaces.Discrete
        ):
            yield Mistake(
                "variance",
                settings["variance"]["name"],
                f"sums over actions, and those of env={settings['env']['id']} are {env.action_space}",
                "take variance=td0 or advantage",
            )
        if not has_end(env):
            yield Mistake(
                "critic",
                "vine",
                f"plays episodes to their end, and those of env={settings['env']['id']} may have none",
                "add env.max_episode_steps=1000",
            )
        name, vector = settings["env"]["id"], settings["env"].get("vector")
        if keeps_to_table(env) and vector in ("auto", "native") and not settings["env"].get("wrappers"):
            return
        if not can_be_read(env):
            yield Mistake(
                "critic",
                "vine",
                f"puts the environment back, and the state of env={name} cannot be read",
                "take a task of classic control or MuJoCo, or a tabular environment; or critic=fitted",
            )
        elif vector != "loop":
            yield Mistake(
                "critic", "vine", f"notes where each step of env={name} begins", "add env.vector=loop"
            )
        elif (settings.get("diagnostics") or {}).get("exact"):
            yield Mistake(
                "critic",
                "vine",
                "numbers the states, and so does diagnostics.exact",
                "leave env.vector=loop out",
            )

    def build(self, context: Context) -> VineCritic:
        envs = context.envs
        if isinstance(envs, TableEnvs):
            envs.follow_states()
        else:
            assert isinstance(envs, Loop)
            envs.keep_snapshots()
        return VineCritic(
            Continuations(context.policy, envs, context.gamma, context.noise), self.continuations
        )


class VineCritic(Unfitted):
    """V̂ and Q̂ of the time-limited problem: what comes after its end is 0."""

    def __init__(self, play: Continuations, times: int):
        self.play, self.times = play, times

    def values(self, rollout: Rollout) -> Tensor:
        """V̂(s) [T+1, N] of the states that a step begins from; 0 where the episode has ended."""
        assert rollout.state is not None, "the environments were not told to note their states"
        live = find_live_observations(rollout)
        value = rollout.reward.new_zeros(live.shape)
        value[live] = self.mean_return(locate_observations(rollout, live)).to(value)
        if isinstance(self.play.envs, Loop):
            self.play.envs.forget_snapshots(rollout.state.flatten().tolist())
        return value

    def action_values(self, rollout: Rollout) -> Tensor:
        """Q̂(s, a) = r + γV̂(s'): the reward that came and a new V̂."""
        return rollout.reward + self.play.gamma * self.values(rollout)[1:]

    def every_action_value(self, rollout: Rollout) -> Tensor:
        """Q̂(s, a) [T, N, A]: each action taken first, ``continuations`` times."""
        space = self.play.envs.action_space
        assert isinstance(space, spaces.Discrete)
        live = find_live_observations(rollout)
        live[-1] = False
        places, count = locate_observations(rollout, live), int(space.n)
        every = np.tile(np.arange(count), len(places.state))
        branched = places.repeated(count)
        q = self.mean_return(Places(branched.state, branched.time, branched.raw_obs, every))
        value = rollout.reward.new_zeros(*rollout.reward.shape, count)
        value[live[:-1]] = q.view(-1, count).to(value)
        return value

    def mean_return(self, places: Places) -> Tensor:
        """Of ``continuations`` episodes from each row [R]."""
        returns = self.play.play_on(places.repeated(self.times))
        return torch.from_numpy(returns).view(-1, self.times).mean(1)


def find_live_observations(rollout: Rollout) -> Tensor:
    """Whether an episode goes on from each observation [T+1, N]; behind whole episodes none does."""
    ended = torch.ones_like(rollout.ended[-1:]) if rollout.whole_episodes else rollout.ended[-1:]
    return torch.cat([rollout.mask > 0, ended == 0])


def locate_observations(rollout: Rollout, live: Tensor) -> Places:
    """Where the live observations are."""
    assert rollout.state is not None
    after = rollout.mask[-1:] * (rollout.time[-1:] + 1)
    time = torch.cat([rollout.time, after])
    return Places(*(x[live].cpu().numpy() for x in (rollout.state, time.long(), rollout.raw_obs)))
