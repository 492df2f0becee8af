from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from pgrun.config.schema import PositiveInt
from pgrun.envs import Envs
from pgrun.policies.normalization import NoRewardScale, RewardScale
from pgrun.policies.policy import Policy
from pgrun.rollouts.samplers.base import (
    OnPolicy,
    advance_recorder,
    draw_noise,
    find_device_player,
    find_player,
)
from pgrun.rollouts.trajectory import Arrays, Finished, Recorder, finished_episodes
from pgrun.types import Rollout

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Steps(OnPolicy):
    """``steps`` steps of every environment, going on where the last rollout stopped; count = T·N."""

    steps: PositiveInt = 128  # of every environment, in a rollout
    name: ClassVar[str] = "steps"

    def collect(
        self, policy: Policy, envs: Envs, generator: torch.Generator, scale: RewardScale | NoRewardScale
    ) -> tuple[Rollout, Finished]:
        """A rollout, and the episodes that ended in it."""
        noise = draw_noise(policy, self.steps, envs.num_envs, generator)
        count = self.steps * envs.num_envs
        player = find_device_player(policy, envs) or find_player(policy, envs)
        if player:
            return player.play_steps(noise, scale, count)
        arrays, finished = self._play(policy, envs, noise)
        return arrays.to_rollout(policy, scale, count, whole=False), finished

    def _play(self, policy: Policy, envs: Envs, noise: Tensor) -> tuple[Arrays, Finished]:
        track, actor = Recorder(envs, len(noise)), policy.actor()
        while track.rows < len(noise):
            advance_recorder(track, actor, envs, noise[track.rows :], len(noise) - track.rows)
        arrays = track.arrays(envs)
        finished = finished_episodes(arrays, envs)
        envs.time = np.where(arrays.mask[-1], arrays.time[-1] + 1, 0)
        return arrays, finished
