"""What a transition table lets one know of a run: J itself, and how wrong the critic and its targets are
(``diagnostics.exact``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from pgrun.critics.exact import ExactCritic, follow_problem, require_tabular_problem, values_by_steps_left
from pgrun.diagnostics.monotone_bound import monotone_bound
from pgrun.errors import Mistake
from pgrun.exact import policy_table

if TYPE_CHECKING:
    import gymnasium as gym
    from torch import Tensor

    from pgrun.envs import Envs
    from pgrun.exact import Problem
    from pgrun.policies.policy import Policy
    from pgrun.types import Batch, Rollout


class NoExactErrors:
    """Without a table, or where nobody asked."""

    tags: ClassVar[tuple[str, ...]] = ()

    def scalars(self, before: Policy, after: Policy, rollout: Rollout, batch: Batch) -> dict[str, Tensor]:
        return {}


@dataclass(frozen=True)
class ExactErrors:
    """Exact scalars of one update, π_old before it and π_new after.

    x̂ is the critic's word and y its target for each row with mask 1, x the exact value:

    objective/exact        J_γ(π_new) of the time-limited problem, γ the run's
    objective/surrogate    L(π_new), its first order in the policy, of ``monotone_bound``
    objective/lower_bound  L − C·max KL, which J_γ(π_new) is never below
    value/error            mean (x̂ − x)², x = V of π_old, or Q(s, a) for a critic of replayed actions
    value/target_bias      mean (y − x)
    value/target_variance  mean variance of y among rows of one state (and action): what the best fit
                           would still leave

    The state's steps left enter x as they enter the returns. A critic that sees no action
    (``algo.corrections=none``) is compared with Q as well: it is what the actor takes for it.
    """

    problem: Problem
    gamma: float
    critic: bool  # whether there is one
    of_actions: bool

    @property
    def tags(self) -> tuple[str, ...]:
        return (*OBJECTIVE, *(CRITIC if self.critic else ()))

    def scalars(self, before: Policy, after: Policy, rollout: Rollout, batch: Batch) -> dict[str, Tensor]:
        p, (old, new) = self.problem, (policy_table(x, self.problem) for x in (before, after))
        value = values_by_steps_left(p, new, self.gamma)[-1]
        tags_and_values = dict(
            zip(OBJECTIVE, (p.start @ value, *monotone_bound(p, old, new, self.gamma)), strict=True)
        )
        return tags_and_values | self.critics(before, rollout, batch) if self.critic else tags_and_values

    def critics(self, before: Policy, rollout: Rollout, batch: Batch) -> dict[str, Tensor]:
        known = ExactCritic(self.problem, before, self.gamma)
        seen = rollout if rollout.replayed_from is None else rollout.replayed_from
        rows = batch.for_critic
        x = known.action_values(seen) if self.of_actions else known.values(seen)[:-1]
        assert seen.state is not None
        cell = seen.state[:-1] * self.problem.reward.shape[1] + seen.action * self.of_actions
        kept = rows.mask > 0
        x, cell, value, y = (z.flatten()[kept].double() for z in (x, cell, rows.value, rows.target))
        return {
            "value/error": (value - x).square().mean(),
            "value/target_bias": (y - x).mean(),
            "value/target_variance": variance_within_cells(y, cell.long()),
        }


OBJECTIVE = ("objective/exact", "objective/surrogate", "objective/lower_bound")
CRITIC = ("value/error", "value/target_bias", "value/target_variance")


def variance_within_cells(y: Tensor, cell: Tensor) -> Tensor:
    """Σ (y − mean of its cell)²/(rows − cells), unbiased where a cell's rows are independent; no entry where
    each has one row [] or [0].
    """
    _, number, count = torch.unique(cell, return_inverse=True, return_counts=True)
    mean = torch.zeros(len(count), dtype=y.dtype, device=y.device).index_add_(0, number, y) / count
    free = len(y) - len(count)
    squares: Tensor = (y - mean[number]).square().sum()
    return squares / free if free else squares.new_empty(0)


def make_exact_errors(
    asked: bool, envs: Envs, has_values: bool, gamma: float, of_actions: bool
) -> ExactErrors | NoExactErrors:
    """The environments follow their states from now on. ``has_values``: whether rows have a critic's word;
    ``of_actions``: whether that is of Q(s, a).
    """
    if not asked:
        return NoExactErrors()
    return ExactErrors(follow_problem(envs), gamma, has_values, of_actions)


def find_inexact_settings(settings: Mapping[str, Any], env: gym.Env | None) -> Iterator[Mistake]:
    """Why there is nothing exact to tell."""
    if env is None:
        return
    if settings["reward_scaling"]:
        yield Mistake(
            "diagnostics.exact", "true", "knows the values of rewards as they are", "add reward_scaling=false"
        )
    near = settings.get("reference") or {}
    if near.get("policy") is not None and near["place"] != "loss":
        yield Mistake(
            "diagnostics.exact",
            "true",
            f"knows the values of rewards as they are, and reference.place={near['place']} charges them",
            "add reference.place=loss",
        )
    try:
        require_tabular_problem(env, settings["env"].get("vector"))
    except LookupError as error:
        yield Mistake(
            "diagnostics.exact",
            "true",
            f"cannot know J and V of env={settings['env']['id']}: {error}",
            "take diagnostics.exact=false, or a tabular environment such as env=FrozenLake-v1",
        )
