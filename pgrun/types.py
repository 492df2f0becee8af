"""The two records that flow through a run: what was collected, and what is learned from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Rollout:
    """T steps of N columns under one frozen policy, with NEXT_STEP autoreset.

    The row after an episode's end only resets its environment: its ``mask`` is 0 and it enters nothing.
    Wherever ``mask`` is 1, ``obs[t + 1]`` is the true successor of ``obs[t]``, also at an episode's end.
    """

    obs: Tensor  # [T+1, N, D]  what the networks see (normalised, if states are)
    action: Tensor  # [T, N] integers, or [T, N, A]
    log_prob: Tensor  # [T, N]  log π_old(a|s)
    params: Tensor  # [T, N, K]  parameters of the distribution π_old(·|s)
    reward: Tensor  # [T, N]  what is learned from (scaled, if rewards are)
    terminated: Tensor  # [T, N]  1 where a terminal state was reached: nothing follows
    ended: Tensor  # [T, N]  1 where the episode ended, terminated or truncated
    mask: Tensor  # [T, N]  0 where the row only resets
    time: Tensor  # [T, N]  steps since the episode's start
    raw_obs: Tensor  # [T+1, N, D]  what the environment gave, flattened; float64 where states are normalised
    raw_reward: Tensor  # [T, N]  what the environment gave
    count: float  # the constant divisor of sums: episodes, or T·N
    whole_episodes: bool  # each column is one episode from its start to its end
    group: int = 1  # columns side by side that are episodes from the same start
    state: Tensor | None = None  # [T+1, N]  the row of the transition table, where something asks for it
    q: Tensor | None = None  # [T, N]  Q(s, a), for schemes that weigh with it
    every_q: Tensor | None = None  # [T, N, A]  and that of every action
    behaviour_params: Tensor | None = None  # [T, N, K]  replayed: of the policy that took the action
    next_action: Tensor | None = None  # [T, N]  replayed: what the policy of that time would have done next
    replayed_from: Rollout | None = None  # the replayed transitions whose states these are, for the critic
    extra: Mapping[str, Tensor] = field(default_factory=dict)  # [T, N, …]  an algorithm's own, by name

    @cached_property
    def live_rows(self) -> int:
        """How many rows have mask 1; read from the device once."""
        return int(self.mask.sum())

    def columns(self, keep: Tensor) -> Rollout:
        """The rollout of some of its columns (``keep``: indices [N']), its divisor in proportion."""
        share = len(keep) / self.mask.shape[1]
        return replace(self, **each_tensor(self, lambda x: x[:, keep]), count=self.count * share)

    def flattened_rows(self) -> dict[str, Any]:
        """What a batch of these rows takes over as it is, by name, without the row that follows the last
        step: tensors [T, N, …] → [T·N, …].
        """
        rows = {name: getattr(self, name) for name in shared_names()}
        for name in ("obs", "state"):
            if rows[name] is not None:
                rows[name] = rows[name][:-1]
        flat = {name: x.flatten(0, 1) if isinstance(x, torch.Tensor) else x for name, x in rows.items()}
        return flat | {"extra": {name: x.flatten(0, 1) for name, x in self.extra.items()}}


@dataclass(frozen=True)
class Batch:
    """Rows to learn from, ``[T, N, …]`` or flattened ``[B, …]``; every field follows the same layout."""

    obs: Tensor  # [B, D]
    action: Tensor  # [B] or [B, A]
    log_prob: Tensor  # [B]  log π_old(a|s)
    params: Tensor  # [B, K]  of π_old(·|s)
    psi: Tensor  # [B]  the weight Ψ of each action
    mask: Tensor  # [B]
    value: Tensor  # [B]  the critic's V(s) before this update (zero without a critic)
    target: Tensor  # [B]  what the critic is fitted to
    count: float  # the divisor of the policy term
    correction: Tensor | None = None  # [P]  added to ∇L as it is; only for one step on the whole batch
    shape: tuple[int, ...] = ()  # (T, N) of the rows of a whole batch
    gamma: float = 1.0  # γ of Ψ
    psi_for_weighted_rewards: Callable[[Tensor], Tensor] | None = None  # Ψ [T, N], rewards × weights [T, N]
    raw_reward: Tensor | None = None  # [B]  what the environment gave
    state: Tensor | None = None  # [B]  the row of the transition table, where something asks for it
    critic_rows: Batch | None = None  # the rows the critic learns from, where they are others
    extra: Mapping[str, Tensor] = field(default_factory=dict)  # [B, …]  an algorithm's own, by name

    @property
    def for_critic(self) -> Batch:
        return self if self.critic_rows is None else self.critic_rows

    def rows(self, index: Tensor | slice) -> Batch:
        """Some rows of a flattened batch; the divisor shrinks in proportion, so that means agree."""
        chosen = each_tensor(self, lambda x: x[index])
        return replace(self, **chosen, count=self.count * len(chosen["mask"]) / len(self.mask))


def blank_unless(condition: Tensor, x: Tensor) -> Tensor:
    """A scalar x [] of a row that is left blank where ``condition`` [] is false.

    On the CPU [x] or nothing; on a device [x, condition], since the shape would have to wait for it.
    """
    if x.device.type == "cpu":
        return x[condition]
    return torch.stack([x, condition.to(x.dtype)])


@cache
def shared_names() -> tuple[str, ...]:
    """The fields that a rollout and a batch both have."""
    return tuple({f.name for f in fields(Batch)}.intersection(f.name for f in fields(Rollout)))


def each_tensor(record: Rollout | Batch, change: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    """The changed tensors of a record, by name, those of ``extra`` among them; its
    other fields are left out.
    """
    changed: dict[str, Any] = {
        name: change(x) for name, x in vars(record).items() if isinstance(x, torch.Tensor)
    }
    if record.extra:
        changed["extra"] = {name: change(x) for name, x in record.extra.items()}
    return changed
