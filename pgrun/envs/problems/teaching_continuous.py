"""Teaching problems with one real, unbounded action, for a Gaussian policy whose mean is linear: everything
is known exactly.

``pgrun env=pgrun/LQ1-v0 network.hidden=[] network.bias=false``: θ = (k, log σ), a ~ N(k s, σ²).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from pgrun.config.schema import NonNegative, find_violations

REAL = (-np.inf, np.inf, (1,), np.float64)
Number = Any  # a float, or arrays or tensors that broadcast


class TwoGaussians(gym.Env):
    """One step from one state; the reward is the action, so that J = μ and
    ∇J = (1, 0) in (μ, log σ) whatever σ is.

    One unit of distance in θ moves μ by 1 and the policy by KL = 1/(2σ²): 5.5556 at σ = 0.3, 0.0556 at σ = 3.
    Fisher matrix diag(1/σ², 2): a natural step of radius ε moves μ by σ√(2ε), and the policy by ε at any σ
    (the two pictures of Gaussians with means 0 and 1 by which natural gradients are introduced; Kakade 2002).
    """

    observation_space = spaces.Discrete(1)
    action_space = spaces.Box(*REAL)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        return 0, {}

    def step(self, action: np.ndarray) -> tuple[int, float, bool, bool, dict[str, Any]]:
        return 0, float(action[0]), True, False, {}


@dataclass(frozen=True)
class LinearQuadratic:
    """s₀ ~ N(0, start²), s' = As + Ba + N(0, noise²), r = −(Qs² + Ra²), under a ~ N(ks, σ²), for H steps.

    With mₜ = E sₜ²: m₀ = start², mₜ₊₁ = (A + Bk)²mₜ + B²σ² + noise², and J_γ = −Σ_{t<H}
    γᵗ[(Q + Rk²)mₜ + Rσ²]. For A = B = Q = R = 1 and H = ∞ the best k is −0.618 and the best σ is 0.
    """

    A: float = 1.0
    B: float = 1.0
    Q: float = 1.0
    R: float = 1.0
    noise: NonNegative = 0.0
    start: NonNegative = 1.0

    def moments(self, k: Number, sigma: Number, horizon: int) -> list[tuple[Number, Number, Number]]:
        """(mₜ, ∂mₜ/∂k, ∂mₜ/∂σ) for t < H."""
        closed = self.A + self.B * k
        m, by_k, by_sigma = self.start**2 + 0 * k * sigma, 0 * k * sigma, 0 * k * sigma
        pairs = []
        for _ in range(horizon):
            pairs.append((m, by_k, by_sigma))
            by_k = 2 * self.B * closed * m + closed**2 * by_k
            by_sigma = closed**2 * by_sigma + 2 * self.B**2 * sigma
            m = closed**2 * m + self.B**2 * sigma**2 + self.noise**2
        return pairs

    def objective(self, k: Number, sigma: Number, gamma: float, horizon: int) -> Number:
        """J_γ(k, σ)"""
        cost, penalty = self.Q + self.R * k**2, self.R * sigma**2
        steps = enumerate(self.moments(k, sigma, horizon))
        return -sum(gamma**t * (cost * m + penalty) for t, (m, *_) in steps)

    def gradient(self, k: Number, sigma: Number, gamma: float, horizon: int) -> tuple[Number, Number]:
        """(∂J/∂k, ∂J/∂σ); ∂J/∂log σ is σ times the second."""
        cost, by_k, by_sigma = self.Q + self.R * k**2, 0.0, 0.0
        for t, (m, m_k, m_sigma) in enumerate(self.moments(k, sigma, horizon)):
            by_k = by_k - gamma**t * (2 * self.R * k * m + cost * m_k)
            by_sigma = by_sigma - gamma**t * (cost * m_sigma + 2 * self.R * sigma)
        return by_k, by_sigma

    def fisher(self, k: Number, sigma: Number, horizon: int) -> tuple[Number, Number]:
        """The diagonal of F in (k, σ), mean over the visited states: (mean mₜ/σ², 2/σ²).

        In (k, log σ) the second is 2.
        """
        mean = sum(m for m, *_ in self.moments(k, sigma, horizon)) / horizon
        return mean / sigma**2, 2 / sigma**2

    def natural(self, k: Number, sigma: Number, gamma: float, horizon: int) -> tuple[Number, Number]:
        """F⁻¹∇J in (k, σ): the field of Peters & Schaal 2008, beside the plain ``gradient``."""
        slope, curvature = self.gradient(k, sigma, gamma, horizon), self.fisher(k, sigma, horizon)
        return slope[0] / curvature[0], slope[1] / curvature[1]


class Lq1(gym.Env):
    """``LinearQuadratic`` as an environment; the number of steps is its time limit
    (``env.max_episode_steps``).
    """

    observation_space = spaces.Box(*REAL)
    action_space = spaces.Box(*REAL)

    def __init__(self, **constants: float):
        """Raises ``ValueError`` where they are no constants of ``LinearQuadratic``."""
        if wrong := list(find_violations("", constants, LinearQuadratic)):
            raise ValueError("; ".join(one.sentence() for one in wrong))
        self.problem = LinearQuadratic(**constants)
        self.state = 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.state = self.problem.start * self.np_random.standard_normal()
        return np.array([self.state]), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        p, s, a = self.problem, self.state, float(action[0])
        disturbance = p.noise * self.np_random.standard_normal() if p.noise else 0.0
        self.state = p.A * s + p.B * a + disturbance
        return np.array([self.state]), -(p.Q * s**2 + p.R * a**2), False, False, {}
