"""The update of a run on a device, captured: all its minibatches, the critic's too, in one graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

from pgrun.algorithms.a2c import A2c
from pgrun.algorithms.base import Algorithm, Learner
from pgrun.algorithms.ppo import Ppo
from pgrun.critics.base import NoCritic
from pgrun.critics.fitted import SeparateCritic, SharedCritic
from pgrun.rollouts.capture import capture_work
from pgrun.types import Batch, each_tensor

if TYPE_CHECKING:
    from torch import Tensor


def can_capture_update(algorithm: Algorithm, learner: Learner, batch: Batch) -> bool:
    """Whether every update does the same operations on tensors of the same shapes.

    Not so where the algorithm looks at numbers, where a schedule changes a number that is no tensor, and
    where a row carries more than its tensors.
    """
    critic = learner.critic
    plain = type(algorithm) is A2c or (type(algorithm) is Ppo and algorithm.target_kl is None)
    known = type(critic) in (SeparateCritic, SharedCritic, NoCritic) and not critic.fits_first
    schedules = [*algorithm.schedules.values(), learner.optimizer.schedule, *critic.schedules]
    steady = all(schedule.kind == "constant" for schedule in schedules)
    whole = batch.critic_rows is None and not batch.extra and batch.correction is None
    return plain and known and steady and whole


@dataclass
class CapturedLearner(Learner):
    """A learner that copies the batch to where the graph reads it, and replays the graph."""

    held: Batch | None = field(default=None, repr=False)  # what the graph reads
    replay: Callable[[], None] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, learner: Learner) -> CapturedLearner:
        return cls(**{f.name: getattr(learner, f.name) for f in fields(learner)})

    def take_update(self, algorithm: Algorithm, batch: Batch) -> None:
        if not can_capture_update(algorithm, self, batch):
            super().take_update(algorithm, batch)
            return
        if self.held is None or self.held.obs.shape != batch.obs.shape or self.held.count != batch.count:
            self.held = replace(
                batch, **each_tensor(batch, lambda x: x.clone()), psi_for_weighted_rewards=None
            )
            self.replay = None
        held = self.held
        for name, x in each_tensor(batch, lambda x: x).items():
            getattr(held, name).copy_(x)
        if self.replay is None:
            self.replay = capture_work(
                lambda: algorithm.update(held, self), self.find_moved(), [self.generator]
            )
        self.replay()

    def find_moved(self) -> list[Tensor]:
        """θ, φ and the optimizers' state: all that an update changes."""
        moved = [self.policy.theta, *self.optimizer.state.values()]
        if isinstance(self.critic, SeparateCritic):
            moved += [self.critic.phi, *self.critic.optimizer.state.values()]
        return moved
