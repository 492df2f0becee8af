"""The table of README.md: the exact bias and variance of every scheme on three problems.

python docs/methods/table.py

Every batch of four episodes of a problem is enumerated with its chance, and each estimate is made by the code
that trains. The bias is ‖E ĝ − ∇J‖/‖∇J‖, and the variance stands beside that of REINFORCE (``none``). Rows of
old data are of one episode of another policy each, and divided alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import torch
from torch import Tensor

import pgrun.envs.problems.registration  # noqa: F401
from pgrun.algorithms.estimator import Estimator
from pgrun.algorithms.off_policy_pg import OffPolicyPg, log_ratio
from pgrun.algorithms.retrace import record_action_values
from pgrun.critics.base import NoCritic
from pgrun.critics.exact import ExactCritic
from pgrun.critics.fitted_q import FittedQ, FittedQCritic
from pgrun.exact import Problem, gradient, policy_table, read_problem, values
from pgrun.optimization.optimizers import Optimizer, Sgd
from pgrun.policies.distributions import Categorical
from pgrun.policies.mlp import Mlp
from pgrun.policies.normalization import NoStateNorm
from pgrun.policies.policy import Policy
from pgrun.tools.study.collect import Seen
from pgrun.tools.study.every_episode import EveryEpisode, list_episodes, mean_and_variance
from pgrun.tools.study.weights import Weighted
from pgrun.variance.action_baseline import ActionBaseline
from pgrun.variance.advantage import Advantage
from pgrun.variance.all_actions import AllActions
from pgrun.variance.base import Scheme
from pgrun.variance.gae import Gae
from pgrun.variance.group import Group
from pgrun.variance.leave_one_out import LeaveOneOut
from pgrun.variance.leave_out import rows_by_unit
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
TO_GO = Estimator(RewardToGo(START), 1.0)
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
    "value_baseline, critic=vine, K = 1": (ValueBaseline(START), 1.0),
    "td0, critic=vine, K = 1": (Td0(START), 1.0),
    "td0, critic=vine, K = 4": (Td0(START), 1.0),
    "value_baseline, V 20 % high": (ValueBaseline(START), 1.2),
    "td0, V 20 % high": (Td0(START), 1.2),
    "gae, λ = 0.95, V 20 % high": (Gae(START, lam=0.95), 1.2),
    "action_baseline, Q 20 % high": (ActionBaseline(START), 1.2),
    "all_actions, Q 20 % high": (AllActions(START), 1.2),
}

CONTINUATIONS = {
    "value_baseline, critic=vine, K = 1": 1,
    "td0, critic=vine, K = 1": 1,
    "td0, critic=vine, K = 4": 4,
}
ALPHA, APART = 0.2, 0.3  # of storm_pg; how far the other policy is, σ of each logit
OLD_DATA: dict[str, dict[str, Any]] = {  # what makes an OffPolicyPg, or a Weighted of that name
    "old data, trajectory": {"name": "trajectory"},
    "old data, per_decision": {"name": "per_decision"},
    "old data, past_only": {"name": "past_only"},
    "old data, per_step": {"name": "per_step"},
    "old data, v_trace": {"weights": "v_trace"},
    "old data, v_trace, ρ̄ = c̄ = ∞": {"weights": "v_trace", "rho_bar": 1e9, "c_bar": 1e9},
    "old data, retrace": {"weights": "retrace"},
    "old data, retrace, ρ̄ = c̄ = ∞": {"weights": "retrace", "rho_bar": 1e9, "c_bar": 1e9},
    "storm_pg, α = 0.2, a step after ∇J": {"name": "storm_pg"},
}


@dataclass(frozen=True)
class World:
    """A problem of one start, a policy on it, and every batch of its episodes."""

    problem: Problem
    policy: Policy
    every: EveryEpisode
    other: Policy  # of the old data, and the one before the last step
    old: EveryEpisode  # its episodes

    def moments(self, scheme: Scheme, factor: float) -> tuple[Tensor, float]:
        """(E ĝ [P], E‖ĝ − E ĝ‖²) of a batch, at γ = 1."""
        rollout, chance = self.every.groups(BATCH)
        critic = ExactCritic(self.problem, self.policy, 1.0, factor)
        estimates = Seen(self.policy, rollout, critic).estimates(Estimator(scheme, 1.0), BATCH)
        return mean_and_variance(chance, estimates)

    def noise_of_vine(self, scheme: Scheme, times: int) -> float:
        """What V̂ of so many continuations adds to the variance: it is drawn by itself in each state."""
        rows = self.every.rollout
        to_go = (rows.mask * rows.reward).flip(0).cumsum(0).flip(0)
        chance = rows.mask * self.every.probability
        place = (torch.arange(len(chance))[:, None] * self.problem.observations + rows.state[:-1]).flatten()
        sums = [
            torch.zeros(int(place.max()) + 1, dtype=chance.dtype).index_add(0, place, (chance * x).flatten())
            for x in (torch.ones_like(chance), to_go, to_go.square())
        ]
        mean, square = (x / sums[0].clamp(min=1e-300) for x in sums[1:])
        spread = (square - mean.square())[place].view(chance.shape)  # Var[G | s, t]
        score = self.policy.scores(rows.obs[:-1].flatten(0, 1), rows.action.flatten())
        g = score.sums(rows.mask.flatten(), chance.numel()).view(*chance.shape, -1)
        factor = -g  # of V̂(sₜ) in the estimate
        if isinstance(scheme, Td0):
            factor = torch.cat([torch.zeros_like(g[:1]), g[:-1]]) - g
        return float((chance * spread * factor.square().sum(-1)).sum()) / times / BATCH

    def moments_of_old_data(self, given: Mapping[str, Any]) -> tuple[Tensor, float]:
        """(E ĝ [P], E‖ĝ − E ĝ‖²) of a batch of old episodes, at γ = 1."""
        if given.get("name") == "storm_pg":
            before = Weighted(
                "trajectory", OffPolicyPg(weights="trajectory"), TO_GO, self.other, self.policy, None
            )
            corrected = before.estimates(Seen(self.other, self.every.rollout, NoCritic()), 1)
            now = Seen(self.policy, self.every.rollout, NoCritic()).estimates(TO_GO, 1)
            aim = gradient(self.other, self.problem, 1.0)
            chance, one = self.every.probability, now + (1 - ALPHA) * (aim - corrected)
        elif "name" in given:
            kind = given["name"]
            scheme = Estimator(None_() if kind == "trajectory" else RewardToGo(START), 1.0)
            weighted = Weighted(kind, OffPolicyPg(weights=kind), scheme, self.policy, self.other, None)
            seen = Seen(self.policy, self.old.rollout, NoCritic())
            chance, one = self.old.probability, weighted.estimates(seen, 1)
        else:
            chance, one = self.old.probability, self.estimates_by_traces(OffPolicyPg(**given))
        mean, variance = mean_and_variance(chance, one)
        return mean, variance / BATCH

    def estimates_by_traces(self, algorithm: OffPolicyPg) -> Tensor:
        """ĝ of each old episode [N, P] by V-trace or Retrace, V and Q exact."""
        p, rollout = self.problem, self.old.rollout
        q = values(p, policy_table(self.policy, p), 1.0)[1][
            0
        ]  # a state has one value: ends come by themselves
        critic: Any = ExactCritic(p, self.policy, 1.0)
        scheme: Scheme = Td0()
        if algorithm.weights == "retrace":
            phi = q.T.flatten().contiguous()
            net = Mlp([p.observations, q.shape[1]], bias=False)
            critic = FittedQCritic(FittedQ(), net, phi, self.policy, Optimizer(phi, Sgd(lr=0.1)))
            rollout = record_action_values(rollout, SimpleNamespace(critic=critic))  # type: ignore[arg-type]
            rollout = replace(rollout, q=critic.action_values(rollout))
            scheme = Advantage()
        batch = Estimator(scheme, 1.0).batch(rollout, critic.values(rollout), critic, self.other)
        batch = algorithm.renew_values(batch, self.policy)
        log_prob = self.policy.dist.log_prob(self.policy.params(batch.obs), batch.action)
        psi = algorithm.weighted_psi(log_ratio(log_prob, batch), batch).view(batch.shape)
        columns = rollout.mask.shape[1]
        scores = Seen(self.policy, rollout, critic).scores
        return scores.sums(rows_by_unit(rollout.mask * psi, columns), columns)

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
    other = policy.with_theta(theta + APART * torch.randn(len(theta), generator=draw, dtype=torch.float64))
    table = made.unwrapped.P
    return World(p, policy, list_episodes(p, policy, table), other, list_episodes(p, other, table))


def make_rows(names: Sequence[str], worlds: Mapping[str, World]) -> list[str]:
    """The table's rows of these schemes."""
    base = {key: world.moments(None_(), 1.0)[1] for key, world in worlds.items()}
    rows = []
    for name in names:
        moments = {key: moments_of(name, world) for key, world in worlds.items()}
        biases = [worlds[key].bias(mean) for key, (mean, _) in moments.items()]
        shares = [variance / base[key] for key, (_, variance) in moments.items()]
        unbiased = "yes" if max(biases) < ROUNDING else "no"
        cells = [f"{x:.3g}" if x > ROUNDING else "0" for x in (*biases, *shares)]
        rows.append(f"| {name} | {unbiased} | {' | '.join(cells)} |")
    return rows


def moments_of(name: str, world: World) -> tuple[Tensor, float]:
    """(E ĝ [P], E‖ĝ − E ĝ‖²) of a row."""
    if name in OLD_DATA:
        return world.moments_of_old_data(OLD_DATA[name])
    mean, variance = world.moments(*SCHEMES[name])
    if name in CONTINUATIONS:
        variance += world.noise_of_vine(SCHEMES[name][0], CONTINUATIONS[name])
    return mean, variance


def make_table() -> str:
    worlds = {name: make_world(name) for name in PROBLEMS}
    heads = [f"bias, {name}" for name in PROBLEMS] + [f"variance, {name}" for name in PROBLEMS]
    lines = [f"| method | unbiased? | {' | '.join(heads)} |", "|" + "---|" * (2 + len(heads))]
    return "\n".join([*lines, *make_rows([*SCHEMES, *OLD_DATA], worlds)]) + "\n"


def main() -> None:
    before, _, rest = README.read_text().partition(MARKS[0])
    README.write_text(before + MARKS[0] + make_table() + MARKS[1] + rest.partition(MARKS[1])[2])


if __name__ == "__main__":
    main()
