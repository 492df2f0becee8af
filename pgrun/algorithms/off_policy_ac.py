from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import gymnasium as gym

from pgrun.algorithms.base import Algorithm, Learner
from pgrun.config.settings import CENTERING
from pgrun.critics.action_value import ActionCritic
from pgrun.errors import Mistake
from pgrun.types import Batch, Rollout
from pgrun.variance.advantage import Advantage
from pgrun.variance.base import Scheme
from pgrun.variance.q import Q

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class OffPolicyAc(Algorithm):
    """Actor-critic on replayed states s, both sides under the present policy:

        ∇J ≈ 1/B Σ ∇log π(a^π|s) Ψ,  a^π ~ π(·|s);    Q(s, a) → r + γ(1 − d)Q(s', a'),  a' ~ π(·|s')

    (Degris, White & Sutton 2012; Lillicrap et al. 2016 for the replay). ``corrections`` mends the naive form
    step by step:

      none    y = r + γ(1 − d)V(s') of the policies that filled the buffer; the actor takes their a, Ψ from y
      q       fits Q(s, a) instead: a is given, so it may be anybody's; a' is still the buffer's
      q_next  a' from the present policy
      all     a too

    ``baseline``: none; v subtracts V(s) = Σ_a πQ, as ``variance=advantage`` does; expectation puts Σ_a
    π(a|s)Q(s, a)∇log π(a|s), no draw at all, in the actor's place. What remains wrong is the distribution of
    s. (The critic's error falls with each correction; the actor's, with the last.)
    """

    corrections: Literal["none", "q", "q_next", "all"] = (
        "all"  # none: V of the old policies; q: Q(s, a); q_next: a' of today's too; all: the actor's a too
    )
    baseline: Literal["none", "v", "expectation"] = "none"  # what is taken off Q
    rows_per_state: int = field(init=False, default=1)  # K of ``every_action``

    samplers: ClassVar[tuple[str, ...]] = ("replay",)
    allowed_schemes: ClassVar[tuple[str, ...]] = ("q", "advantage")
    of_actions: ClassVar[bool] = True

    @classmethod
    def misfits(cls, settings: Mapping[str, Any], env: gym.Env | None) -> Iterator[Mistake]:
        if settings["algo"]["baseline"] != "expectation":
            return
        if settings["algo"]["corrections"] != "all":
            yield Mistake(
                "algo.baseline",
                "expectation",
                "sums over the present policy's actions",
                "add algo.corrections=all",
            )
        if settings["variance"]["name"] != "q":
            yield Mistake(
                "algo.baseline", "expectation", "leaves nothing for V(s) to lower", "add variance=q"
            )
        if settings["advantage_norm"] in CENTERING:
            yield Mistake(
                "algo.baseline",
                "expectation",
                "weighs with π(a|s)Q(s, a), which has no use for a mean of 0",
                "add advantage_norm=none or scale",
            )

    def effective_scheme(self, scheme: Scheme) -> Scheme:
        """``baseline=v`` and ``variance=advantage`` are two words for one weight, Q(s, a) − V(s)."""
        if self.baseline == "v" and isinstance(scheme, Q):
            return Advantage(discounting=scheme.discounting)
        return scheme

    def surrogate(self, log_prob: Tensor, batch: Batch) -> Tensor:
        return (batch.mask * batch.psi * log_prob).sum() / batch.count

    @property
    def entropy_weight(self) -> float:
        """c_H of each row: a state has its bonus once, whatever the number of its actions."""
        return super().entropy_weight / self.rows_per_state

    def prepare_rollout(self, rollout: Rollout, learner: Learner) -> Rollout:
        """Actions and Q of the actor's rows; ``replayed_from`` keeps the transitions for the critic."""
        critic, policy = learner.critic, learner.policy
        assert isinstance(critic, ActionCritic)
        seen = replace(rollout, replayed_from=rollout)
        if self.baseline == "expectation":
            return self.every_action(seen, critic)
        if self.corrections == "all":
            action = critic.sample(rollout.params)
            seen = replace(seen, action=action, log_prob=policy.dist.log_prob(rollout.params, action))
        return replace(seen, q=critic.action_values(seen))

    def every_action(self, rollout: Rollout, critic: ActionCritic) -> Rollout:
        """K rows for each state, an action each, with Ψ = π(a|s)Q(s, a): the column
        of a state stays one unit.
        """
        obs = rollout.obs[0]
        action, chance = critic.choices(obs)
        k = self.rows_per_state = len(action)
        params = rollout.params.expand(k, *rollout.params.shape[1:])
        row = {name: getattr(rollout, name).expand(k, -1) for name in PER_ROW}
        return replace(
            rollout,
            **row,
            obs=obs.expand(k + 1, *obs.shape),
            action=action,
            params=params,
            log_prob=critic.policy.dist.log_prob(params, action),
            q=chance * critic.q(obs.expand(k, *obs.shape), action),
        )


PER_ROW = ("reward", "terminated", "ended", "mask", "time", "raw_reward")
