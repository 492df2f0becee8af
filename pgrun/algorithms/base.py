"""What every first-order algorithm shares: steps up the gradient of its surrogate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import gymnasium as gym
import torch

from pgrun.config.own_code import refuse_returned, require_shape
from pgrun.config.schema import NonNegative, Positive, PositiveInt, Repeats
from pgrun.config.settings import AdvantageNorm
from pgrun.critics.base import Critic
from pgrun.envs import Envs
from pgrun.errors import Mistake
from pgrun.optimization.minibatches import shuffle_into_minibatches, shuffled_episodes
from pgrun.optimization.optimizers import Optimizer
from pgrun.optimization.schedules import OVER_THE_RUN, Kind, Schedule, states_of
from pgrun.policies.distributions import Distribution
from pgrun.policies.importance import weighted_log_ratio
from pgrun.policies.policy import Policy
from pgrun.policies.reference import ReferencePenalty
from pgrun.types import Batch, Rollout
from pgrun.variance.advantage_norm import normalise_advantages
from pgrun.variance.base import Scheme

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Learner:
    """What an update works on."""

    policy: Policy
    critic: Critic
    optimizer: Optimizer
    generator: torch.Generator  # shuffles minibatches
    minibatch_norm: AdvantageNorm = (
        "none"  # what is done to Ψ of each minibatch, beside what was done to the batch's
    )
    reference: ReferencePenalty | None = None  # a policy that π is kept near

    def renormalise(self, rows: Batch) -> Batch:
        """A minibatch with Ψ normalised over its own rows. On Ψ that the batch's norm has moved and scaled
        the same norm gives what it would of the raw Ψ, but for its ε.
        """
        if self.minibatch_norm == "none":
            return rows
        return replace(rows, psi=rows.mask * normalise_advantages(rows.psi, rows.mask, self.minibatch_norm))

    def take_update(self, algorithm: Algorithm, batch: Batch) -> None:
        """Have the algorithm learn from a batch."""
        algorithm.update(batch, self)

    def ascend(self, algorithm: Algorithm, batch: Batch, parts: int = 1, epochs: int = 1) -> None:
        """Pass over the batch ``epochs`` times: a step of the algorithm on each of ``parts`` minibatches
        drawn at random, or on the whole batch.
        """
        split = shuffled_episodes if algorithm.keeps_episodes_whole else shuffle_into_minibatches
        for _ in range(epochs):
            for rows in split(batch, parts, self.generator):
                algorithm.ascend(self.renormalise(rows), self)


@dataclass
class Algorithm:
    """A surrogate L(θ) whose gradient at θ_old is the policy gradient, and the steps taken on it.

    ``entropy``: c_H in the objective L + c_H·(1/count) Σ mask·H(π(·|s)) (Williams & Peng 1991).
    ``entropy_schedule`` takes it to ``entropy_end`` over the run, or adapts it to ``entropy_target_kl``.
    """

    entropy: NonNegative = 0.0
    entropy_schedule: Kind = "constant"
    entropy_end: NonNegative = 0.0  # where linear and cosine take it
    entropy_target_kl: Positive = 0.01  # of an update, which kl keeps to

    read_when: ClassVar = {
        "entropy_end": ("entropy_schedule", OVER_THE_RUN),
        "entropy_target_kl": ("entropy_schedule", "kl"),
    }
    samplers: ClassVar[tuple[str, ...]] = ("episodes", "steps")
    allowed_schemes: ClassVar[
        tuple[str, ...]
    ] = ()  # the only ones that fit; () for all that the sampler allows
    of_actions: ClassVar[bool] = False  # its critic is one of actions, fitted to replayed transitions
    has_clip: ClassVar[bool] = False
    takes_own_step: ClassVar[bool] = False  # takes its step itself: no optimizer, and no shared network
    takes_corrections: ClassVar[bool] = True  # of a scheme that adds to the gradient itself
    own_targets: ClassVar[tuple[str, tuple[str, ...]]] = ("", ())  # the setting, and its values, with which
    # the critic is fitted to what ``critic_rows`` or ``renew_values`` gives, whatever ``critic.target``
    takes_reference: ClassVar[bool] = False  # its steps can be kept near a reference policy
    tags: ClassVar[tuple[str, ...]] = ()  # of ``scalars``
    recomputed: ClassVar[tuple[str, ...]] = ()  # attributes that each update makes anew: no part of its state

    @classmethod
    def misfits(cls, settings: Mapping[str, Any], env: gym.Env | None) -> Iterator[Mistake]:
        """Settings of its own that make no sense together with others or with the environment, each with the
        nearest that do.
        """
        yield from ()

    def prepare(self, envs: Envs) -> None:
        """Look at the environments it will learn from, just reset."""

    def surrogate(self, log_prob: Tensor, batch: Batch) -> Tensor:
        """L, to be increased: a pure function of log π_θ(a|s) [B] and the batch."""
        raise NotImplementedError

    def gradient_weight(self, log_prob: Tensor, batch: Batch) -> Tensor:
        """∂L/∂log π_θ(a|s) [B], so that ∇L = Σ weight·∇log π.

        Where it is worth it, algorithms give the closed form.
        """
        with torch.enable_grad():
            log_prob = log_prob.detach().requires_grad_()
            value = self.surrogate(log_prob, batch)
            require_shape(self.surrogate, value, ())
            if not value.requires_grad:
                raise refuse_returned(self.surrogate, "a number that log_prob has no part in")
            return torch.autograd.grad(value, log_prob)[0]

    def effective_psi(self, batch: Batch, policy: Policy) -> Tensor:
        """Ψ as the surrogate weighs it at the present θ [B]: count·∂L/∂log π_θ(a|s).

        Of most algorithms mask·Ψ, while θ is θ_old. Others weigh the rows of their Ψ anew.
        """
        batch = self.renew_values(batch, policy)
        log_prob = policy.dist.log_prob(policy.params(batch.obs), batch.action)
        return batch.count * self.compute_gradient_weight(log_prob, batch)

    def compute_gradient_weight(self, log_prob: Tensor, batch: Batch) -> Tensor:
        """``gradient_weight`` [B]; raises ``OwnCodeFault`` where one's own has another shape or type."""
        weight = self.gradient_weight(log_prob, batch)
        require_shape(self.gradient_weight, weight, tuple(log_prob.shape), log_prob)
        return weight

    def renew_values(self, batch: Batch, policy: Policy) -> Batch:
        """The batch with what depends on the policy beside log π, as it is now."""
        return batch

    def critic_rows(self, batch: Batch, policy: Policy) -> Batch:
        """What the critic is fitted to, once θ has moved to ``policy``."""
        return batch.for_critic

    @cached_property
    def schedules(self) -> dict[str, Schedule]:
        """Settings of its own that go over the run, by name."""
        return {
            "entropy": Schedule(self.entropy, self.entropy_schedule, self.entropy_end, self.entropy_target_kl)
        }

    def set_progress(self, progress: float) -> None:
        """Move every schedule to this share of the run, in [0, 1]."""
        for schedule in self.schedules.values():
            schedule.set_progress(progress)
        self.follow_schedules()

    def adapt_schedules(self, kl: float) -> None:
        """What those that follow the KL make of an update's."""
        for schedule in self.schedules.values():
            schedule.adapt(kl)
        self.follow_schedules()

    def follow_schedules(self) -> None:
        """Take the present values over, where a formula reads a number of the object itself."""

    @property
    def entropy_weight(self) -> float:
        """c_H at this point of the run."""
        return self.schedules["entropy"].value

    @property
    def kl_weight(self) -> float:
        """β of a term −β·(1/count) Σ mask·KL(old‖new) in the objective."""
        return 0.0

    @property
    def keeps_episodes_whole(self) -> bool:
        """Whether a minibatch has all rows of an episode or none."""
        return False

    def log_ratio(self, log_prob: Tensor, batch: Batch) -> Tensor:
        """log ρ of each row [B], as the surrogate takes it."""
        return weighted_log_ratio(log_prob, batch)

    def effective_scheme(self, scheme: Scheme) -> Scheme:
        """The scheme that weighs, where a setting of the algorithm's own has a part in Ψ."""
        return scheme

    def prepare_rollout(self, rollout: Rollout, learner: Learner) -> Rollout:
        """The rollout as this algorithm weighs it: off-policy ones take other actions at the same states.
        What it needs of each row beside that, it puts into ``extra`` [T, N, …], and finds in the batch's
        ``extra``.
        """
        return rollout

    def update(self, batch: Batch, learner: Learner) -> None:
        """Move θ, then fit the critic: Ψ was computed before, so both use the same old values.

        Unless it ``fits_first``.
        """
        self.improve(batch, learner)
        if not learner.critic.fits_first:
            learner.critic.fit(self.critic_rows(batch, learner.policy), learner.generator)

    def improve(self, batch: Batch, learner: Learner) -> None:
        """One step on the whole batch."""
        learner.ascend(self, batch)

    def ascend(self, batch: Batch, learner: Learner) -> None:
        """One step of the optimizer up the gradient of the objective."""
        learner.optimizer.step(self.loss_gradient(batch, learner))

    def loss_gradient(self, batch: Batch, learner: Learner) -> Tensor:
        """−∇(L + c_H·entropy − the value term of a joint loss) [P]"""
        policy = learner.policy
        kept = policy.activations(batch.obs)
        params = kept[-1][:, policy.value_outputs :]
        value = learner.critic.joint_delta(kept[-1], batch)
        gained = self.params_gradient(params, batch, policy.dist)
        if learner.reference is not None:
            gained = gained - learner.reference.loss_slope(params, batch, policy.dist)
        delta = policy.output_delta(-gained, value)
        gradient = policy.net.gradient(policy.layers, kept, delta)
        return gradient if batch.correction is None else gradient - batch.correction

    def params_gradient(self, params: Tensor, batch: Batch, dist: Distribution) -> Tensor:
        """∂(L + c_H·entropy − β·KL)/∂params [B, K], from the distribution's scores."""
        log_prob = dist.log_prob(params, batch.action)
        weight = self.compute_gradient_weight(log_prob, batch)
        result = weight[:, None] * dist.score(params, batch.action)
        if self.entropy_weight:
            share = self.entropy_weight / batch.count * batch.mask
            result += share[:, None] * dist.entropy_gradient(params)
        if self.kl_weight:
            share = self.kl_weight / batch.count * batch.mask
            result -= share[:, None] * dist.kl_gradient(batch.params, params)
        return result

    def clipped(self, ratio: Tensor, batch: Batch) -> Tensor:
        """Rows whose gradient the objective zeroes [B], for algorithms that clip."""
        raise NotImplementedError

    def scalars(self) -> dict[str, Tensor]:
        """What this algorithm alone can tell of its last update."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        return states_of(self.schedules)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, schedule in self.schedules.items():
            schedule.load_state_dict(state.get(name, {}))
        self.follow_schedules()


@dataclass
class Repeated(Algorithm):
    """Several steps on one batch: ``epochs`` passes over it, in ``minibatches`` of
    equal size drawn at random.
    """

    epochs: Repeats = 1  # passes over a batch
    minibatches: PositiveInt = 1  # parts of a batch, with a step for each

    def improve(self, batch: Batch, learner: Learner) -> None:
        stops = self.stop_rule()
        if stops is None:
            learner.ascend(self, batch, self.minibatches, self.epochs)
            return
        for _ in range(self.epochs):
            learner.ascend(self, batch, self.minibatches)
            if stops(batch, learner):
                break

    def stop_rule(self) -> Callable[[Batch, Learner], bool] | None:
        """What tells after an epoch whether to leave the remaining ones out; None where nothing does, so that
        all are one call.
        """
        return None
