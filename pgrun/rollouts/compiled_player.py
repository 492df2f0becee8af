"""What the samplers get from ``collect_rows``: the numbers that a ``Recorder`` gives.

π_old is evaluated already.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from pgrun.errors import EnvironmentFault
from pgrun.kernels.collecting import ENDLESS, GOES_ON, collect_rows
from pgrun.policies.compiled_actor import Acting, can_act
from pgrun.rollouts.trajectory import Arrays, Finished
from pgrun.types import Rollout

if TYPE_CHECKING:
    from torch import Tensor

    from pgrun.envs.program import Program
    from pgrun.policies.normalization import NoRewardScale, RewardScale
    from pgrun.policies.policy import Policy

EVER = 2**62


@dataclass
class Outcome:
    """Of episodes that were played: how it ended, and where."""

    arrays: Arrays
    endless: int | None  # a column whose episode was too long
    done: np.ndarray  # [N] episodes of each column
    cut: bool  # an episode was cut


def player_of(policy: Policy, envs: Program) -> Player | None:
    """The player of this policy there, made once; None where the kernels do not know such a policy."""
    if envs.player is None or envs.player.policy is not policy:
        envs.player = Player(policy, envs) if can_act(policy) else None
    player: Player | None = envs.player
    return player


class Player:
    """A program under a policy that ``can_act`` knows, which must not move while it plays."""

    def __init__(self, policy: Policy, envs: Program):
        self.policy, self.envs, self.acting = policy, envs, Acting.of(policy)
        self.endless = np.full(envs.num_envs, EVER)
        self.unread = np.zeros(envs.num_envs, np.int64)
        self.no_noise = np.zeros((1, 1, 1), np.float32)

    def play_steps(
        self, noise: Tensor, scale: RewardScale | NoRewardScale, count: float
    ) -> tuple[Rollout, Finished]:
        """As many steps as ``noise`` [T, N, …] has rows, and the episodes that ended in them."""
        envs, records = self.envs, Records(self, len(noise))
        turns = (
            *(envs.episodes, self.endless, self.unread, np.inf, False),
            *(envs.time, envs.episode_return),
        )
        _, _, _, ends, finite = self.fill(records, turns, noise)
        if not finite:
            raise self.find_fault(records)
        finished = zip(records.returns[:ends].tolist(), records.lengths[:ends].tolist(), strict=True)
        return records.rollout(scale, count), list(finished)

    def find_fault(self, records: Records) -> EnvironmentFault:
        """The first number of full ``records`` that is not finite, and in which episode and step."""
        arrays = records.arrays(len(records.reward))
        self.envs.episodes -= arrays.ended.sum(0)
        return EnvironmentFault(arrays.first_fault(self.envs))

    def play_episodes(
        self, draw: Callable[[], Tensor | None], rows: int, share: np.ndarray, most: float, cutting: bool
    ) -> Outcome:
        """Each column's share of episodes; ``draw`` gives the noise of the next ``rows`` steps."""
        envs, parts = self.envs, []
        done, length = np.zeros((2, envs.num_envs), np.int64)
        turns = done, share, length, float(most), cutting, envs.time.copy(), np.zeros(envs.num_envs)
        envs.active, how, cut, finite = done < share, GOES_ON, False, True
        while how == GOES_ON and finite:
            records = Records(self, rows)
            count, how, cuts, _, finite = self.fill(records, turns, draw())
            parts.append(records.arrays(count))
            cut = cut or cuts
        arrays = join_arrays(parts)
        if how != ENDLESS and not finite:
            raise EnvironmentFault(arrays.first_fault(envs))
        endless = int((length >= most).argmax()) if how == ENDLESS else None
        return Outcome(arrays, endless, done, cut)

    def fill(
        self, records: Records, turns: tuple[object, ...], noise: Tensor | None
    ) -> tuple[int, int, bool, int, bool]:
        """Fill ``records`` by one call of ``collect_rows``; what it returns."""
        given = self.no_noise if noise is None else noise.numpy()
        envs = self.envs
        filled: tuple[int, int, bool, int, bool] = collect_rows(
            self.acting.arguments, *envs.arguments, turns, given, noise is not None, records.arguments
        )
        envs.obs[:] = envs.rows
        return filled


