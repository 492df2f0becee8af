"""Updates of an actor-critic on replayed transitions, one call each, whatever plays the environments."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from pgrun.algorithms.base import Algorithm, Learner
from pgrun.algorithms.estimator import Estimator
from pgrun.compiled.iterations.base import Iterations, Played
from pgrun.compiled.iterations.replay_parts import Chances, ReplayParts, learns_from_replay
from pgrun.compiled.tracing import TracedWeight
from pgrun.envs import Envs
from pgrun.kernels import iterations as kernels
from pgrun.kernels.replayed_iterations import learn_from_memory
from pgrun.policies.normalization import NoRewardScale, NoStateNorm, RewardScale, RunningNorm
from pgrun.rollouts.samplers.replay import Replay
from pgrun.rollouts.trajectory import Finished
from pgrun.terminal.training_time import TRAINING_TIME
from pgrun.types import Batch, Rollout

LONGEST = 0.1  # seconds of iterations in a call: for so long a signal waits


class ReplayedUpdates(Iterations):
    """Iterations of ``off_policy_ac`` with ``corrections=all``, once the ring holds its warm-up: the sampler
    collects and keeps, the kernel learns.
    """

    @classmethod
    def covers(
        cls,
        learner: Learner,
        algorithm: Algorithm,
        estimator: Estimator,
        sampler: Any,
        scale: RewardScale | NoRewardScale,
    ) -> bool:
        """Whether an update of such a run is the one of this kernel."""
        norms = type(learner.policy.normaliser) in (NoStateNorm, RunningNorm)
        scales = type(scale) in (NoRewardScale, RewardScale)
        return norms and scales and learns_from_replay(learner, algorithm, estimator, sampler)

    def __init__(
        self,
        learner: Learner,
        algorithm: Algorithm,
        estimator: Estimator,
        sampler: Replay,
        envs: Envs,
        traced: TracedWeight,
        noise: torch.Generator,
        scale: RewardScale | NoRewardScale,
    ):
        super().__init__(learner, algorithm, sampler, envs.num_envs, traced, noise, sampler.batch)
        self.sampler: Replay = sampler
        self.envs, self.scale = envs, scale
        self.parts = ReplayParts(self, estimator, scale)
        self.pending: Chances | None = None  # of the iteration whose first part is done

    @property
    def most(self) -> int:
        """How many iterations one call may do now: 0 until the warm-up is over."""
        return super().most if self.parts.holds_warmup else 0

    def run_many(self, count: int, progress: Callable[[np.ndarray], np.ndarray]) -> Played:
        rates, counts, over = self.list_rates(count, progress), np.zeros(4, np.int64), []
        policy, end = self.learner.policy, time.monotonic() + LONGEST
        for _ in range(count):
            begun = TRAINING_TIME.now()
            rollout, finished = self.sampler.collect(policy, self.envs, self.noise, self.scale)
            over += finished
            middle = TRAINING_TIME.now()
            self.seconds[0] += middle - begun
            at = counts[kernels.STEPS]
            counts[kernels.STEPS] += rollout.live_rows
            if rollout.live_rows:
                self.sampler.remember(rollout, policy, self.noise)
                self.update(self.parts.draw_chances(), rates, at, counts)
                if counts[kernels.OUTCOME] != kernels.FINE:
                    break
                policy.normaliser.update(rollout)
                self.scale.update(rollout)
            self.seconds[1] += TRAINING_TIME.now() - middle
            if time.monotonic() > end:
                break
        steps, updates, outcome = (int(counts[i]) for i in (kernels.STEPS, kernels.UPDATES, kernels.OUTCOME))
        return Played(steps, updates + (outcome == kernels.BAD_WEIGHT), over, outcome == kernels.FINE)

    def collect(self) -> tuple[Rollout, Finished]:
        """Also draws what the update needs, and puts the generator back: the general way, which weighs and
        measures, draws the same.
        """
        collected = self.sampler.collect(self.learner.policy, self.envs, self.noise, self.scale)
        state = self.noise.get_state()
        self.draw_action_noise(self.shape)  # of the successors' actions
        self.pending = self.parts.draw_chances()
        self.noise.set_state(state)
        return collected

    def learn(self) -> None:
        assert self.pending is not None
        chances, self.pending = self.pending, None
        self.update(chances, self.present_rates(), 0, np.zeros(4, np.int64))

    def update(
        self, chances: Chances, rates: tuple[np.ndarray, np.ndarray], at: int, counts: np.ndarray
    ) -> None:
        """One call of the kernel on what the ring holds."""
        packed, kept = self.parts, np.array([self.sampler.seen])
        packed.drawn = chances[0]
        own = chances, packed.pack_memory(), kept, packed.pack_weighing()
        learn_from_memory(*own, self.pack_actor(), packed.pack_critic(), rates, at, counts)

    def has_collected(self, rollout: Rollout) -> bool:
        return self.pending is not None

    def last_batch(self) -> tuple[Rollout, Batch]:
        return self.parts.last_batch()
