"""Episodes under way that are saved as their actions and played again: what is recorded, compared, and said where it fails."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from support_odd_envs import ACTIONS, Overwriting

from pgrun.envs.vector import Loop


def acted(columns: Loop, steps: int, seed: int = 0) -> np.ndarray:
    """The rewards [steps, N] of random actions, resets included."""
    space = copy.deepcopy(columns.action_space)
    space.seed(seed)
    rewards = []
    for _ in range(steps):
        action = np.stack([space.sample() for _ in range(columns.num_envs)])
        reward, terminated, truncated = columns._step(action)
        columns.ended = terminated | truncated
        rewards.append(reward)
    return np.array(rewards)


def started(make, columns: int = 2, seed: int = 0) -> Loop:
    made = Loop(make, columns)
    made.reset(list(range(seed, seed + columns)))
    return made


@pytest.mark.parametrize("actions", ACTIONS)
def test_an_environment_may_write_into_its_action(actions: str) -> None:
    first, second = (started(lambda: Overwriting(actions), seed=seed) for seed in (0, 5))
    acted(first, 7)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert (acted(first, 5, 1) == acted(second, 5, 1)).all()
    assert (first.obs == second.obs).all()