class Records:
    """Room for T rows, fresh for every rollout: whoever holds one keeps it."""

    def __init__(self, player: Player, rows: int):
        policy, envs = player.policy, player.envs
        n, d = envs.num_envs, envs.obs_size
        self.envs, self.normalised = envs, player.acting.normalised
        self.obs = np.empty((rows + 1, n, d), np.float32)
        self.seen = np.empty((rows + 1, n, d) if self.normalised else (0, 0, 0), np.float32)
        self.choice = np.empty((rows, n), np.int64)
        self.force = np.empty((0, 0, 0) if envs.discrete else (rows, n, 1), np.float32)
        self.reward = np.empty((rows, n))
        self.flags = np.empty((3, rows, n), bool)  # terminated, truncated, mask
        self.clock = np.empty((rows, n), np.int64)
        self.floats = np.empty((5, rows, n), np.float32)  # reward, terminated, ended, mask, clock
        self.params = np.empty((rows, n, policy.dist.size), np.float32)
        self.log_prob = np.empty((rows, n), np.float32)
        self.returns, self.lengths = np.empty(rows * n), np.empty(rows * n, np.int64)

    @property
    def arguments(self) -> tuple[np.ndarray, ...]:
        """In the order of ``collect_rows``'s own."""
        return (
            *(self.obs, self.seen, self.choice, self.force, self.reward, self.flags, self.clock),
            *(self.floats, self.params, self.log_prob, self.returns, self.lengths),
        )

    @property
    def raw_obs(self) -> np.ndarray:
        """In the type that the samplers see: wider where states are normalised."""
        return self.obs.astype(self.envs.obs.dtype, copy=False)

    @property
    def action(self) -> np.ndarray:
        return self.choice if self.envs.discrete else self.force

    def rollout(self, scale: RewardScale | NoRewardScale, count: float) -> Rollout:
        """All rows, as ``Arrays.to_rollout`` would have them."""
        raw_reward, terminated, ended, mask, time = torch.from_numpy(self.floats).unbind(0)
        raw_obs = torch.from_numpy(self.raw_obs)
        return Rollout(
            obs=torch.from_numpy(self.seen) if self.normalised else raw_obs,
            action=torch.from_numpy(self.action),
            log_prob=torch.from_numpy(self.log_prob),
            params=torch.from_numpy(self.params),
            reward=scale(raw_reward),
            terminated=terminated,
            ended=ended,
            mask=mask,
            time=time,
            raw_obs=raw_obs,
            raw_reward=raw_reward,
            count=float(count),
            whole_episodes=False,
        )

    def arrays(self, rows: int) -> Arrays:
        """The first rows."""
        terminated, truncated, mask = self.flags[:, :rows]
        return Arrays(
            obs=self.raw_obs[: rows + 1],
            action=self.action[:rows],
            reward=self.reward[:rows],
            terminated=terminated,
            ended=terminated | truncated,
            mask=mask,
            time=self.clock[:rows],
        )


def join_arrays(parts: list[Arrays]) -> Arrays:
    """The parts of one rollout in one, along time.

    The last row of a part's observations is the first of the next one's.
    """
    if len(parts) == 1:
        return parts[0]
    rows = len(parts[0].reward)
    present = [name for name, x in vars(parts[0]).items() if x is not None]
    pieces = {
        name: [*(vars(part)[name][:rows] for part in parts[:-1]), vars(parts[-1])[name]] for name in present
    }
    return Arrays(**{name: np.concatenate(x) for name, x in pieces.items()})
