"""The values of the present policy on a tabular problem, known and not learned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import gymnasium as gym
import torch

from pgrun.critics.base import Context, CriticSettings, Unfitted
from pgrun.envs import Envs
from pgrun.envs.table import TableEnvs
from pgrun.envs.vector import Loop
from pgrun.errors import Mistake
from pgrun.exact import Problem, policy_table, read_problem
from pgrun.policies.policy import Policy
from pgrun.types import Rollout

if TYPE_CHECKING:
    from torch import Tensor

NEED_Q = ("q", "advantage", "action_baseline", "all_actions")  # schemes that no fitted V can serve


@dataclass(frozen=True)
class Exact(CriticSettings):
    """V(s) and Q(s, a) of the present policy, by backward induction over the time
    limit; θ moves, so anew at each update.
    """

    optimizer: dict[str, Any] | None = None
    knows_q: ClassVar[bool] = True
    learns: ClassVar[bool] = False

    @classmethod
    def misfits(cls, settings: Mapping[str, Any], env: gym.Env | None) -> Iterator[Mistake]:
        name = f"critic={settings['critic']['name']}"
        if settings["reward_scaling"]:
            yield Mistake(name, None, "knows the values of rewards as they are", "add reward_scaling=false")
        if env is None:
            return
        try:
            require_tabular_problem(env, settings["env"].get("vector"))
        except LookupError as error:
            instead = "critic=fitted"
            if settings["variance"]["name"] in NEED_Q:
                choices = isinstance(env.action_space, gym.spaces.Discrete)
                instead = "critic=fitted_q" if choices else "variance=gae critic=fitted"
            yield Mistake(
                name,
                None,
                f"cannot know the values of env={settings['env']['id']}: {error}",
                f"take {instead}, or a tabular environment such as env=FrozenLake-v1",
            )

    def build(self, context: Context) -> ExactCritic:
        return self.of(context, 1.0)

    def of(self, context: Context, factor: float) -> ExactCritic:
        return ExactCritic(follow_problem(context.envs), context.policy, context.gamma, factor)


class ExactCritic(Unfitted):
    """``factor`` times V and Q of the time-limited problem, whose V is 0 at the
    limit: h steps after the start

        V_h(s) = Σ_a π(a|s)Q_h(s, a),   Q_h(s, a) = r(s, a) + γ Σ P(s'|s, a)V_{h+1}(s'),   V_H = 0.

    Reads ``rollout.state``. What a truncated return leaves out is 0 here, so that schemes which bootstrap are
    unbiased.
    """

    def __init__(self, p: Problem, policy: Policy, gamma: float, factor: float = 1.0):
        self.problem, self.policy, self.gamma, self.factor = p, policy, gamma, factor

    def values(self, rollout: Rollout) -> Tensor:
        return self._like(rollout, self._value(rollout, steps_into_episode(rollout)))

    def action_values(self, rollout: Rollout) -> Tensor:
        p, (state, action) = self.problem, (recorded_states(rollout)[:-1], rollout.action.cpu())
        v = self._values_afterwards(rollout)
        after = (p.transition[state, action] * v).sum(-1)
        return self._like(rollout, p.reward[state, action] + self.gamma * after)

    def every_action_value(self, rollout: Rollout) -> Tensor:
        p, state = self.problem, recorded_states(rollout)[:-1]
        after = torch.einsum("tnas,tns->tna", p.transition[state], self._values_afterwards(rollout))
        return self._like(rollout, p.reward[state] + self.gamma * after)

    def _values_afterwards(self, rollout: Rollout) -> Tensor:
        """V of every state one step after each row [T, N, S]."""
        p = self.problem
        v = values_by_steps_left(p, policy_table(self.policy, p), self.gamma)
        return v[(p.horizon - rollout.time.long().cpu() - 1).clamp(max=len(v) - 1)]

    def _value(self, rollout: Rollout, time: Tensor) -> Tensor:
        v = values_by_steps_left(self.problem, policy_table(self.policy, self.problem), self.gamma)
        return v[(self.problem.horizon - time).clamp(max=len(v) - 1), recorded_states(rollout)]

    def _like(self, rollout: Rollout, x: Tensor) -> Tensor:
        return (self.factor * x).to(rollout.reward)


def values_by_steps_left(p: Problem, pi: Tensor, gamma: float) -> Tensor:
    """V [K+1, S] with k steps left; from K on, at the latest the time limit, it no
    longer changes in float64.
    """
    reward = (pi * p.reward).sum(1)
    follows = gamma * torch.einsum("sa,san->sn", pi, p.transition)
    values = [torch.zeros_like(reward)]
    for _ in range(p.horizon):
        values.append(torch.addmv(reward, follows, values[-1]))
        if torch.equal(values[-1], values[-2]):
            break
    return torch.stack(values)


def steps_into_episode(rollout: Rollout) -> Tensor:
    """Steps since the start of the episode that each observation belongs to [T+1, N]:
    the last one too, at its end.
    """
    time, mask = rollout.time.long(), rollout.mask.long()
    return torch.cat([time[:1], mask * (time + 1)]).cpu()


def recorded_states(rollout: Rollout) -> Tensor:
    assert rollout.state is not None, "the environments were not told to follow their states"
    return rollout.state.cpu()


def follow_problem(envs: Envs) -> Problem:
    """The problem that the environments play; their states are recorded from now on."""
    assert isinstance(envs, Loop | TableEnvs)
    envs.follow_states()
    return require_tabular_problem(envs.one)


def require_tabular_problem(env: gym.Env, vector: object = None) -> Problem:
    """The problem of an environment's table; ``vector``: how its columns are stepped, where that is known.

    Raises ``LookupError`` where the table is not what is seen and played, or its states are not told.
    """
    if vector == "async":
        raise LookupError("env.vector=async steps it in other processes, which do not tell its states")
    p = read_problem(env)
    space = env.observation_space
    if not (isinstance(space, gym.spaces.Discrete) and (space.n, space.start) == (p.observations, 0)):
        raise LookupError("its observations are not the numbers of its states")
    return p
