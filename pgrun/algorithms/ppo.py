from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import gymnasium as gym
import torch

from pgrun.algorithms.base import Learner, Repeated
from pgrun.config.schema import NonNegative, Positive, Range
from pgrun.errors import Mistake
from pgrun.optimization.natural_gradient import mean_kl
from pgrun.optimization.schedules import OVER_THE_RUN, Kind, Schedule
from pgrun.policies.importance import mean_by_episode, mean_log_ratio, weighted_log_ratio
from pgrun.types import Batch, Rollout

if TYPE_CHECKING:
    from torch import Tensor

AboveOne = Annotated[float, Range(1, open=True)]


@dataclass
class Ppo(Repeated):
    """Proximal policy optimisation: L = 1/count Σ mask·min(ρA, clip(ρ, 1−ε, 1+ε)A), ρ = π_θ(a|s)/π_old(a|s).

    Schulman et al. 2017, eq. 7, in ``epochs`` of ``minibatches``. ``target_kl``: no further epoch once the
    exact mean KL(old‖new) over the batch exceeds it. ``clip_schedule=linear`` or ``cosine`` takes ε from
    ``clip`` to ``clip_end`` over the run; ``kl`` keeps an update's KL near ``clip_target_kl`` by it.

    ``clip_high``: the clip's upper side 1 + ``clip_high`` instead of 1 + ε, so that what was unlikely may
    become likelier (DAPO: Yu et al. 2025, eq. 10). ``dual_clip`` c: where A < 0 no less than cA, which bounds
    what one step can lose (Ye et al. 2020, eq. 5). ``ratio=sequence``: one ratio for an episode, the
    geometric mean of its steps', exp(1/|τ| Σₜ log ρₜ) (GSPO: Zheng et al. 2025, eq. 7), in minibatches of
    whole episodes; at θ_old the gradient is that of ``token`` where Ψ is the same for all steps of an
    episode.
    """

    clip: Positive = 0.2  # ε: no gradient once a ratio is this far from 1
    target_kl: Positive | None = None
    clip_schedule: Kind = "constant"
    clip_end: NonNegative = 0.0  # where linear and cosine take it
    clip_target_kl: Positive = 0.01  # of an update, which kl keeps to
    clip_high: Positive | None = None
    dual_clip: AboveOne | None = None
    ratio: Literal["token", "sequence"] = "token"
    epsilon: float = field(init=False, default=0.0)  # ε at this point of the run
    upper: float = field(init=False, default=0.0)  # the clip's upper side less 1
    has_clip: ClassVar[bool] = True
    takes_reference: ClassVar[bool] = True
    read_when: ClassVar = {
        **Repeated.read_when,
        "clip_end": ("clip_schedule", OVER_THE_RUN),
        "clip_target_kl": ("clip_schedule", "kl"),
    }

    def __post_init__(self) -> None:
        self.follow_schedules()

    @classmethod
    def misfits(cls, settings: Mapping[str, Any], env: gym.Env | None) -> Iterator[Mistake]:
        algo, sampler = settings["algo"], settings["sampler"]
        if algo["ratio"] == "token":
            return
        if sampler["name"] != "episodes":
            yield Mistake("algo.ratio", "sequence", "is the ratio of a whole episode", "add sampler=episodes")
        elif algo["minibatches"] > sampler["episodes"]:
            yield Mistake(
                "algo.minibatches",
                algo["minibatches"],
                f"algo.ratio=sequence keeps episodes whole, and sampler.episodes={sampler['episodes']}",
                "add algo.minibatches=1",
            )
        if settings["advantage_scope"] == "minibatch":
            yield Mistake(
                "algo.ratio", "sequence", "Ψ is normalised over the batch", "add advantage_scope=batch"
            )

    @property
    def keeps_episodes_whole(self) -> bool:
        return self.ratio == "sequence"

    def prepare_rollout(self, rollout: Rollout, learner: Learner) -> Rollout:
        if self.ratio == "token":
            return rollout
        column = torch.arange(rollout.mask.shape[1], device=rollout.mask.device)
        return replace(rollout, extra={**rollout.extra, "episode": column.expand_as(rollout.mask)})

    def log_ratio(self, log_prob: Tensor, batch: Batch) -> Tensor:
        """log ρ [B], 0 in rows that enter nothing."""
        if self.ratio == "token":
            return weighted_log_ratio(log_prob, batch)
        return mean_log_ratio(log_prob, batch, batch.extra["episode"])

    @cached_property
    def schedules(self) -> dict[str, Schedule]:
        clip = Schedule(self.clip, self.clip_schedule, self.clip_end, self.clip_target_kl)
        return {**super().schedules, "clip": clip}

    def follow_schedules(self) -> None:
        self.epsilon = self.schedules["clip"].value
        high = None if self.clip_high is None else self.clip_high * (self.epsilon / self.clip)
        self.upper = self.epsilon if high is None else high

    def surrogate(self, log_prob: Tensor, batch: Batch) -> Tensor:
        ratio = self.log_ratio(log_prob, batch).exp()
        near = ratio.clamp(1 - self.epsilon, 1 + self.upper)
        value = (ratio * batch.psi).minimum(near * batch.psi)
        if self.dual_clip is not None:
            value = torch.where(batch.psi < 0, value.maximum(self.dual_clip * batch.psi), value)
        return (batch.mask * value).sum() / batch.count

    def gradient_weight(self, log_prob: Tensor, batch: Batch) -> Tensor:
        """mask·ρA/count, and 0 where the clip is active, though ρ be infinite: there
        the minimum is constant. With a ratio of episodes each step gets the mean over its episode.
        """
        ratio = self.log_ratio(log_prob, batch).exp()
        live = (batch.mask > 0) & ~self.clipped(ratio, batch)
        weight = torch.where(live, ratio * batch.psi, 0.0) / batch.count
        if self.ratio == "token":
            return weight
        return batch.mask * mean_by_episode(weight, batch, batch.extra["episode"])

    def clipped(self, ratio: Tensor, batch: Batch) -> Tensor:
        above = (batch.psi > 0) & (ratio > 1 + self.upper)
        far = above | ((batch.psi < 0) & (ratio < 1 - self.epsilon))
        return far if self.dual_clip is None else far | ((batch.psi < 0) & (ratio > self.dual_clip))

    def stop_rule(self) -> Callable[[Batch, Learner], bool] | None:
        limit = self.target_kl
        if limit is None:
            return None

        def exceeds_target_kl(batch: Batch, learner: Learner) -> bool:
            return bool(mean_kl(learner.policy, batch) > limit)

        return exceeds_target_kl
