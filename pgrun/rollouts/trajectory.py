"""What the samplers saw and did, and how it becomes a rollout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from pgrun.envs import Envs
from pgrun.envs.faults import LARGEST, ColumnFault, format_place
from pgrun.errors import EnvironmentFault
from pgrun.policies.normalization import NoRewardScale, RewardScale
from pgrun.policies.policy import Actor, Policy
from pgrun.types import Rollout

if TYPE_CHECKING:
    from torch import Tensor


Finished = list[tuple[float, int]]  # undiscounted return and length of each episode that ended


class Recorder:
    """What was seen and done, step by step, every entry over the N environments.

    There is room for ``rows`` steps, and more when needed.
    """

    def __init__(self, envs: Envs, rows: int):
        self.rows = 0  # that are filled
        self.was_ended = envs.ended  # [N] columns whose first row resets
        shape = rows, envs.num_envs
        self.obs = np.empty((rows + 1, *envs.obs.shape), envs.obs.dtype)
        self.reward = np.empty(shape)
        self.terminated, self.truncated = np.empty(shape, bool), np.empty(shape, bool)
        self.action: np.ndarray | None = None  # its shape shows in the first step
        self.state = None if envs.state is None else np.empty((rows + 1, envs.num_envs), envs.state.dtype)
        self.see(envs)

    def step(self, actor: Actor, envs: Envs, noise: Tensor | None) -> None:
        t = self.rows
        action = actor(self.obs[t], noise)
        try:
            reward, terminated, truncated = envs.step(action)
        except ColumnFault as fault:
            raise self.tell_episode(envs, fault) from fault.__cause__
        if self.action is None:
            self.action = np.empty((len(self.reward), *action.shape), action.dtype)
        elif t == len(self.reward):
            self.grow(t)
        self.action[t], self.reward[t] = action, reward
        self.terminated[t], self.truncated[t] = terminated, truncated
        self.rows = t + 1
        self.see(envs)

    def extend(
        self,
        obs: np.ndarray,
        action: np.ndarray,
        reward: np.ndarray,
        terminated: np.ndarray,
        truncated: np.ndarray,
    ) -> None:
        """Add steps [R, N, …] that were taken elsewhere; ``obs`` are those after each."""
        t, end, room = self.rows, self.rows + len(reward), len(self.reward)
        if self.action is None:
            self.action = np.empty((room, *action.shape[1:]), action.dtype)
        if end > room:
            self.grow(max(room, end - room))
        self.obs[t + 1 : end + 1] = obs
        self.action[t:end], self.reward[t:end] = action, reward
        self.terminated[t:end], self.truncated[t:end] = terminated, truncated
        self.rows = end

    def see(self, envs: Envs) -> None:
        self.obs[self.rows] = envs.obs
        if self.state is not None:
            self.state[self.rows] = envs.state

    def grow(self, rows: int) -> None:
        """Room for so many more."""
        for name in ("obs", "action", "reward", "terminated", "truncated", "state"):
            x = getattr(self, name)
            if x is not None:
                setattr(self, name, np.concatenate([x, np.empty((rows, *x.shape[1:]), x.dtype)]))

    def tell_episode(self, envs: Envs, fault: ColumnFault) -> EnvironmentFault:
        """The fault of a column, with the number of its episode."""
        return envs.fault(fault, self.episode(envs, fault.column))

    def episode(self, envs: Envs, column: int) -> int:
        """The number of the one under way."""
        ends = self.terminated[: self.rows, column] | self.truncated[: self.rows, column]
        return int(envs.episodes[column] + ends.sum())

    def count_ends(self, first: int) -> np.ndarray:
        """Episodes of each column [N] that ended in the rows from ``first`` on."""
        rows = slice(first, self.rows)
        counts: np.ndarray = (self.terminated[rows] | self.truncated[rows]).sum(0)
        return counts

    def cut(self, envs: Envs, columns: np.ndarray) -> None:
        """Truncate the episodes of these columns [N] after the last step."""
        envs.cut(columns)
        self.truncated[self.rows - 1] |= columns

    def arrays(self, envs: Envs) -> Arrays:
        """All of it, with the mask and the clock. Raises ``EnvironmentFault`` at what is not finite."""
        assert self.action is not None
        rows = self.rows
        terminated = self.terminated[:rows]
        ended = terminated | self.truncated[:rows]
        mask = ~np.concatenate([self.was_ended[None], ended[:-1]])
        arrays = Arrays(
            obs=self.obs[: rows + 1],
            action=self.action[:rows],
            reward=self.reward[:rows],
            terminated=terminated,
            ended=ended,
            mask=mask,
            time=steps_since_start(mask, envs.time),
            state=None if self.state is None else self.state[: rows + 1],
        )
        if not arrays.finite():
            raise EnvironmentFault(arrays.first_fault(envs))
        return arrays


@dataclass
class Arrays:
    """A rollout before it becomes tensors: obs [T+1, N, D], state [T+1, N], the rest [T, N, …]."""

    obs: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    ended: np.ndarray
    mask: np.ndarray
    time: np.ndarray
    state: np.ndarray | None = None

    def finite(self) -> bool:
        """Whether every number is, as float32."""
        return bool(np.abs(self.reward).max() <= LARGEST and fits_float32(self.obs).all())

    def first_fault(self, envs: Envs) -> str:
        """The place of the first number that is NaN, infinite or beyond float32;
        ``envs.episodes`` had ended before row 0.
        """
        bad_obs, bad_reward = ~fits_float32(self.obs), ~(np.abs(self.reward) <= LARGEST)
        bad = bad_obs[1:].any(-1) | bad_reward
        bad[0] |= bad_obs[0].any(-1)
        t, n = np.argwhere(bad)[0]
        row = t if bad_obs[t, n].any() else t + 1
        step = int(self.time[t, n] + self.mask[t, n]) if row > t else 0
        if bad_reward[t, n]:
            what = f"reward is {self.reward[t, n]}"
        else:
            what = describe_unfit_observation(self.obs[row, n])
        return f"{format_place(envs.name, n, int(envs.episodes[n] + self.ended[:t, n].sum()), step)}: {what}"

    def to_rollout(
        self, policy: Policy, scale: RewardScale | NoRewardScale, count: float, whole: bool
    ) -> Rollout:
        """Normalise, scale, and evaluate π_old once for all rows."""
        like = policy.theta
        raw_reward, terminated, ended, mask, time = (
            torch.from_numpy(np.ascontiguousarray(x)).to(like.device, like.dtype)
            for x in (self.reward, self.terminated, self.ended, self.mask, self.time)
        )
        action = torch.from_numpy(self.action).to(like.device)
        raw_obs = torch.from_numpy(np.ascontiguousarray(self.obs)).to(like.device)
        return make_rollout(
            policy,
            scale,
            count,
            whole,
            raw_obs=raw_obs,
            action=action,
            raw_reward=raw_reward,
            terminated=terminated,
            ended=ended,
            mask=mask,
            time=time,
            state=None if self.state is None else torch.from_numpy(self.state).to(like.device),
        )


def make_rollout(
    policy: Policy,
    scale: RewardScale | NoRewardScale,
    count: float,
    whole: bool,
    *,
    raw_obs: Tensor,
    action: Tensor,
    raw_reward: Tensor,
    **rows: Tensor | None,
) -> Rollout:
    """A rollout of what was seen and done, all of it on the policy's device: normalised, scaled, and π_old
    evaluated once for all rows. ``rows``: the fields that stay as they are.
    """
    obs = policy.normaliser(raw_obs).to(policy.theta.dtype)
    params = policy.params(obs[:-1])
    return Rollout(
        obs=obs,
        action=action,
        log_prob=policy.dist.log_prob(params, action),
        params=params,
        reward=scale(raw_reward),
        raw_obs=raw_obs,
        raw_reward=raw_reward,
        count=float(count),
        whole_episodes=whole,
        **rows,  # type: ignore[arg-type]
    )


def fits_float32(obs: np.ndarray) -> np.ndarray:
    """Whether each entry of an observation is finite as float32; in float64 it may be larger than that."""
    fits: np.ndarray = np.isfinite(obs) if obs.dtype == np.float32 else np.abs(obs) <= LARGEST
    return fits


def describe_unfit_observation(obs: np.ndarray) -> str:
    """The first entry of an observation [D] that does not fit."""
    entry = int((~fits_float32(obs)).argmax())
    where = f" in its entry {entry} of {len(obs)}" if len(obs) > 1 else ""
    return f"observation is {obs[entry]}{where}"


def steps_since_start(mask: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Steps since the episode's start [T, N], given those of row 0; a row with mask 0 resets it."""
    steps = np.arange(len(mask))[:, None]
    last_reset = np.maximum.accumulate(np.where(mask, -1 - start, steps))
    return np.maximum(steps - last_reset - 1, 0)


