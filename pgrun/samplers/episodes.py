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
from pgrun.samplers.base import OnPolicy
from pgrun.schema import PositiveInt
from pgrun.tracks import Finished, Track, columns
from pgrun.types import Rollout

CHUNK = 128  # steps whose noise is drawn at once


@dataclass
class Episodes(OnPolicy):
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
