from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from pgrun.config.schema import PositiveInt
from pgrun.policies.normalization import NoRewardScale, RewardScale
from pgrun.policies.policy import Policy
from pgrun.rollouts.samplers.steps import Steps
from pgrun.rollouts.trajectory import make_rollout
from pgrun.types import Rollout

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Replay(Steps):
    """``steps`` steps of every environment go into a ring of ``capacity`` transitions; an update learns from
    ``batch`` of them, drawn uniformly with replacement, once it holds ``warmup`` (Lin 1992).

    Rows of mask 0 never enter.
    """

    steps: PositiveInt = 1  # of every environment, between two updates
    capacity: PositiveInt = 100_000  # transitions in the buffer
    batch: PositiveInt = 128  # transitions drawn for an update
    warmup: PositiveInt = 1_000  # transitions before the first update
    name: ClassVar[str] = "replay"
    tags: ClassVar[tuple[str, ...]] = ("replay/kl_age",)
    memory: dict[str, Tensor] = field(init=False, default_factory=dict, repr=False)  # the ring, by column
    seen: int = field(init=False, default=0)  # transitions that ever came in

    def recall(
        self, rollout: Rollout, policy: Policy, scale: RewardScale | NoRewardScale, generator: torch.Generator
    ) -> Rollout | None:
        """Keep the rollout; a draw as T = 1 step of ``batch`` columns, every row an independent unit.

        None before ``warmup``.
        """
        self.remember(rollout, policy, generator)
        if self.seen < self.warmup:
            return None
        return self.take_rows(self.draw_shares(generator), policy, scale)

    def remember(self, rollout: Rollout, policy: Policy, generator: torch.Generator) -> None:
        """Keep the rollout, with an action of its policy in each successor."""
        noise = policy.dist.noise(rollout.mask.shape, generator, rollout.obs.dtype)
        self.keep(rollout, policy.dist.act(policy.params(rollout.obs[1:]), noise))

    def draw_shares(self, generator: torch.Generator) -> Tensor:
        """u [batch] in [0, 1), so that row ⌊u·size⌋ of the ring is drawn: the same however full it is."""
        return torch.rand(self.batch, dtype=torch.float64, generator=generator, device=generator.device)

    def take_rows(self, share: Tensor, policy: Policy, scale: RewardScale | NoRewardScale) -> Rollout:
        """The rows that ``draw_shares`` named, as a rollout."""
        drawn = (share * self.size).long().clamp(max=self.size - 1)  # the product may be rounded up
        row = {name: x[drawn.to(x.device)][None] for name, x in self.memory.items()}
        ones = torch.ones_like(row["reward"])
        return make_rollout(
            policy,
            scale,
            self.batch,
            whole=False,
            raw_obs=torch.cat([row["obs"], row["next_obs"]]),
            action=row["action"],
            raw_reward=row["reward"],
            terminated=row["terminated"],
            ended=ones,  # no trace leads to the next transition of the ring
            mask=ones,
            time=row["time"],
            state=torch.cat([row["state"], row["next_state"]]) if "state" in row else None,
            behaviour_params=row["params"],
            next_action=row["next_action"],
        )

    def scalars(self, rollout: Rollout, policy: Policy) -> dict[str, Tensor]:
        """kl_age: mean KL(the policy that took the replayed action‖the present one) in the draw's states."""
        assert rollout.behaviour_params is not None
        return {"replay/kl_age": policy.dist.kl(rollout.behaviour_params, rollout.params).mean()}

    @property
    def size(self) -> int:
        return min(self.seen, self.capacity)

    def keep(self, rollout: Rollout, next_action: Tensor) -> None:
        """The transitions of a rollout, oldest overwritten first; ``next_action``: of
        the same policy, in the successor.
        """
        fresh = self.columns_of(rollout) | {"next_action": next_action}
        # Rows with mask 1 come first, in their order: x[mask] would wait for a device to count them.
        kept = rollout.mask.flatten().argsort(descending=True, stable=True)[: rollout.live_rows]
        kept = kept[-self.capacity :]  # the others would be overwritten at once
        end = self.seen + rollout.live_rows
        at = torch.arange(end - len(kept), end, device=kept.device) % self.capacity
        self.make_room(fresh)
        for name, x in fresh.items():
            self.memory[name][at] = x.flatten(0, 1)[kept]
        self.seen = end

    def columns_of(self, rollout: Rollout) -> dict[str, Tensor]:
        """What is kept of a rollout's rows [T, N, …], by the column's name, but for the next action."""
        columns = {
            "obs": rollout.raw_obs[:-1],
            "next_obs": rollout.raw_obs[1:],
            "action": rollout.action,
            "params": rollout.params,
            "reward": rollout.raw_reward,
            "terminated": rollout.terminated,
            "time": rollout.time,
        }
        if rollout.state is not None:
            columns |= {"state": rollout.state[:-1], "next_state": rollout.state[1:]}
        return columns

    def make_room(self, columns: Mapping[str, Tensor]) -> None:
        """A column of the ring for each that it has not, of the shape of these rows [T, N, …]."""
        for name, x in columns.items():
            if name not in self.memory:
                self.memory[name] = x.new_zeros(self.capacity, *x.shape[2:])

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen, **{name: x[: self.size] for name, x in self.memory.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seen = state["seen"]
        for name, x in state.items():
            if name != "seen":
                self.memory[name] = x.new_zeros(self.capacity, *x.shape[1:])
                self.memory[name][: len(x)] = x