def finished_episodes(arrays: Arrays, envs: Envs) -> Finished:
    """The episodes that ended; what is under way is kept in ``envs.episode_return``.

    Each return is a sum of its own rewards alone, so that a huge one costs later episodes no digits.
    """
    earned = np.vstack((envs.episode_return, arrays.reward))  # [1 + T, N]: so far, and at each step
    first = np.zeros(earned.shape[1], int)  # row of the episode under way
    finished: Finished = []
    for t, n in zip(*np.nonzero(arrays.ended), strict=True):
        total = earned[first[n] : t + 2, n].cumsum()[-1]  # in the order of time, as kernels add
        finished.append((float(total), int(arrays.time[t, n]) + 1))
        first[n] = t + 2
    under_way = np.arange(len(earned))[:, None] >= first
    envs.episode_return = np.where(under_way, earned, 0).cumsum(0)[-1]
    envs.episodes += arrays.ended.sum(0)
    return finished


def one_episode_per_column(track: Arrays, share: np.ndarray) -> Arrays:
    """Cut each environment's track into its first ``share`` [N] episodes, one a column; mask 0 pads them."""
    spans = []  # (environment, first row, length)
    for n, wanted in enumerate(share):
        start = 0
        for end in np.nonzero(track.ended[:, n])[0][:wanted]:
            spans.append((n, start, end + 1 - start))
            start = end + 2  # the row after the end only resets
    environment, first, length = np.array(spans).T
    row, columns = np.arange(length.max() + 1)[:, None], track.reward.shape[1]

    def plan(extra: int) -> tuple[np.ndarray, np.ndarray]:
        """(which of the rows [T·N, …] to take, where there is padding), with ``extra`` rows behind an end."""
        padding = row[: len(row) - 1 + extra] >= length + extra
        return np.where(padding, 0, first + row[: len(padding)]) * columns + environment, padding

    plans = plan(0), plan(1)

    def cut(x: np.ndarray, extra: int) -> np.ndarray:
        rows, padding = plans[extra]
        out: np.ndarray = x.reshape(-1, *x.shape[2:]).take(rows, axis=0)
        out[padding] = 0
        return out

    present = {name: x for name, x in vars(track).items() if x is not None}
    return Arrays(**{name: cut(x, name in ("obs", "state")) for name, x in present.items()})
