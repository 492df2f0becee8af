"""Running normalisation of states, and scaling of rewards; frozen during a rollout,
updated once after the update.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from pgrun.returns import backup
from pgrun.stateless import Stateless
from pgrun.types import Rollout

if TYPE_CHECKING:
    from torch import Tensor

    from pgrun.envs import Envs


class Moments:
    """Running mean and variance over rows, merged batch by batch (Chan et al. 1979); float64."""

    def __init__(self, size: int, device: str = "cpu"):
        self.count = torch.zeros((), dtype=torch.float64, device=device)
        self.mean = torch.zeros(size, dtype=torch.float64, device=device)
        self.squares = torch.zeros(size, dtype=torch.float64, device=device)

    def update(self, rows: Tensor, mask: Tensor) -> None:
        """rows [B, size]; those with mask 0 do not count."""
        rows, mask = rows.double(), mask.double()[:, None]
        count = mask.sum()
        mean = (rows * mask).sum(0) / count.clamp(min=1)
        squares = ((rows - mean).square() * mask).sum(0)
        total = (self.count + count).clamp(min=1)
        shift = mean - self.mean
        self.mean += shift * count / total
        self.squares += squares + shift.square() * self.count * count / total
        self.count += count

    @property
    def std(self) -> Tensor:
        return (self.squares / self.count.clamp(min=1)).sqrt()


class NoStateNorm(Stateless):
    """States as they are."""

    def __call__(self, obs: Tensor) -> Tensor:
        return obs

    def widen_observations(self, envs: Envs) -> None:
        """Not needed: float32 is what the networks take."""

    def in_numpy(self) -> Callable[[np.ndarray], np.ndarray]:
        """The normaliser as a function of arrays, with the statistics as they stand now."""
        return lambda obs: obs

    def update(self, rollout: Rollout) -> None:
        pass


class RunningNorm:
    """(s − mean)/std of the states seen so far, clipped to ±10.

    Float64 until that is done: around 1e8 float32 knows only multiples of 8, and s − mean would be noise.
    """

    def __init__(
        self,
        size: int,
        device: str = "cpu",
        left_alone: slice | None = None,
    ):
        """``left_alone``: entries that are no quantities, such as a mask of actions."""
        self.moments = Moments(size, device)
        self.left_alone = left_alone
        self.mean = torch.zeros(size, dtype=torch.float64, device=device)
        self.scale = torch.ones(size, dtype=torch.float64, device=device)

    def __call__(self, obs: Tensor) -> Tensor:
        return ((obs - self.mean) * self.scale).clamp(-10, 10).to(torch.float32)

    def in_numpy(self) -> Callable[[np.ndarray], np.ndarray]:
        """The normaliser as a function of arrays, with the statistics as they stand
        now; the result is still float64.
        """
        mean, scale = self.mean.numpy(), self.scale.numpy()
        return lambda obs: np.minimum(np.maximum((obs - mean) * scale, -10), 10)

    def widen_observations(self, envs: Envs) -> None:
        """Before a reset: have them keep the digits that the environment gives."""
        envs.keep_float64()

    def update(self, rollout: Rollout) -> None:
        """Rows with mask 1, and the final observation of each episode that ended."""
        obs = rollout.raw_obs
        rows = torch.cat([obs[:-1], obs[1:]]).flatten(0, 1)
        self.moments.update(rows, torch.cat([rollout.mask, rollout.mask * rollout.ended]).flatten())
        self._refresh()

    def _refresh(self) -> None:
        self.mean.copy_(self.moments.mean)
        self.scale.copy_(1 / (self.moments.std.square() + 1e-8).sqrt())
        if self.left_alone is not None:
            self.mean[self.left_alone], self.scale[self.left_alone] = 0.0, 1.0

    def state_dict(self) -> dict[str, Tensor]:
        return {f"obs_{k}": v for k, v in vars(self.moments).items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for key, value in vars(self.moments).items():
            value.copy_(state[f"obs_{key}"])
        if self.moments.count > 0:
            self._refresh()


class NoRewardScale(Stateless):
    """Rewards as they are."""

    scale = 1.0

    @property
    def divisor(self) -> Tensor:
        return torch.ones((), dtype=torch.float64)

    def __call__(self, reward: Tensor) -> Tensor:
        return reward

    def update(self, rollout: Rollout) -> None:
        pass


class RewardScale:
    """r / std of the running discounted return Rₜ = γRₜ₋₁ + rₜ, which restarts at every episode's end.

    Engstrom et al. 2020, §3 ("reward scaling"); the mean is left alone: rewards are not centred.
    """

    def __init__(self, gamma: float, columns: int, device: str = "cpu"):
        self.gamma = gamma
        self.moments = Moments(1, device)
        self.running = torch.zeros(columns, dtype=torch.float64, device=device)
        self.divisor = torch.ones((), dtype=torch.float64, device=device)  # raw reward ÷ scaled reward

    @property
    def scale(self) -> float:
        """The divisor as a number of the host."""
        return float(self.divisor)

    def __call__(self, reward: Tensor) -> Tensor:
        return reward / self.divisor

    def update(self, rollout: Rollout) -> None:
        reward = rollout.raw_reward.double()
        fresh = (rollout.time == 0).double() * rollout.mask
        decay = self.gamma * (1 - fresh) * torch.ones_like(reward)
        goes_on = len(self.running) == reward.shape[1]  # whole episodes leave nothing to carry on
        carry = self.running if goes_on else torch.zeros_like(reward[0])
        returns = backup(reward.flip(0), decay.flip(0), carry).flip(0)
        if goes_on:
            self.running = returns[-1]
        self.moments.update(returns.flatten()[:, None], rollout.mask.flatten())
        self._refresh()

    def _refresh(self) -> None:
        std = self.moments.std
        self.divisor = torch.where(std > 1e-8, std, 1.0)[0]

    def state_dict(self) -> dict[str, Tensor]:
        return {"return_running": self.running, **{f"return_{k}": v for k, v in vars(self.moments).items()}}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.running = state["return_running"]
        for key, value in vars(self.moments).items():
            value.copy_(state[f"return_{key}"])
        if self.moments.count > 0:
            self._refresh()
