"""Classic control as tensor programs: all columns stay on the policy's device, and the host sees no number of
a step. Their formulas: ``tensor_motion``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import gymnasium as gym
import numpy as np
import torch

from pgrun.config import random_streams
from pgrun.envs.spaces import box_bounds
from pgrun.envs.tensor_motion import MOTIONS, round_to_float32
from pgrun.envs.vector import Envs, Step

if TYPE_CHECKING:
    from torch import Tensor


class TensorProgram(Envs):
    """One of ``MOTIONS`` on a device. ``one``: gymnasium's, for its spaces and its limit.

    ``advance`` is a step for whoever has tensors; ``step`` is the same for samplers that have arrays.
    """

    on_device: ClassVar[bool] = True
    INNER = ("place", "steps", "over", "seen", "total")

    def __init__(self, one: gym.Env, num_envs: int, device: str):
        super().__init__(num_envs, one.observation_space, one.action_space)
        assert one.spec is not None
        self.one, self.device = one, torch.device(device)
        self.limit = one.spec.max_episode_steps or np.inf
        self.motion = MOTIONS[one.spec.id]
        bounds = torch.tensor([self.motion.low, self.motion.high], dtype=torch.float64, device=device)
        self.low, self.width = bounds[0], bounds[1] - bounds[0]  # of first states
        self.place = torch.zeros(num_envs, len(self.low), dtype=torch.float64, device=device)
        self.steps = torch.zeros(num_envs, dtype=torch.int64, device=device)  # of the episode under way
        self.over = torch.zeros(num_envs, dtype=torch.bool, device=device)  # the next step resets
        self.seen = torch.zeros(num_envs, self.obs_size, device=device)  # observations
        self.total = torch.zeros(num_envs, dtype=torch.float64, device=device)  # return under way
        self.generator = random_streams.make_generator(np.random.SeedSequence(0), device)
        self.player: Any = None  # what plays whole rollouts of the last policy here
        self.force = make_force(one.action_space)

    def keep_float64(self) -> None:
        super().keep_float64()
        self.seen = self.seen.double()

    def draw_starts(self, steps: int) -> Tensor:
        """First states for every column at each of so many steps [T, N, S], used where one begins."""
        shape = (steps, *self.place.shape)
        draws = torch.rand(shape, dtype=torch.float64, device=self.device, generator=self.generator)
        starts = self.low + self.width * draws
        return round_to_float32(starts) if self.motion.starts_in_float32 else starts

    def advance(self, action: Tensor, start: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(reward, terminated, truncated) [N] of a step; a column that is over begins at ``start`` [N, S].

        All that the next step needs is changed in place, so that the step can be captured.
        """
        fresh = self.over.clone()
        place, reward, terminated = self.motion.step(self.place, self.force(action), self.steps == 0)
        self.place.copy_(torch.where(fresh[:, None], start, place))
        self.steps.copy_(torch.where(fresh, 0, self.steps + 1))
        reward, terminated = torch.where(fresh, 0.0, reward), terminated & ~fresh
        truncated = (self.steps >= self.limit) & ~fresh
        self.seen.copy_(self.motion.observe(self.place).float())  # as gymnasium gives them
        self.over.copy_(terminated | truncated)
        self.total.copy_(torch.where(fresh, 0.0, self.total + reward))
        return reward, terminated, truncated

    def take_draws(
        self, emit: Callable[[np.ndarray], np.ndarray], emit_tensor: Callable[[Tensor], Tensor]
    ) -> None:
        force = self.force
        self.force = lambda drawn: force(emit_tensor(drawn))

    def _reset(self, seeds: Sequence[int] | None) -> None:
        if seeds is not None:
            self.generator = random_streams.make_generator(
                np.random.SeedSequence(list(seeds)), str(self.device)
            )
        self.over.fill_(True)
        self._act(torch.zeros(self.num_envs, device=self.device))

    def step(self, action: np.ndarray) -> Step:
        """``action``: as the policy has it; ``advance`` decodes it."""
        reward, terminated, truncated = self._act(torch.from_numpy(action).to(self.device))
        self.ended = terminated | truncated
        return reward, terminated, truncated

    def _act(self, action: Tensor) -> Step:
        reward, terminated, truncated = self.advance(action, self.draw_starts(1)[0])
        self.obs[:] = self.seen.cpu().numpy()
        return reward.cpu().numpy(), terminated.cpu().numpy(), truncated.cpu().numpy()

    def cut(self, columns: np.ndarray) -> None:
        super().cut(columns)
        self.over |= torch.from_numpy(columns).to(self.device)

    def state_dict(self) -> dict[str, Any]:
        inner = {name: getattr(self, name).clone() for name in self.INNER}
        return {**super().state_dict(), **inner, "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        for name in self.INNER:
            getattr(self, name).copy_(state[name])
        self.generator.set_state(state["generator"])

    def close(self) -> None:
        self.one.close()


def make_force(space: gym.Space[Any]) -> Callable[[Tensor], Tensor]:
    """``action_decoder`` for tensors: choices as they are, the numbers of a Box of one action as [N]."""
    if not isinstance(space, gym.spaces.Box):
        return lambda action: action
    low, high = (float(x.item()) for x in box_bounds(space))
    scale, middle = (high - low) / 2, (high + low) / 2
    return lambda action: (action.flatten() * scale + middle).clamp(low, high).double()
