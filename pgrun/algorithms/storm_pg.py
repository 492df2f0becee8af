from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import gymnasium as gym
import torch

from pgrun.algorithms.base import Algorithm, Learner
from pgrun.algorithms.off_policy_pg import OffPolicyPg, find_terms_beside_rewards, log_ratio, weight_scalars
from pgrun.config.schema import Positive, Range
from pgrun.errors import Mistake
from pgrun.types import Batch

if TYPE_CHECKING:
    from torch import Tensor

Share = Annotated[float, Range(0, 1, open=True)]


@dataclass
class StormPg(Algorithm):
    """Recursive momentum across iterations (Yuan et al. 2020, STORM-PG; Cutkosky & Orabona 2019):

        dₜ = ĝ(θₜ) + (1 − α)(dₜ₋₁ − ĝ_ω(θₜ₋₁)),   d₀ = ĝ(θ₀)

    both ĝ of the batch that θₜ drew: ĝ_ω is what it says of the policy before, with importance weights
    ω = p(τ|θₜ₋₁)/p(τ|θₜ), so that E ĝ_ω = ∇J(θₜ₋₁). The error is handed on, E[dₜ − ∇J(θₜ)] = (1 − α)(dₜ₋₁ −
    ∇J(θₜ₋₁)), and near the last policy the noise of ĝ and ĝ_ω cancels: where θ stands still Var[dₜ | dₜ₋₁] is
    α²Var ĝ. α = 1 is REINFORCE; SVRPG (Papini et al. 2018) has a large batch now and then in the place of
    dₜ₋₁.
    """

    alpha: Share = 0.2  # weight of the new batch alone; 1: no memory
    weights: Literal["trajectory", "per_decision"] = "trajectory"  # of ĝ_ω
    truncate: Positive | None = None  # cap of ω: less variance, some bias
    memory: dict[str, Tensor] = field(init=False, default_factory=dict, repr=False)  # d and θ of before
    told: dict[str, Tensor] = field(init=False, default_factory=dict, repr=False)

    takes_corrections: ClassVar[bool] = False
    samplers: ClassVar[tuple[str, ...]] = ("episodes",)
    tags: ClassVar[tuple[str, ...]] = (*OffPolicyPg.tags, "direction/cosine")

    @classmethod
    def misfits(cls, settings: Mapping[str, Any], env: gym.Env | None) -> Iterator[Mistake]:
        if settings["algo"]["weights"] == "per_decision":
            yield from find_terms_beside_rewards(settings)
        if settings["advantage_norm"] != "none":
            yield Mistake(
                "algo",
                "storm_pg",
                "adds gradients of batches, each of which would be normalised by a number of its own",
                "add advantage_norm=none",
            )
        if settings["reward_scaling"]:
            yield Mistake(
                "algo",
                "storm_pg",
                "adds gradients of batches whose rewards would have other units",
                "add reward_scaling=false",
            )
        if settings["algo"]["entropy"]:
            yield Mistake("algo", "storm_pg", "has weights for rewards alone", "add algo.entropy=0")
        if settings["network"]["name"] != "separate":
            yield Mistake(
                "algo", "storm_pg", "remembers gradients of the policy alone", "add network=separate"
            )

    def surrogate(self, log_prob: Tensor, batch: Batch) -> Tensor:
        return (batch.mask * batch.psi * log_prob).sum() / batch.count

    def improve(self, batch: Batch, learner: Learner) -> None:
        """One step along dₜ."""
        policy = learner.policy
        gradient = -self.loss_gradient(batch, learner)
        direction = gradient
        if self.memory:
            before = replace(learner, policy=policy.with_theta(self.memory["theta"]))
            past = OffPolicyPg(weights=self.weights, truncate=self.truncate)
            of_past = -past.loss_gradient(batch, before)
            direction = gradient + (1 - self.alpha) * (self.memory["direction"] - of_past)
            log_prob = policy.dist.log_prob(before.policy.params(batch.obs), batch.action)
            self.told = weight_scalars(log_ratio(log_prob, batch), batch)
        self.told["direction/cosine"] = torch.cosine_similarity(direction, gradient, dim=0)
        self.memory = {"direction": direction.clone(), "theta": policy.theta.clone()}
        learner.optimizer.step(-direction)

    def scalars(self) -> dict[str, Tensor]:
        return self.told

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "memory": dict(self.memory)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.memory = dict(state["memory"])
