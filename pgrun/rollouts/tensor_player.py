"""Whole rollouts on the policy's device: T steps of a ``TensorProgram`` without a word to the host.

Everything that is random is drawn before: the noise of the actions and the first states of episodes. What is
left has static shapes and draws nothing, so on CUDA it is one graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from pgrun.rollouts.capture import capture_work
from pgrun.rollouts.trajectory import Finished, make_rollout
from pgrun.types import Rollout

if TYPE_CHECKING:
    from torch import Tensor

    from pgrun.envs.tensor_program import TensorProgram
    from pgrun.policies.normalization import NoRewardScale, RewardScale
    from pgrun.policies.policy import Policy


class TensorPlayer:
    """A policy in a tensor program. Both may move between rollouts, in place."""

    def __init__(self, policy: Policy, envs: TensorProgram):
        self.policy, self.envs = policy, envs
        self.noise: Tensor | None = None

    def play_steps(
        self, noise: Tensor, scale: RewardScale | NoRewardScale, count: float
    ) -> tuple[Rollout, Finished]:
        """As many steps as ``noise`` [T, N, …] has rows, and the episodes that ended in them."""
        rows = self.play_rows(noise)
        finished = self.read_finished()[1]
        return make_rollout(self.policy, scale, count, whole=False, state=None, **rows), finished

    def play_rows(self, noise: Tensor) -> dict[str, Tensor]:
        """What was seen and done in as many steps, as ``make_rollout`` takes it."""
        if self.noise is None or self.noise.shape != noise.shape:
            self.make_room(noise)
        assert self.noise is not None
        self.noise.copy_(noise)
        self.starts.copy_(self.envs.draw_starts(len(noise)))
        self.play()
        dtype = self.policy.theta.dtype
        flags = ("terminated", "ended", "mask", "time")
        return {
            "raw_obs": self.obs.clone(),
            "action": self.action.clone(),
            "raw_reward": self.reward.to(dtype, copy=True),
            **{name: getattr(self, name).to(dtype) for name in flags},
        }

    def make_room(self, noise: Tensor) -> None:
        """Tensors for T rows, and the graph that fills them."""
        envs, (steps, columns) = self.envs, noise.shape[:2]
        self.noise, self.starts = torch.empty_like(noise), envs.place.new_empty(steps, *envs.place.shape)
        first = self.policy.dist.act(self.act_params(), noise[0])
        self.obs = envs.seen.new_empty(steps + 1, *envs.seen.shape)
        self.action = first.new_empty(steps, *first.shape)
        self.reward, self.total = envs.total.new_empty(2, steps, columns).unbind(0)
        self.terminated, self.ended, self.mask = envs.over.new_empty(3, steps, columns).unbind(0)
        self.time = envs.steps.new_empty(steps, columns)
        moved = [getattr(envs, name) for name in envs.INNER]
        self.play = capture_work(self.fill_rows, moved)

    def act_params(self) -> Tensor:
        policy = self.policy
        return policy.params(policy.normaliser(self.envs.seen).to(policy.theta.dtype))

    def fill_rows(self) -> None:
        envs, dist = self.envs, self.policy.dist
        assert self.noise is not None
        for t, (noise, start) in enumerate(zip(self.noise, self.starts, strict=True)):
            self.obs[t], self.mask[t] = envs.seen, ~envs.over
            self.time[t] = torch.where(envs.over, 0, envs.steps)
            self.action[t] = dist.act(self.act_params(), noise)
            self.reward[t], self.terminated[t], truncated = envs.advance(self.action[t], start)
            self.ended[t], self.total[t] = self.terminated[t] | truncated, envs.total
        self.obs[-1] = envs.seen

    def read_finished(self) -> tuple[np.ndarray, Finished]:
        """(column, (return, length)) of each episode that ended, fetched at once."""
        ended, total, time = torch.stack([self.ended, self.total, self.time]).cpu().numpy()
        rows = ended > 0
        self.envs.episodes += rows.sum(0)
        finished = zip(total[rows].tolist(), (time[rows].astype(int) + 1).tolist(), strict=True)
        return np.nonzero(rows)[1], list(finished)
