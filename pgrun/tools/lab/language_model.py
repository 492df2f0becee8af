"""A language model small enough for every group of its answers to be summed over: ``pgrun/TokenTree-v0``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from pgrun.exact import Problem
    from pgrun.policies.policy import Policy
    from pgrun.tools.study.every_episode import EveryEpisode
    from pgrun.types import Rollout
    from pgrun.variance.base import Scheme


@dataclass(frozen=True)
class LanguageModel:
    """The problem, a policy with random logits, and all of its answers."""

    problem: Problem
    policy: Policy
    every: EveryEpisode

    @property
    def returns(self) -> Tensor:
        """Of each answer [N]"""
        rollout = self.every.rollout
        return (rollout.mask * rollout.reward).sum(0)

    def gradient(self) -> Tensor:
        """∇J [P], of γ = 1."""
        from pgrun.exact import gradient

        return gradient(self.policy, self.problem, 1.0)

    def estimates(self, scheme: Scheme, size: int) -> tuple[Rollout, Tensor, Tensor]:
        """(every group of so many answers, their chances [G], the estimate of each [G, P])"""
        from pgrun.algorithms.estimator import Estimator
        from pgrun.critics.base import NoCritic
        from pgrun.tools.study.collect import Seen

        rollout, chance = self.every.groups(size)
        per_episode = Seen(self.policy, rollout, NoCritic()).estimates(Estimator(scheme, 1.0), size)
        return rollout, chance, per_episode

    def mean(self, scheme: Scheme, size: int) -> Tensor:
        """E ĝ of one group [P]"""
        _, chance, estimates = self.estimates(scheme, size)
        return chance @ estimates


def make_model(logits: int = 0, **kwargs: Any) -> LanguageModel:
    """``kwargs``: of pgrun/TokenTree-v0; ``logits``: a seed."""
    import gymnasium as gym
    import torch

    import pgrun.envs.problems.registration  # noqa: F401
    from pgrun.exact import read_problem
    from pgrun.policies.distributions import Categorical
    from pgrun.policies.mlp import Mlp
    from pgrun.policies.normalization import NoStateNorm
    from pgrun.policies.policy import Policy
    from pgrun.tools.study.every_episode import list_episodes

    torch.set_grad_enabled(False)
    p = read_problem(gym.make("pgrun/TokenTree-v0", disable_env_checker=True, **kwargs))
    states, actions = p.reward.shape
    rng = torch.Generator().manual_seed(logits)
    theta = torch.randn(states * actions, generator=rng, dtype=torch.float64)
    policy = Policy(Mlp([states, actions], bias=False), Categorical(actions), theta, NoStateNorm())
    return LanguageModel(p, policy, list_episodes(p, policy))


def cosine_similarity(x: Tensor, y: Tensor) -> float:
    return float(x @ y / (x.norm() * y.norm()))
