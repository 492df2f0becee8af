"""The parts of a term's variance where episodes cannot be listed: visited states are put back, several
actions drawn in each, and several continuations of each action.

One step of each of I independent episodes, each step as likely, weighs as much as its episode is long, ℓ: so
E Σₜ f(sₜ) = E[ℓ f]. From J actions and K continuations each, with x̄ᵢⱼ the means over continuations and x̄ᵢ
those over both,

    vᵢ = mean over j, k of ‖xᵢⱼₖ − x̄ᵢⱼ‖²·K/(K−1)     unbiased for Var[x|h, a]
    uᵢ = mean over j of ‖x̄ᵢⱼ − x̄ᵢ‖²·J/(J−1) − vᵢ/K   for Var_a E[x|h, a]
    mᵢ = ‖x̄ᵢ‖² − uᵢ/J − vᵢ/(JK)                      for ‖E[x|h]‖²

(the analysis of variance of nested designs: Searle, Casella & McCulloch 1992, ch. 3). L·E[ℓ·] is estimated
over pairs of different episodes, and the square of a mean too, so that nothing is biased; errors are those of
the delete-one jackknife over episodes. An estimate of a small part can be negative.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import torch

from pgrun.algorithms.estimator import Estimator
from pgrun.config.random_streams import draw_env_seeds, make_generator
from pgrun.critics.base import Critic
from pgrun.envs import EnvSettings
from pgrun.envs.make import make_one
from pgrun.envs.snapshot import can_be_read, put_back, read_state
from pgrun.envs.table import keeps_to_table
from pgrun.envs.vector import Loop
from pgrun.policies.families import connect_actions
from pgrun.policies.normalization import NoRewardScale
from pgrun.policies.policy import Policy
from pgrun.rollouts.trajectory import Arrays, Recorder, one_episode_per_column
from pgrun.tools.study.collect import Seen
from pgrun.tools.study.decomposition import Parts, term_gradients
from pgrun.tools.study.settings import Decompose
from pgrun.types import Rollout

if TYPE_CHECKING:
    from torch import Tensor

ROOM = 256  # rows of a recorder, which grows


def can_be_put_back(env: gym.Env) -> bool:
    """Whether an environment can stand again where it stood."""
    return can_be_read(env) or keeps_to_table(env)


@dataclass(frozen=True)
class Visit:
    """A step of an episode: where the environment stood, and what came before."""

    length: int  # ℓ, of the whole episode
    time: int  # t
    place: dict[str, Any]  # of ``read_state``
    before: Arrays  # the episode, of one column


@dataclass
class NestedSampler:
    """Plays visits and their continuations; ``walker``: one column, ``branches``: J·K columns."""

    policy: Policy
    walker: Loop
    branches: Loop
    noise: torch.Generator
    draws: np.random.Generator
    actions: int  # J
    rests: int  # K

    def visit(self) -> Visit:
        """Play an episode and keep one of its steps, each as likely (reservoir sampling)."""
        envs = self.walker
        envs.reset()
        recorder, actor = Recorder(envs, ROOM), self.policy.actor()
        kept: tuple[int, dict[str, Any]] | None = None
        while not envs.ended[0]:
            if self.draws.random() * (recorder.rows + 1) < 1:
                kept = recorder.rows, read_state(envs.envs[0])
            recorder.step(actor, envs, self.draw(1))
        assert kept is not None
        return Visit(recorder.rows, *kept, recorder.arrays(envs))

    def draw(self, columns: int) -> Tensor:
        return self.policy.dist.noise((columns,), self.noise, self.policy.theta.dtype)

    def branch(self, visit: Visit) -> Rollout:
        """J·K whole episodes side by side, alike up to the visit, those of an action next to each other."""
        envs, columns = self.branches, self.actions * self.rests
        envs.reset()
        for env in envs.envs:
            put_back(env, visit.place)
            env.unwrapped.np_random = np.random.default_rng(self.draws.integers(2**63))
        envs.obs[:], envs.time[:] = visit.before.obs[visit.time], visit.time
        if envs.state is not None:
            envs.follow_states()
        recorder, actor = Recorder(envs, ROOM), self.policy.actor()
        first = np.repeat(actor(envs.obs[: self.actions], self.draw(self.actions)), self.rests, axis=0)
        recorder.step(lambda obs, noise: first, envs, None)
        going = ~envs.ended
        while going.any():
            envs.active = going
            recorder.step(actor, envs, self.draw(columns))
            going = going & ~envs.ended
        after = one_episode_per_column(recorder.arrays(envs), np.ones(columns, np.int64))
        joined = join_in_time(visit.before, visit.time, after)
        return joined.to_rollout(self.policy, NoRewardScale(), columns, whole=True)

    def close(self) -> None:
        self.walker.close()
        self.branches.close()


def join_in_time(before: Arrays, steps: int, after: Arrays) -> Arrays:
    """The first ``steps`` rows of one column in front of every column of ``after``."""
    columns = after.mask.shape[1]
    in_time = {
        name: np.concatenate([np.repeat(getattr(before, name)[:steps], columns, axis=1), x])
        for name, x in vars(after).items()
        if x is not None
    }
    return Arrays(**in_time)


def make_nested_sampler(
    env: EnvSettings, policy: Policy, wanted: Decompose, tabular: bool, seed: int
) -> NestedSampler:
    """Environments and random streams of its own: what is scored is the same with it and without."""
    noise, draws, *seeds = np.random.SeedSequence(seed, spawn_key=(10,)).spawn(4)
    columns: list[Loop] = []
    for count, own in zip((1, wanted.actions * wanted.rests), seeds, strict=True):
        envs = Loop(lambda: make_one(env), count)
        envs.name = f"env={env.id} in decompose"
        policy.normaliser.widen_observations(envs)
        connect_actions(policy.dist, envs)
        envs.reset(draw_env_seeds(own, count))
        if tabular:
            envs.follow_states()
        columns.append(envs)
    walker, branches = columns
    return NestedSampler(
        policy,
        walker,
        branches,
        make_generator(noise),
        np.random.default_rng(draws),
        wanted.actions,
        wanted.rests,
    )


def decompose_by_sampling(
    sampler: NestedSampler,
    critic: Critic,
    estimators: Mapping[str, Estimator],
    states: int,
    tell: Callable[[int], None] = lambda _: None,
) -> dict[str, Parts]:
    """The parts of every scheme, all from the same visits and continuations."""
    lengths: list[int] = []
    by_sampling: dict[str, list[tuple[Tensor, Tensor]]] = {label: [] for label in estimators}
    for _ in range(states):
        visit = sampler.visit()
        lengths.append(visit.length)
        seen = Seen(sampler.policy, sampler.branch(visit), critic)
        for label, estimator in estimators.items():
            x = term_gradients(estimator, seen, visit.time)
            by_sampling[label].append(visit_moments(x.view(sampler.actions, sampler.rests, -1)))
        tell(1)
    length = torch.tensor(lengths, dtype=torch.float64)
    return {
        label: estimate_parts(length, *(torch.stack(part) for part in zip(*parts, strict=True)))
        for label, parts in by_sampling.items()
    }


def visit_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """((v, u, m) [3], x̄ [P]) of one visit, from x [J, K, P]."""
    actions, rests, _ = x.shape
    by_action = x.mean(1)
    mean = by_action.mean(0)
    rest = (x - by_action[:, None]).square().sum() / (actions * (rests - 1))
    action = (by_action - mean).square().sum() / (actions - 1) - rest / rests
    square = mean.square().sum() - action / actions - rest / (actions * rests)
    return torch.stack([rest, action, square]), mean


def estimate_parts(length: Tensor, moments: Tensor, mean: Tensor) -> Parts:
    """From ℓ [I], (v, u, m) [I, 3] and x̄ [I, P] of independent visits."""
    weighted, y = length[:, None] * moments, length[:, None] * mean
    sums = length.sum(), weighted.sum(0), (length[:, None] * weighted).sum(0)
    norms, own = y.sum(0).square().sum(), y.square().sum(1)
    whole = parts_from_sums(len(length), *sums, norms - own.sum())
    without = parts_from_sums(
        len(length) - 1,
        sums[0] - length,
        sums[1] - weighted,
        sums[2] - length[:, None] * weighted,
        norms - 2 * (y @ y.sum(0)) + own - (own.sum() - own),
    )
    n = len(length)
    error = ((n - 1) / n * (without - without.mean(0)).square().sum(0)).sqrt()
    rest, action, state, total = whole.tolist()
    return Parts(state, action, rest, total, *error[[2, 1, 0, 3]].tolist())


def parts_from_sums(n: int, length: Tensor, weighted: Tensor, own: Tensor, pairs: Tensor) -> Tensor:
    """(Σ_τ, Σ_a, Σ_s, their sum) [..., 4] of n visits: from Σℓ, Σℓ(v, u, m), Σℓ²(v, u, m), Σ_{i≠j} yᵢ·yⱼ."""
    mean = (length[..., None] * weighted - own) / (n * (n - 1))
    state = mean[..., 2] - pairs / (n * (n - 1))
    return torch.stack([mean[..., 0], mean[..., 1], state, mean[..., 0] + mean[..., 1] + state], -1)
