"""Whole iterations of an actor-critic on replayed transitions, of an environment with a choice of actions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from pgrun.algorithms.base import Algorithm, Learner
from pgrun.algorithms.estimator import Estimator
from pgrun.compiled.distributions import CompiledCategorical
from pgrun.compiled.iterations.base import KernelIterations
from pgrun.compiled.iterations.replay_parts import Chances, ReplayParts, learns_from_replay
from pgrun.compiled.tracing import TracedWeight
from pgrun.kernels import iterations as kernels
from pgrun.kernels.replayed_iterations import run_replayed_iterations
from pgrun.policies.normalization import NoRewardScale
from pgrun.rollouts.compiled_player import Player
from pgrun.rollouts.samplers.replay import Replay
from pgrun.rollouts.trajectory import Finished
from pgrun.types import Batch, Rollout


class ReplayedIterations(KernelIterations):
    """Iterations of ``off_policy_ac`` with ``corrections=all``, once the ring holds its warm-up.

    What an iteration draws after its rollout is drawn before the call, and drawn again by the general way
    where that has a part in the update: the generator is put back for it.
    """

    @classmethod
    def covers(cls, learner: Learner, algorithm: Algorithm, estimator: Estimator, sampler: Any) -> bool:
        """Whether an update of such a run is the one of this kernel."""
        choices = type(learner.policy.dist) is CompiledCategorical
        return choices and learns_from_replay(learner, algorithm, estimator, sampler)

    def __init__(
        self,
        learner: Learner,
        algorithm: Algorithm,
        estimator: Estimator,
        sampler: Replay,
        player: Player,
        traced: TracedWeight,
        noise: torch.Generator,
    ):
        super().__init__(learner, algorithm, sampler, player, traced, noise, sampler.batch)
        self.sampler: Replay = sampler
        self.parts = ReplayParts(self, estimator, NoRewardScale())
        self.pending: Chances | None = None  # of the iteration whose first part is done

    @property
    def most(self) -> int:
        """How many iterations one call may do now: 0 until the warm-up is over."""
        return super().most if self.parts.holds_warmup else 0

    def draw_chances(self) -> Chances:
        """What one iteration draws after its rollout, in the order of the general way."""
        successors = self.draw_action_noise(self.shape)
        return successors, *self.parts.draw_chances()

    def call_whole(self, count: int, rates: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, Finished]:
        noise, states, chances = [], [], []
        for _ in range(count):
            noise.append(self.draw_noise())
            states.append(self.noise.get_state())
            chances.append(self.draw_chances())
        columns = tuple(np.stack(column) for column in zip(*chances, strict=True))
        counts, finished = self.call(kernels.WHOLE, np.stack(noise), columns, rates)
        done = int(counts[kernels.UPDATES])
        if counts[kernels.OUTCOME] == kernels.FINE and done < count:  # a rollout without a live row
            self.noise.set_state(states[done])
        failed = counts[kernels.OUTCOME] == kernels.BAD_WEIGHT
        self.parts.drawn = chances[done if failed else done - 1][1]
        return counts, finished

    def call_collect(self) -> tuple[np.ndarray, Finished]:
        noise = self.draw_noise()
        state = self.noise.get_state()
        self.pending = tuple(x[None] for x in self.draw_chances())
        self.noise.set_state(state)
        return self.call(kernels.COLLECT, noise[None], self.pending, self.present_rates())

    def call_learn(self) -> None:
        assert self.pending is not None
        chances, self.pending = self.pending, None
        self.parts.drawn = chances[1][0]
        self.call(kernels.LEARN, np.zeros((1, 1, 1, 1), np.float32), chances, self.present_rates())

    def has_collected(self, rollout: Rollout) -> bool:
        return self.pending is not None

    def last_batch(self) -> tuple[Rollout, Batch]:
        return self.parts.last_batch()

    def call(
        self, part: int, noise: np.ndarray, chances: Chances, rates: tuple[np.ndarray, np.ndarray]
    ) -> tuple[np.ndarray, Finished]:
        """One call of the kernel: (what was counted [4], the episodes that ended)."""
        sampler, packed = self.sampler, self.parts
        if not sampler.memory:
            rollout = self.last_rollout()
            sampler.make_room(sampler.columns_of(rollout) | {"next_action": rollout.action})
        kept = np.array([sampler.seen])
        own = part, self.pack_player(), noise, chances, self.records.arguments, packed.pack_memory(), kept
        parts = *own, packed.pack_weighing(), self.pack_actor(), packed.pack_critic(), rates
        counted = self.count_calls(len(noise), lambda *given: run_replayed_iterations(*parts, *given))
        sampler.seen = int(kept[0])
        return counted
