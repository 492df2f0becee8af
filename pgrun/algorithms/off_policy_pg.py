from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import gymnasium as gym
import torch

from pgrun.algorithms.base import Algorithm, Learner
from pgrun.algorithms.retrace import (
    correct_action_values,
    find_no_action_values,
    record_action_values,
    renew_state_values,
)
from pgrun.config.schema import Positive, Probability, Repeats
from pgrun.config.settings import CENTERING
from pgrun.critics.exact import follow_problem, require_tabular_problem
from pgrun.envs import Envs
from pgrun.errors import Mistake
from pgrun.exact import Problem, policy_table, state_visits
from pgrun.policies.importance import effective_share
from pgrun.policies.policy import Policy
from pgrun.returns import v_trace_errors
from pgrun.types import Batch, Rollout

if TYPE_CHECKING:
    from torch import Tensor

ROUNDING = 1e-12  # of a sum of probabilities: below it "ended" was not reached


@dataclass
class OffPolicyPg(Algorithm):
    """A batch of whole episodes of π_old reused for ``reuses`` steps of π_θ, with importance weights
    ρₖ = π_θ(aₖ|sₖ)/π_old(aₖ|sₖ):

        trajectory    1/N Σᵢ ∏_{all} ρ Σₜ gₜΨₜ                  unbiased
        per_decision  1/N Σᵢ Σₜ gₜ Σ_{t'≥t} γ^{t'−t} r_{t'} ∏_{k≤t'} ρₖ  unbiased; the rewards to go
                                                        so weighted, no baseline
        past_only     1/N Σᵢ Σₜ gₜ ∏_{k≤t} ρₖ Ψₜ                biased: mean
                                                        E_θ[Σ gₜ Q^{π_old}(sₜ,aₜ)]
        state_ratio   1/N Σᵢ Σₜ gₜ p_θ(sₜ)/p_old(sₜ) ρₜ Ψₜ      the same mean: E[∏_{k<t} ρₖ | sₜ]
                                                        is that ratio; tabular
        per_step      1/N Σᵢ Σₜ gₜ ρₜ Ψₜ                        first order: the ratio of
                                                        state visits taken for 1
        v_trace       1/N Σᵢ Σₜ gₜ min(ρ̄, ρₜ)(rₜ + γvₜ₊₁ − V(sₜ))  the same, with what follows
                                                        corrected too; Ψ = δ
        retrace       1/N Σᵢ Σₜ gₜ min(ρ̄, ρₜ)(Qʳ(sₜ, aₜ) − V(sₜ))  the same from Q of actions; Ψ = Q − V

    Precup, Sutton & Singh 2000; Jie & Abbeel 2010. ``truncate`` caps each product: less variance, some bias
    (Ionides 2008). ``self_normalise`` divides the products of a time step by their mean over all episodes, an
    ended one keeping its last: less variance, and a bias that vanishes with their number (Precup et al. 2000,
    "weighted" importance sampling). ``v_trace`` (Espeholt et al. 2018, §4.1): v is the V-trace target of
    ``returns.v_trace_errors``, anew at each step, and what the critic is fitted to in the end. ``retrace``
    (Munos et al. 2016; in an actor, Wang et al. 2017): Qʳ is that of ``algorithms.retrace``, renewed alike.
    """

    weights: Literal[
        "trajectory", "per_decision", "past_only", "state_ratio", "per_step", "v_trace", "retrace"
    ] = "per_decision"  # which importance ratios weigh an action
    reuses: Repeats = 4  # updates from one batch
    truncate: Positive | None = None
    self_normalise: bool = False
    rho_bar: Positive = 1.0  # ρ̄, the cap that decides what V-trace converges to
    c_bar: Positive = 1.0  # c̄, the cap of its traces, which decides how fast
    lam: Probability = 1.0  # λ of its traces
    problem: Problem | None = field(init=False, default=None, repr=False)
    state_ratio: Tensor | None = field(init=False, default=None, repr=False)  # [T, N] p_θ(sₜ)/p_old(sₜ)
    told: dict[str, Tensor] = field(init=False, default_factory=dict, repr=False)

    samplers: ClassVar[tuple[str, ...]] = ("episodes",)
    read_when: ClassVar = {
        **Algorithm.read_when,
        **dict.fromkeys(("rho_bar", "c_bar", "lam"), ("weights", ("v_trace", "retrace"))),
    }
    own_targets: ClassVar = ("weights", ("v_trace", "retrace"))
    tags: ClassVar[tuple[str, ...]] = ("weight/ess", "weight/mean", "weight/max", "weight/return")

    @classmethod
    def misfits(cls, settings: Mapping[str, Any], env: gym.Env | None) -> Iterator[Mistake]:
        weights = settings["algo"]["weights"]
        if weights == "per_decision":
            yield from find_terms_beside_rewards(settings)
        if weights == "v_trace":
            yield from find_no_plain_errors(settings)
        if weights == "retrace":
            yield from find_no_action_values(settings)
        if weights in ("v_trace", "retrace") and settings["critic"].get("fit") == "before":
            yield Mistake(
                "critic.fit",
                "before",
                f"is too early for algo.weights={weights}, whose targets are of the policy that has come out",
                "leave it out",
            )
        if weights == "state_ratio" and env is not None:
            try:
                require_tabular_problem(env, settings["env"].get("vector"))
            except LookupError as error:
                yield Mistake(
                    "algo.weights",
                    "state_ratio",
                    f"needs the transition table of env={settings['env']['id']}: {error}",
                    (
                        "take algo.weights=per_step, which sets the ratio to 1, or a tabular environment "
                        "such as env=FrozenLake-v1"
                    ),
                )

    def prepare(self, envs: Envs) -> None:
        if self.weights == "state_ratio":
            self.problem = follow_problem(envs)

    def prepare_rollout(self, rollout: Rollout, learner: Learner) -> Rollout:
        return record_action_values(rollout, learner) if self.weights == "retrace" else rollout

    def effective_psi(self, batch: Batch, policy: Policy) -> Tensor:
        self.state_ratio = batch.mask.new_ones(batch.shape)  # π is still the policy of the batch
        return super().effective_psi(batch, policy)

    def renew_values(self, batch: Batch, policy: Policy) -> Batch:
        """V(s) of retrace; the targets of v_trace where V is a head of the policy's network, which has them
        in its loss (Espeholt et al. 2018, §4.2).
        """
        if self.weights == "retrace":
            return renew_state_values(policy, batch)
        if self.weights == "v_trace" and policy.value_outputs:
            return replace(batch, target=self.critic_rows(batch, policy).target)
        return batch

    def surrogate(self, log_prob: Tensor, batch: Batch) -> Tensor:
        """A number whose gradient is the estimate: the weights are constants in it."""
        return (
            batch.mask * self.weighted_psi(log_ratio(log_prob, batch), batch) * log_prob
        ).sum() / batch.count

    def weighted_psi(self, log_ratio: Tensor, batch: Batch) -> Tensor:
        """Weight times Ψ of each row [B], from log ρ [T, N], 0 where the mask is."""
        if self.weights == "retrace":
            ratio = log_ratio.exp()
            advantage, _ = correct_action_values(ratio, batch, self.lam, self.c_bar)
            return (ratio.clamp(max=self.rho_bar) * advantage).flatten()
        if self.weights == "v_trace":
            ratio = log_ratio.exp()
            return (ratio.clamp(max=self.rho_bar) * self.v_trace(ratio, batch)[1]).flatten()
        weight = self.tamed(self.products(log_ratio))
        if self.weights == "per_decision":
            assert batch.psi_for_weighted_rewards is not None
            return batch.psi_for_weighted_rewards(weight).flatten()
        return torch.where(batch.psi != 0, weight.flatten() * batch.psi, 0.0)

    def v_trace(self, ratio: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """``v_trace_errors`` of a batch whose Ψ is δ."""
        delta = batch.psi.view(batch.shape)
        return v_trace_errors(delta, ratio, batch.gamma, self.rho_bar, self.c_bar, self.lam)

    def critic_rows(self, batch: Batch, policy: Policy) -> Batch:
        """The targets of v_trace and retrace are those of the policy that has come out."""
        rows = batch.for_critic
        if self.weights not in ("v_trace", "retrace"):
            return rows
        ratio = log_ratio(policy.dist.log_prob(policy.params(batch.obs), batch.action), batch).exp()
        if self.weights == "v_trace":
            return replace(rows, target=batch.value + self.v_trace(ratio, batch)[0].flatten())
        corrected = correct_action_values(ratio, self.renew_values(batch, policy), self.lam, self.c_bar)[1]
        return replace(rows, target=corrected.flatten())

    def products(self, log_ratio: Tensor) -> Tensor:
        """The weight of each row [T, N]."""
        match self.weights:
            case "trajectory":
                return log_ratio.sum(0).exp().expand(log_ratio.shape)
            case "per_decision" | "past_only":
                return log_ratio.cumsum(0).exp()
            case "per_step":
                return log_ratio.exp()
            case "state_ratio":
                assert self.state_ratio is not None
                return self.state_ratio * log_ratio.exp()
            case "v_trace" | "retrace":
                return log_ratio.exp().clamp(max=self.rho_bar)

    def tamed(self, weight: Tensor) -> Tensor:
        if self.truncate is not None:
            weight = weight.clamp(max=self.truncate)
        if self.self_normalise:
            weight = weight / weight.mean(1, keepdim=True).clamp(min=1e-30)
        return weight

    def improve(self, batch: Batch, learner: Learner) -> None:
        policy = learner.policy
        old = self.chances(policy, batch)
        self.state_ratio = old / old
        for _ in range(self.reuses):
            learner.ascend(self, self.renew_values(batch, policy))
            self.state_ratio = self.chances(policy, batch) / old
        log_prob = policy.dist.log_prob(policy.params(batch.obs), batch.action)
        self.told = weight_scalars(log_ratio(log_prob, batch), batch)

    def chances(self, policy: Policy, batch: Batch) -> Tensor:
        """P(sₜ = s) of each row's t and s under the policy as it is [T, N]; all 1 if nothing asks for it.

        Where the mask is 0 the episode is over, a state like any other: P(ended before t).
        """
        chance = torch.ones_like(batch.mask, dtype=torch.float64).view(batch.shape)
        if self.problem is None:
            return chance
        assert batch.state is not None
        mask, state = batch.mask.view(batch.shape) > 0, batch.state.view(batch.shape)
        time = torch.arange(len(mask), device=state.device)[:, None].expand_as(state)
        reached = state_visits(self.problem, policy_table(policy, self.problem)).to(state.device)
        return torch.where(mask, reached[time, state], (1 - reached.sum(1)).clamp(min=ROUNDING)[time])

    def scalars(self) -> dict[str, Tensor]:
        return self.told


def log_ratio(log_prob: Tensor, batch: Batch) -> Tensor:
    """log ρ [T, N], 0 where the mask is."""
    return torch.where(batch.mask > 0, log_prob - batch.log_prob, 0.0).detach().view(batch.shape)


def weight_scalars(log_ratio: Tensor, batch: Batch) -> dict[str, Tensor]:
    """Scalars of the episodes' W = ∏ρ, whichever weights the update takes: the effective sample size
    (ΣW)²/ΣW² ÷ N, their mean, which should be 1, the largest, and the importance-sampled return Ĵ(θ) = 1/N Σ
    W r(τ), undiscounted as ``return/train`` is.
    """
    log_weight = log_ratio.double().sum(0)
    episodes = len(log_weight)
    scalars = {
        "weight/ess": effective_share(log_weight, episodes),
        "weight/mean": (log_weight.logsumexp(0) - math.log(episodes)).exp(),
        "weight/max": log_weight.max().exp(),
    }
    if batch.raw_reward is not None:
        returns = (batch.mask * batch.raw_reward).view(batch.shape).sum(0)
        scalars["weight/return"] = torch.where(returns != 0, log_weight.exp() * returns, 0.0).mean()
    return scalars


def find_terms_beside_rewards(settings: Mapping[str, Any]) -> Iterator[Mistake]:
    """∏_{k≤t'} ρₖ stands beside a reward.

    What else Ψₜ holds would stand without ρₜ, and E_old[gₜ] is not 0.
    """
    name = settings["variance"]["name"]
    if name != "reward_to_go":
        yield Mistake(
            "algo.weights",
            "per_decision",
            f"weighs rewards to go, and is biased by what variance={name} adds to them",
            "add variance=reward_to_go, or take algo.weights=trajectory",
        )
    if settings["advantage_norm"] in CENTERING:
        yield Mistake(
            "algo.weights",
            "per_decision",
            "is biased by subtracting a mean",
            "add advantage_norm=none or scale",
        )


def find_no_plain_errors(settings: Mapping[str, Any]) -> Iterator[Mistake]:
    """V-trace is a sum of the errors δ of V themselves, each with its own weight."""
    variance, algo = settings["variance"], settings["algo"]
    if variance["name"] != "td0":
        yield Mistake(
            "algo.weights",
            "v_trace",
            f"sums the errors δ of V, not what variance={variance['name']} makes of them",
            "add variance=td0",
        )
    elif variance["discounting"] != "reward_to_go":
        yield Mistake(
            "algo.weights", "v_trace", "takes no factor γ^t", "add variance.discounting=reward_to_go"
        )
    if settings["advantage_norm"] != "none":
        yield Mistake("algo.weights", "v_trace", "fits V to the same errors", "add advantage_norm=none")
    if algo["truncate"] is not None or algo["self_normalise"]:
        yield Mistake(
            "algo.weights",
            "v_trace",
            "has caps of its own",
            ("take algo.rho_bar and algo.c_bar, and leave algo.truncate and algo.self_normalise out"),
        )
