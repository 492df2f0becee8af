"""Collecting rollouts: T steps of N environments, or whole episodes.

Acting needs the actor alone; distribution parameters and log-probabilities come from one forward over the whole
rollout afterwards, which is exact: neither θ nor the normaliser has moved. Noise is drawn for many steps at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from pgrun.envs import Envs
from pgrun.errors import Refused
from pgrun.normalise import RewardScale, UnitScale
from pgrun.policies import Actor, Policy
from pgrun.schema import PositiveInt
from pgrun.types import Rollout

CHUNK = 128  # steps of whole episodes whose noise is drawn at once

Finished = list[tuple[float, int]]  # undiscounted return and length of each episode that ended


@dataclass
class Track:
    """What was seen and done, step by step, every entry over the N environments."""

    obs: list[np.ndarray] = field(default_factory=list)
    action: list[np.ndarray] = field(default_factory=list)
    reward: list[np.ndarray] = field(default_factory=list)
    terminated: list[np.ndarray] = field(default_factory=list)
    truncated: list[np.ndarray] = field(default_factory=list)

    def step(self, actor: Actor, envs: Envs, noise: Tensor | None) -> None:
        obs = envs.obs.copy()
        action = actor(obs, noise)
        reward, terminated, truncated = envs.step(action)
        self.obs.append(obs)
        self.action.append(action)
        self.reward.append(reward)
        self.terminated.append(terminated)
        self.truncated.append(truncated)


@dataclass
class Arrays:
    """A rollout before it becomes tensors: obs [T+1, N, D], the rest [T, N, …]."""

    obs: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    ended: np.ndarray
    mask: np.ndarray
    time: np.ndarray

    def seal(self, policy: Policy, scale: RewardScale | UnitScale, count: float, whole: bool) -> Rollout:
        """Normalise, scale, and evaluate π_old once for all rows."""
        like = policy.theta
        raw_obs, raw_reward, terminated, ended, mask, time = (
            torch.from_numpy(np.ascontiguousarray(x)).to(like.device, like.dtype)
            for x in (self.obs, self.reward, self.terminated, self.ended, self.mask, self.time)
        )
        action = torch.from_numpy(self.action).to(like.device)
        obs = policy.normaliser(raw_obs)
        params = policy.params(obs[:-1])
        return Rollout(
            obs=obs,
            action=action,
            log_prob=policy.dist.log_prob(params, action),
            params=params,
            reward=scale(raw_reward),
            terminated=terminated,
            ended=ended,
            mask=mask,
            time=time,
            raw_obs=raw_obs,
            raw_reward=raw_reward,
            count=float(count),
            whole_episodes=whole,
        )


@dataclass
class Steps:
    """``steps`` steps of every environment, going on where the last rollout stopped; count = T·N."""

    steps: PositiveInt = 128
    name: ClassVar[str] = "steps"

    def collect(
        self,
        policy: Policy,
        envs: Envs,
        generator: torch.Generator,
        scale: RewardScale | UnitScale,
    ) -> tuple[Rollout, Finished]:
        """A rollout, and the episodes that ended in it."""
        was_ended = envs.ended
        noise = policy.dist.noise((self.steps, envs.num_envs), generator, policy.theta.dtype)
        track, actor = Track(), policy.actor()
        for row in noise:
            track.step(actor, envs, row)
        terminated = np.stack(track.terminated)
        ended = terminated | np.stack(track.truncated)
        mask = ~np.concatenate([was_ended[None], ended[:-1]])
        time = clock(mask, envs.time)
        arrays = Arrays(
            obs=np.stack([*track.obs, envs.obs]),
            action=np.stack(track.action),
            reward=np.stack(track.reward),
            terminated=terminated,
            ended=ended,
            mask=mask,
            time=time[:-1],
        )
        finished = tally(arrays, envs)
        envs.time = time[-1]
        return arrays.seal(policy, scale, self.steps * envs.num_envs, whole=False), finished


@dataclass
class Episodes:
    """``episodes`` whole episodes, one a column: each environment plays a fixed share, however long they last.

    Never "the first N to finish", which favours short ones. count = episodes. An episode of more than ``max_steps``
    steps is an error, not a hang.
    """

    episodes: PositiveInt = 16
    max_steps: PositiveInt = 100_000
    name: ClassVar[str] = "episodes"

    def collect(
        self,
        policy: Policy,
        envs: Envs,
        generator: torch.Generator | None,
        scale: RewardScale | UnitScale,
        seeds: list[int] | None = None,
    ) -> tuple[Rollout, Finished]:
        """A rollout and its episodes. Without a generator the policy acts by its mode."""
        envs.reset(seeds)
        share = np.full(envs.num_envs, self.episodes // envs.num_envs)
        share[: self.episodes % envs.num_envs] += 1
        track = self._play(policy, envs, generator, share)
        arrays = columns(track, envs.obs, share)
        rollout = arrays.seal(policy, scale, self.episodes, whole=True)
        lengths = arrays.mask.sum(0).tolist()
        return rollout, list(zip(arrays.reward.sum(0).tolist(), lengths, strict=True))

    def _play(
        self, policy: Policy, envs: Envs, generator: torch.Generator | None, share: np.ndarray
    ) -> Track:
        track, actor, noise = Track(), policy.actor(), None
        done = np.zeros(envs.num_envs, np.int64)
        last_end = np.zeros(envs.num_envs, np.int64)
        envs.active = done < share
        for t in range(self.max_steps * int(share.max())):
            if generator is not None and t % CHUNK == 0:
                noise = policy.dist.noise((CHUNK, envs.num_envs), generator, policy.theta.dtype)
            track.step(actor, envs, None if noise is None else noise[t % CHUNK])
            done += envs.ended
            last_end[envs.ended] = t
            envs.active = done < share
            if not envs.active.any():
                return track
            if t - last_end[envs.active].min() > self.max_steps:
                break
        raise Refused(
            f"an episode did not end within sampler.max_steps={self.max_steps} steps: "
            "set env.max_episode_steps, or use sampler=steps"
        )


def clock(mask: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Steps since the episode's start for rows 0…T of [T, N], given those of row 0; a row with mask 0 resets it."""
    steps = np.arange(len(mask) + 1)[:, None]
    last_reset = np.maximum.accumulate(np.where(mask, -1 - start, steps[:-1]))
    return np.maximum(steps - np.concatenate([last_reset, last_reset[-1:]]) - 1, 0)


