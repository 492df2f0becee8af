"""The pathwise gradient beside the score function's, on the same episodes of ``pgrun/LQ1-v0``.

An action is written as a = μ_θ(s) + σ_θ ε with the ε that was drawn, and the return differentiated *through*
the problem (Heess et al. 2015, stochastic value gradients; Mohamed et al. 2020, §5):

    ∇J = E ∇_θ Σₜ γᵗ rₜ(sₜ, aₜ),   aₜ = μ_θ(sₜ) + σ_θ εₜ,   sₜ₊₁ = A sₜ + B aₜ + wₜ

with ε and w held fixed. It needs the derivatives of r and of the dynamics, which the score function
∇J = E Σₜ Ψₜ∇log π(aₜ|sₜ) does not. For one step (H = 1), s ~ N(0, 1), θ = (k, log σ) and c = Q + Rk²:

    pathwise  Var = 4R²(2k² + σ²) + 4R²σ²(k² + 2σ²)
    score     Var = (15c² + 36R²k²σ² + 15R²σ⁴ + 18cRσ²)/σ² − 4R²k²
                    + 6c² + 40R²k²σ² + 78R²σ⁴ + 20cRσ² − 4R²σ⁴

As σ → 0 the first stays finite and the second grows like 15c²/σ².
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import gymnasium as gym
import torch

from pgrun.envs.problems.teaching_continuous import LinearQuadratic, Lq1
from pgrun.envs.wrappers import changing_wrappers
from pgrun.errors import Mistake
from pgrun.policies.policy import Policy
from pgrun.tools.study.collect import Seen

if TYPE_CHECKING:
    from torch import Tensor


def find_no_derivatives(env: gym.Env, name: str) -> Iterator[Mistake]:
    """Why an environment cannot be differentiated through."""
    if not isinstance(env.unwrapped, Lq1) or changing_wrappers(env):
        yield Mistake(
            "pathwise",
            "true",
            f"needs the derivatives of the problem, and env={name} has none: env=pgrun/LQ1-v0",
        )


@dataclass(frozen=True)
class Pathwise:
    """A maker of estimates."""

    policy: Policy
    problem: LinearQuadratic
    gamma: float

    def estimates(self, seen: Seen, batch: int) -> Tensor:
        """ĝ of each group of ``batch`` columns [G, P]."""
        rollout = seen.rollout
        states = rollout.raw_obs[..., 0].double()
        action, (mean, log_std) = rollout.action[..., 0].double(), rollout.params.double().unbind(-1)
        noise = (action - mean) / log_std.exp()
        pushed = states[1:] - self.problem.A * states[:-1] - self.problem.B * action
        parts = [torch.unflatten(x, -1, (-1, batch)) for x in (states[0], noise, pushed)]
        each = torch.func.vmap(torch.func.grad(self.mean_return), in_dims=(None, 0, 1, 1))
        gradients: Tensor = each(self.policy.theta.double(), *parts)
        return gradients

    def mean_return(self, theta: Tensor, state: Tensor, noise: Tensor, pushed: Tensor) -> Tensor:
        """The mean J_γ of some episodes [] from s₀ [B], ε and w [T, B], as a function of θ."""
        p, policy = self.problem, self.policy
        layers, free = policy.net.layers(theta)
        total = torch.zeros_like(state)
        for t in range(len(noise)):
            seen = policy.normaliser(state[:, None]).to(theta)
            mean, log_std = policy.net.activations(layers, free, seen)[-1][:, policy.value_outputs :].unbind(
                -1
            )
            action = mean + log_std.exp() * noise[t]
            total = total - self.gamma**t * (p.Q * state.square() + p.R * action.square())
            state = p.A * state + p.B * action + pushed[t]
        return total.mean()
