"""The KL from a reference policy and its estimators, exactly: value and gradient, in the loss or the reward.

With l = log π(a|s) − log ρ(a|s), ρ the reference, an action drawn from π (Schulman 2020, "Approximating KL
divergence"):

    k1     l                E k1 = KL(π‖ρ)
    k2     l²/2             biased, by little where π is near ρ
    k3     e⁻ˡ − 1 + l      E k3 = KL(π‖ρ), and k3 ≥ 0
    exact  Σ_a π(a|s) l     the KL itself, without an action's noise

An episode's estimate is the sum over its steps, of D(θ) = E Σₜ KL(π(·|sₜ)‖ρ(·|sₜ)).

In the *loss* Σₜ k(lₜ) is differentiated as it stands: ∇k1 = g, ∇k2 = l g, ∇k3 = (1 − e⁻ˡ)g. That leaves out
what actions do to later states; its aim is Σₜ ∇KL at the states as they are visited. k2 hits it; E ∇k1 = 0;
E ∇k3 is the gradient of the *other* KL, KL(ρ‖π).

In the *reward* k(lₜ) is paid as if it did not depend on θ: Σₜ gₜ Σ_{t'≥t} k(l_{t'}), which aims at ∇D. k1
hits it, for what is left out has E ∇k1 = 0; the exact KL misses its own derivative there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from pgrun.policies.kl_estimators import estimate_kl
from pgrun.policies.mlp import Scores
from pgrun.policies.policy import Policy
from pgrun.tools.study.collect import Seen
from pgrun.tools.study.every_episode import EveryEpisode, mean_and_variance
from pgrun.variance.leave_out import rows_by_unit

if TYPE_CHECKING:
    from torch import Tensor

NAMES = ("exact", "k1", "k2", "k3")


class KlEstimators:
    """The part ``kl`` of study.json; it looks at no rollout, since all episodes are enumerated."""

    key = "kl"

    def __init__(self, every: EveryEpisode, policy: Policy, reference: Policy):
        rollout = every.rollout
        self.chance, self.policy = every.probability, policy
        self.columns = rollout.mask.shape[1]
        self.mask, self.action = rollout.mask.double(), rollout.action
        self.obs = rows_by_unit(rollout.obs[:-1], self.columns)
        self.log_pi = rollout.params.double().log_softmax(-1)  # [T, N, A]
        self.log_ratios = self.log_pi - reference.params(rollout.obs[:-1]).double().log_softmax(-1)
        self.scores = policy.scores(self.obs, rows_by_unit(self.action, self.columns))

    def see(self, seen: Seen) -> None:
        pass

    def result(self) -> dict[str, Any]:
        taken = self.log_ratios.gather(-1, self.action[..., None])[..., 0]
        kl = (self.log_pi.exp() * self.log_ratios).sum(-1)  # [T, N]
        value = float(self.chance @ (self.mask * kl).sum(0))
        in_loss = self.by_all_actions(self.log_pi.exp() * self.log_ratios)
        later = self.by_step(self.scores, self.to_go(taken))
        aims = {"loss": self.chance @ in_loss, "reward": self.chance @ later}
        reference = (self.log_pi - self.log_ratios).exp()
        other = self.chance @ self.by_all_actions(self.log_pi.exp() - reference)
        summary = {}
        for name in NAMES:
            k, slope = (kl, None) if name == "exact" else estimate_kl(name, taken)
            sums = (self.mask * k).sum(0)
            mean, variance = mean_and_variance(self.chance, sums[:, None])
            loss = in_loss if slope is None else self.by_step(self.scores, slope)
            reward = self.by_step(self.scores, self.to_go(k))
            summary[name] = {
                "value": float(mean),
                "value_bias": float(mean) - value,
                "value_variance": variance,
                **self.judge("loss", loss, aims["loss"]),
                **self.judge("reward", reward, aims["reward"]),
                "loss_off_other_kl": float((self.chance @ loss - other).norm()),
            }
        norms = {f"{place}_gradient_norm": float(aim.norm()) for place, aim in aims.items()}
        return {
            "exact_value": value,
            **norms,
            "other_kl_gradient_norm": float(other.norm()),
            "estimators": summary,
        }

    def judge(self, place: str, estimates: Tensor, aim: Tensor) -> dict[str, float]:
        mean, variance = mean_and_variance(self.chance, estimates)
        return {f"{place}_gradient_bias": float((mean - aim).norm()), f"{place}_gradient_variance": variance}

    def to_go(self, k: Tensor) -> Tensor:
        """Σ_{t'≥t} k [T, N]"""
        return (self.mask * k).flip(0).cumsum(0).flip(0)

    def by_step(self, scores: Scores, weight: Tensor) -> Tensor:
        """Σₜ weight·g of each episode [N, P]"""
        like = self.policy.theta
        return scores.sums(rows_by_unit(self.mask * weight, self.columns).to(like), self.columns).double()

    def by_all_actions(self, weight: Tensor) -> Tensor:
        """Σₜ Σ_a weight(a)·∇log π(a|sₜ) of each episode [N, P]; weight [T, N, A]"""
        parts = []
        for a in range(weight.shape[-1]):
            every = torch.full((len(self.obs),), a, device=self.obs.device)
            parts.append(self.by_step(self.policy.scores(self.obs, every), weight[..., a]))
        return torch.stack(parts).sum(0)
