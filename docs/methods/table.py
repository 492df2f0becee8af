"""The table of README.md: the exact bias and variance of every scheme on three problems.

python docs/methods/table.py

Every batch of four episodes of a problem is enumerated with its chance, and each estimate is made by the code
that trains. The bias is ‖E ĝ − ∇J‖/‖∇J‖, and the variance stands beside that of REINFORCE (``none``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import gymnasium as gym
import torch
from torch import Tensor

import pgrun.envs.problems.registration  # noqa: F401
from pgrun.critics.exact import ExactCritic
from pgrun.estimator import Estimator
from pgrun.exact import Problem, gradient, read_problem
from pgrun.policies.distributions import Categorical
from pgrun.policies.mlp import Mlp
from pgrun.policies.normalization import NoStateNorm
from pgrun.policies.policy import Policy
from pgrun.tools.study.collect import Seen
from pgrun.tools.study.every_episode import EveryEpisode, list_episodes, mean_and_variance
from pgrun.variance.action_baseline import ActionBaseline
from pgrun.variance.advantage import Advantage
from pgrun.variance.all_actions import AllActions
from pgrun.variance.base import Scheme
from pgrun.variance.gae import Gae
from pgrun.variance.group import Group
from pgrun.variance.leave_one_out import LeaveOneOut
from pgrun.variance.mean_baseline import MeanBaseline
from pgrun.variance.n_step import NStep
from pgrun.variance.none import None_
from pgrun.variance.optimal_baseline import OptimalBaseline
from pgrun.variance.q import Q
from pgrun.variance.reward_to_go import RewardToGo
from pgrun.variance.td0 import Td0
from pgrun.variance.value_baseline import ValueBaseline

README = Path(__file__).parent / "README.md"
MARKS = "<!-- table -->\n", "<!-- end -->"
BATCH, START, ROUNDING = 4, "from_start", 1e-9
PROBLEMS = {
    "OneState": ("pgrun/OneState-v0", {}, 6),
    "Mismatch": ("pgrun/Mismatch-v0", {}, None),
    "TokenTree": ("pgrun/TokenTree-v0", {"length": 2}, None),
}
SCHEMES: dict[str, tuple[Scheme, float]] = {  # and what V and Q are multiplied by
    "none (REINFORCE)": (None_(), 1.0),
    "reward_to_go": (RewardToGo(START), 1.0),
    "mean_baseline": (MeanBaseline(START), 1.0),
    "leave_one_out": (LeaveOneOut(START), 1.0),
    "optimal_baseline": (OptimalBaseline(START), 1.0),
    "value_baseline": (ValueBaseline(START), 1.0),
    "td0": (Td0(START), 1.0),
    "n_step, n = 2": (NStep(START, n=2), 1.0),
    "gae, λ = 0.95": (Gae(START, lam=0.95), 1.0),
    "q": (Q(START), 1.0),
    "advantage": (Advantage(START), 1.0),
    "action_baseline": (ActionBaseline(START), 1.0),
    "action_baseline, corrected=false": (ActionBaseline(START, corrected=False), 1.0),
    "all_actions": (AllActions(START), 1.0),
    "group, rloo": (Group("rloo"), 1.0),
    "group, dr_grpo": (Group("dr_grpo"), 1.0),
    "group, grpo": (Group("grpo"), 1.0),
    "group, rloo, length=episode": (Group("rloo", length="episode"), 1.0),
    "value_baseline, V 20 % high": (ValueBaseline(START), 1.2),
    "td0, V 20 % high": (Td0(START), 1.2),
    "gae, λ = 0.95, V 20 % high": (Gae(START, lam=0.95), 1.2),
    "action_baseline, Q 20 % high": (ActionBaseline(START), 1.2),
    "all_actions, Q 20 % high": (AllActions(START), 1.2),
}


@dataclass(frozen=True)
class World:
    """A problem of one start, a policy on it, and every batch of its episodes."""

    problem: Problem
    policy: Policy
    every: EveryEpisode

    def moments(self, scheme: Scheme, factor: float) -> tuple[Tensor, float]:
        """(E ĝ [P], E‖ĝ − E ĝ‖²) of a batch, at γ = 1."""
        rollout, chance = self.every.groups(BATCH)
        critic = ExactCritic(self.problem, self.policy, 1.0, factor)
        found = Seen(self.policy, rollout, critic).estimates(Estimator(scheme, 1.0), BATCH)
        return mean_and_variance(chance, found)

    def bias(self, mean: Tensor) -> float:
        truth = gradient(self.policy, self.problem, 1.0)
        return float((mean - truth).norm() / truth.norm())


def make_world(name: str) -> World:
    torch.set_grad_enabled(False)
    env, kwargs, horizon = PROBLEMS[name]
    made = gym.make(env, disable_env_checker=True, **kwargs)
    p, actions = read_problem(made, horizon), int(made.action_space.n)
    draw = torch.Generator().manual_seed(0)
    theta = 0.5 * torch.randn(actions * p.observations, generator=draw, dtype=torch.float64)
    net = Mlp([p.observations, actions], bias=False)
    policy = Policy(net, Categorical(actions), theta, NoStateNorm())
    return World(p, policy, list_episodes(p, policy, made.unwrapped.P))


def make_rows(names: Sequence[str], worlds: Mapping[str, World]) -> list[str]:
    """The table's rows of these schemes."""
    base = {key: world.moments(None_(), 1.0)[1] for key, world in worlds.items()}
    found = []
    for name in names:
        moments = {key: world.moments(*SCHEMES[name]) for key, world in worlds.items()}
        biases = [worlds[key].bias(mean) for key, (mean, _) in moments.items()]
        shares = [variance / base[key] for key, (_, variance) in moments.items()]
        unbiased = "yes" if max(biases) < ROUNDING else "no"
        cells = [f"{x:.3g}" if x > ROUNDING else "0" for x in (*biases, *shares)]
        found.append(f"| {name} | {unbiased} | {' | '.join(cells)} |")
    return found


def make_table() -> str:
    worlds = {name: make_world(name) for name in PROBLEMS}
    heads = [f"bias, {name}" for name in PROBLEMS] + [f"variance, {name}" for name in PROBLEMS]
    lines = [f"| method | unbiased? | {' | '.join(heads)} |", "|" + "---|" * (2 + len(heads))]
    return "\n".join([*lines, *make_rows(list(SCHEMES), worlds)]) + "\n"


def main() -> None:
    before, _, rest = README.read_text().partition(MARKS[0])
    README.write_text(before + MARKS[0] + make_table() + MARKS[1] + rest.partition(MARKS[1])[2])


if __name__ == "__main__":
    main()