def tally(arrays: Arrays, envs: Envs) -> Finished:
    """The episodes that ended; what is under way is kept in ``envs.episode_return``."""
    total = arrays.reward.cumsum(0)
    base = -envs.episode_return
    finished: Finished = []
    for t, n in zip(*np.nonzero(arrays.ended), strict=True):
        finished.append((float(total[t, n] - base[n]), int(arrays.time[t, n]) + 1))
        base[n] = total[t, n]
    envs.episode_return = total[-1] - base
    return finished


def columns(track: Track, last_obs: np.ndarray, share: np.ndarray) -> Arrays:
    """Cut each environment's track into its episodes, one a column, padded with rows of mask 0."""
    terminated = np.stack(track.terminated)
    ended = terminated | np.stack(track.truncated)
    obs, action = np.stack([*track.obs, last_obs]), np.stack(track.action)
    reward = np.stack(track.reward)
    spans = []  # (environment, first row, row after the last)
    for n, wanted in enumerate(share):
        start = 0
        for end in np.nonzero(ended[:, n])[0][:wanted]:
            spans.append((n, start, end + 1))
            start = end + 2  # the row after the end only resets
    steps, width = max(stop - start for _, start, stop in spans), len(spans)
    out = Arrays(
        obs=np.zeros((steps + 1, width, *obs.shape[2:]), obs.dtype),
        action=np.zeros((steps, width, *action.shape[2:]), action.dtype),
        reward=np.zeros((steps, width)),
        terminated=np.zeros((steps, width), bool),
        ended=np.zeros((steps, width), bool),
        mask=np.zeros((steps, width), bool),
        time=np.zeros((steps, width), np.int64),
    )
    for column, (n, start, stop) in enumerate(spans):
        length = stop - start
        out.obs[: length + 1, column] = obs[start : stop + 1, n]
        for name, source in (("action", action), ("reward", reward), ("terminated", terminated)):
            getattr(out, name)[:length, column] = source[start:stop, n]
        out.ended[length - 1, column] = True
        out.mask[:length, column] = True
        out.time[:length, column] = np.arange(length)
    return out
