from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
import torch

from pgrun.config.schema import PositiveInt
from pgrun.envs import Envs
from pgrun.envs.faults import format_place
from pgrun.errors import EnvironmentFault
from pgrun.policies.gsde import GsdeGaussian
from pgrun.policies.normalization import NoRewardScale, RewardScale
from pgrun.policies.policy import Policy
from pgrun.rollouts.groups import check_starts, draw_group_seeds, join_columns
from pgrun.rollouts.samplers.base import HeldNoise, OnPolicy, advance_recorder, find_player
from pgrun.rollouts.trajectory import Arrays, Finished, Recorder, one_episode_per_column
from pgrun.types import Rollout

if TYPE_CHECKING:
    from torch import Tensor

    from pgrun.rollouts.compiled_player import Player

CHUNK = 128  # steps whose noise is drawn at once
CAP = 10_000  # steps of an episode, where neither the environment nor the user sets a limit
log = logging.getLogger(__name__)


@dataclass
class Episodes(OnPolicy):
    """``episodes`` whole episodes, one a column: each environment plays a fixed
    share, however long they last.

    Never "the first N to finish", which favours short ones. count = episodes. ``max_steps``: an episode that
    goes on after so many steps is an error, never a hang. ``max_steps=null``: an episode that goes on after
    10000 steps, where the environment has no limit of its own, is an error, never a hang.
    ``at_cap=truncate`` cuts it there instead: a critic bootstraps, and a scheme without one takes the return
    up to the cut.

    ``group`` K: the episodes are K at a time from the same start, side by side, as ``variance=group``
    compares them; null: 4 with that scheme, 1 with others. ``shared=seed`` begins the K columns by
    ``reset(seed=…)`` with one seed, so that they share what the environment draws later too, step by step
    (common random numbers); ``start`` the first state alone, where the environment is its transition table.
    """

    episodes: PositiveInt = 16  # whole episodes in a batch, one a column
    max_steps: PositiveInt | None = None  # of an episode; null: 10000 where the environment has no limit
    at_cap: Literal["error", "truncate"] = "error"
    group: PositiveInt | None = None
    shared: Literal["seed", "start"] = "seed"
    name: ClassVar[str] = "episodes"
    told: bool = field(init=False, default=False, repr=False)  # that an episode was cut
    size: int = field(init=False, default=1, repr=False)  # of a group

    def __post_init__(self) -> None:
        self.size = self.group or 1

    def follow_scheme(self, usual_group: int) -> None:
        self.size = self.group or usual_group

    def collect(
        self,
        policy: Policy,
        envs: Envs,
        generator: torch.Generator | None,
        scale: RewardScale | NoRewardScale,
        seeds: list[int] | None = None,
    ) -> tuple[Rollout, Finished]:
        """A rollout and its episodes. Without a generator the policy acts by its mode."""
        if self.size > 1:
            assert generator is not None
            arrays = self.record_groups(policy, envs, generator)
        else:
            arrays = self.record(policy, envs, generator, seeds)
        rollout = arrays.to_rollout(policy, scale, self.episodes, whole=True)
        return replace(rollout, group=self.size), episode_outcomes(arrays)

    def record(
        self, policy: Policy, envs: Envs, generator: torch.Generator | None, seeds: list[int] | None = None
    ) -> Arrays:
        """The episodes, before they become tensors."""
        envs.reset(seeds)
        share = np.full(envs.num_envs, self.episodes // envs.num_envs)
        share[: self.episodes % envs.num_envs] += 1
        return self._finish(policy, envs, generator, share)

    def record_groups(self, policy: Policy, envs: Envs, generator: torch.Generator) -> Arrays:
        """The episodes, those of a group side by side: in rounds of one a column, each column begun with the
        seed of its group.
        """
        seeds = draw_group_seeds(self.episodes // self.size, self.size, generator)
        parts = []
        for first in range(0, self.episodes, envs.num_envs):
            own = seeds[np.minimum(first + np.arange(envs.num_envs), self.episodes - 1)].tolist()
            envs.reset_alike(own, noise_too=self.shared == "seed")
            check_starts(envs, own)
            share = (first + np.arange(envs.num_envs) < self.episodes).astype(np.int64)
            parts.append(self._finish(policy, envs, generator, share))
        return join_columns(parts)

    def _finish(
        self, policy: Policy, envs: Envs, generator: torch.Generator | None, share: np.ndarray
    ) -> Arrays:
        """Each column's share of episodes, from where it has just been reset."""
        player = find_player(policy, envs)
        if player is None:
            arrays = self._play(policy, envs, generator, share).arrays(envs)
        else:
            arrays = self._play_compiled(player, policy, envs, generator, share)
        envs.episodes += share
        return one_episode_per_column(arrays, share)

    def cap(self, envs: Envs) -> float:
        """Steps that an episode may have; ∞ where the environment ends it."""
        if self.max_steps is not None:
            return self.max_steps
        return CAP if envs.limit == np.inf else np.inf

    def _play(
        self, policy: Policy, envs: Envs, generator: torch.Generator | None, share: np.ndarray
    ) -> Recorder:
        track, actor, noise = Recorder(envs, CHUNK), policy.actor(), None
        held = HeldNoise(policy.dist.hold) if generator and isinstance(policy.dist, GsdeGaussian) else None
        done = np.zeros(envs.num_envs, np.int64)
        length = np.zeros(envs.num_envs, np.int64)
        envs.active, cap = done < share, self.cap(envs)
        while envs.active.any():
            before, at = track.rows, track.rows % CHUNK
            if generator is not None and at == 0:
                noise = policy.dist.noise((CHUNK, envs.num_envs), generator, policy.theta.dtype)
            length = np.where(envs.ended, 0, length + 1)
            if held is not None:
                assert noise is not None
                track.step(actor, envs, held.follow(noise[at], length))
            elif cap < np.inf:  # an episode may be too long after every step
                track.step(actor, envs, None if noise is None else noise[at])
            else:
                most = CHUNK - at
                own = None if noise is None else noise[at:]
                advance_recorder(track, actor, envs, own, most, share - done)
            endless = (length >= cap) & envs.active & ~envs.ended
            if endless.any():
                self._at_cap(track, envs, endless)
            done += track.count_ends(before)
            envs.active = done < share
        return track

    def _play_compiled(
        self, player: Player, policy: Policy, envs: Envs, generator: torch.Generator | None, share: np.ndarray
    ) -> Arrays:
        def draw() -> Tensor | None:
            if generator is None:
                return None
            return policy.dist.noise((CHUNK, envs.num_envs), generator, policy.theta.dtype)

        played = player.play_episodes(draw, CHUNK, share, self.cap(envs), self.at_cap == "truncate")
        if played.endless is not None:
            raise self._endless(
                envs, played.endless, int(envs.episodes[played.endless] + played.done[played.endless])
            )
        if played.cut:
            self._tell(int(self.cap(envs)))
        return played.arrays

    def _at_cap(self, track: Recorder, envs: Envs, endless: np.ndarray) -> None:
        if self.at_cap == "error":
            column = int(endless.argmax())
            raise self._endless(envs, column, track.episode(envs, column))
        track.cut(envs, endless)
        self._tell(int(self.cap(envs)))

    def _endless(self, envs: Envs, column: int, episode: int) -> EnvironmentFault:
        where = format_place(envs.name, column, episode, int(self.cap(envs)))
        return EnvironmentFault(f"{where}: the episode is still going: {self._advice()}")

    def _tell(self, cap: int) -> None:
        if not self.told:
            self.told = True
            log.warning("episodes are cut after %d steps %s", cap, self._consequence())

    def _advice(self) -> str:
        return (
            "set env.max_episode_steps, "
            "or with sampler=episodes sampler.max_steps and sampler.at_cap=truncate"
        )

    def _consequence(self) -> str:
        return (
            "(sampler.at_cap=truncate): a scheme with a critic bootstraps from there; "
            "one without takes the return up to the cut, which biases it"
        )


@dataclass
class Evaluation(Episodes):
    """Episodes that are looked at and not learned from; ``max_steps`` cuts them.
    ``setting``: what users type it as.
    """

    setting: ClassVar[str] = "trainer.eval_max_steps"

    @classmethod
    def of(cls, episodes: int, max_steps: int | None) -> Self:
        return cls(episodes, max_steps, "error" if max_steps is None else "truncate")

    def look(self, policy: Policy, envs: Envs, seeds: list[int]) -> Finished:
        """The returns and lengths of the deterministic policy's episodes alone."""
        return episode_outcomes(self.record(policy, envs, None, seeds))

    def _advice(self) -> str:
        return f"set env.max_episode_steps or {self.setting}"

    def _consequence(self) -> str:
        return f"({self.setting}): their returns are of so many steps"


def episode_outcomes(arrays: Arrays) -> Finished:
    """(return, length) of each episode, one a column."""
    return list(zip(arrays.reward.sum(0).tolist(), arrays.mask.sum(0).tolist(), strict=True))
