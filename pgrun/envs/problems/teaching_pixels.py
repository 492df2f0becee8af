"""A teaching problem that is seen as an image."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

SIDE = 8  # pixels


class Catch(gym.Env):
    """A ball falls from a random column of the top row, and a paddle in the bottom row moves left, stays, or
    moves right: 1 where it catches, −1 where it does not, after seven steps (Mnih et al. 2014; bsuite's
    catch). Seen as 8 × 8 bytes, 255 where one of the two is.

    With the right moves every ball can be caught from the middle: the best return is 1, chance about −0.7.
    """

    observation_space = spaces.Box(0, 255, (SIDE, SIDE, 1), np.uint8)
    action_space = spaces.Discrete(3)

    def __init__(self) -> None:
        self.row, self.column, self.paddle = 0, 0, SIDE // 2

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.row, self.column, self.paddle = 0, int(self.np_random.integers(SIDE)), SIDE // 2
        return self.image(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.row += 1
        self.paddle = min(max(self.paddle + int(action) - 1, 0), SIDE - 1)
        over = self.row == SIDE - 1
        reward = (1.0 if self.paddle == self.column else -1.0) if over else 0.0
        return self.image(), reward, over, False, {}

    def image(self) -> np.ndarray:
        pixels = np.zeros((SIDE, SIDE, 1), np.uint8)
        pixels[self.row, self.column] = pixels[SIDE - 1, self.paddle] = 255
        return pixels
