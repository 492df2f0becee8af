"""Collecting rollouts: T steps of N environments, or whole episodes.

Acting needs the actor alone; distribution parameters and log-probabilities come from one forward over the whole
rollout afterwards, which is exact: neither θ nor the normaliser has moved. Noise is drawn for many steps at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import ClassVar

import numpy as np
import torch

from pgrun.envs import Envs
from pgrun.errors import Refused
from pgrun.normalise import RewardScale, UnitScale
from pgrun.policies import Policy
from pgrun.schema import PositiveInt
from pgrun.tracks import Finished, Track, columns, tally
from pgrun.types import Rollout

CHUNK = 128  # steps of whole episodes whose noise is drawn at once


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
        arrays = track.arrays(envs, was_ended)
        finished = tally(arrays, envs)
        envs.time = np.where(arrays.mask[-1], arrays.time[-1] + 1, 0)
        return arrays.seal(policy, scale, self.steps * envs.num_envs, whole=False), finished


@dataclass
class Episodes:
    """``episodes`` whole episodes, one a column: each environment plays a fixed share, however long they last.

    Never "the first N to finish", which favours short ones. count = episodes. An episode of more than ``max_steps``
    steps is an error, not a hang.
    """

    episodes: PositiveInt = 16
    max_steps: PositiveInt = 10_000
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
        arrays = columns(track.arrays(envs, np.zeros_like(envs.ended)), share)
        envs.episodes += share
        rollout = arrays.seal(policy, scale, self.episodes, whole=True)
        lengths = arrays.mask.sum(0).tolist()
        return rollout, list(zip(arrays.reward.sum(0).tolist(), lengths, strict=True))

    def _play(
        self, policy: Policy, envs: Envs, generator: torch.Generator | None, share: np.ndarray
    ) -> Track:
        track, actor, noise = Track(), policy.actor(), None
        done = np.zeros(envs.num_envs, np.int64)
        length = np.zeros(envs.num_envs, np.int64)
        envs.active = done < share
        for t in count():
            if generator is not None and t % CHUNK == 0:
                noise = policy.dist.noise((CHUNK, envs.num_envs), generator, policy.theta.dtype)
            length = np.where(envs.ended, 0, length + 1)
            track.step(actor, envs, None if noise is None else noise[t % CHUNK])
            done += envs.ended
            envs.active = done < share
            if not envs.active.any():
                break
            if (envs.active & ~envs.ended & (length >= self.max_steps)).any():
                raise Refused(
                    f"an episode was still going after {self.max_steps} steps: set env.max_episode_steps"
                )
        return track
