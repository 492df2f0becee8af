"""Episodes that go on from given states: what is still to come there under the present policy, by playing.

A state is put back exactly: as a row of the transition table with the steps since its start, or as a snapshot
(``pgrun.envs.snapshot``). The environment's random numbers are new ones: with those of the visit the future
would be the one that was seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import gymnasium as gym
import numpy as np
import torch

from pgrun.envs import Envs
from pgrun.envs.faults import values_from_step
from pgrun.envs.snapshot import put_back
from pgrun.envs.table import TableEnvs
from pgrun.envs.vector import Loop
from pgrun.policies.policy import Policy

if TYPE_CHECKING:
    from torch import Tensor

POOL = 16  # environments that continuations are played in side by side


@dataclass(frozen=True)
class Places:
    """States to go on from, one a row."""

    state: np.ndarray  # [R]  of the transition table, or the number of a snapshot
    time: np.ndarray  # [R]  steps since the episode's start
    raw_obs: np.ndarray  # [R, D]
    action: np.ndarray | None = None  # [R, …]  taken first; without it the policy's own

    def repeated(self, times: int) -> Places:
        """Each row ``times`` times, side by side."""
        return Places(*(None if x is None else np.repeat(x, times, 0) for x in vars(self).values()))  # type: ignore[arg-type]


class Continuations:
    """Plays on in environments of its own, which are like ``envs``; their steps are counted there."""

    def __init__(self, policy: Policy, envs: Envs, gamma: float, noise: torch.Generator):
        self.policy, self.envs, self.gamma, self.noise = policy, envs, gamma, noise

    def play_on(self, places: Places) -> np.ndarray:
        """The discounted return of one continuation from each row [R], up to the episode's end."""
        seed = int(torch.randint(2**62, (1,), generator=self.noise, device=self.noise.device))
        random = np.random.default_rng(seed)
        if isinstance(self.envs, TableEnvs):
            return self.play_table(self.envs, places, random)
        assert isinstance(self.envs, Loop)
        return self.play_snapshots(self.envs, places, random)

    def draw(self, columns: int) -> Tensor:
        return self.policy.dist.noise((columns,), self.noise, self.policy.theta.dtype)

    def play_table(self, envs: TableEnvs, places: Places, random: np.random.Generator) -> np.ndarray:
        columns = TableEnvs(envs.one, len(places.state))
        columns.obs = columns.obs.astype(envs.obs.dtype)
        columns.stand_at(places.state, places.time, random)
        actor, forced = self.policy.actor(), places.action
        total, discount = np.zeros(columns.num_envs), 1.0
        alive = np.ones(columns.num_envs, bool)
        while alive.any():
            action = actor(columns.obs, self.draw(columns.num_envs)) if forced is None else forced
            reward, _, _ = columns.step(action)
            total += discount * alive * reward
            envs.continued += int(alive.sum())
            alive &= ~columns.ended
            discount, forced = discount * self.gamma, None
        return total

    def play_snapshots(self, envs: Loop, places: Places, random: np.random.Generator) -> np.ndarray:
        """In a few environments side by side; one whose episode has ended takes the next row."""
        pool = self.pool_of(envs, min(POOL, len(places.state)))
        actor, total = self.policy.actor(), np.zeros(len(places.state))
        obs = np.zeros((len(pool), envs.obs_size), envs.obs.dtype)
        row, steps = np.full(len(pool), -1), np.zeros(len(pool), np.int64)
        waiting = iter(range(len(places.state)))
        while True:
            # 1. rows for the environments that are free
            for i in np.flatnonzero(row < 0):
                if (new := next(waiting, None)) is None:
                    break
                assert envs.snapshots is not None
                put_back(pool[i], envs.snapshots[int(places.state[new])])
                pool[i].unwrapped.np_random = np.random.default_rng(random.integers(2**62))
                row[i], steps[i], obs[i] = new, 0, places.raw_obs[new]
            if (row < 0).all():
                return total
            # 2. a step of each
            drawn = actor(obs, self.draw(len(pool)))
            if places.action is not None:
                first = (row >= 0) & (steps == 0)
                drawn[first] = places.action[row[first]]
            action = envs.decode(drawn)
            playing = np.flatnonzero(row >= 0)
            envs.continued += len(playing)
            for i in playing:
                seen, reward, terminated, truncated, _ = values_from_step(pool[i].step(action[i]))
                total[row[i]] += self.gamma ** steps[i] * float(reward)
                obs[i], steps[i] = envs.encode(seen), steps[i] + 1
                if terminated or truncated:
                    row[i] = -1

    def pool_of(self, envs: Loop, size: int) -> list[gym.Env]:
        """So many environments of its own: what is drawn must not depend on how many there were before."""
        while len(envs.pool) < size:
            envs.pool.append(envs.factory())
            envs.pool[-1].reset(seed=0)  # so that wrappers know of a beginning
        return envs.pool[:size]
