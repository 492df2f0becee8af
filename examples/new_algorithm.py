"""An algorithm of one's own, with a field of its own in the rollout: python examples/new_algorithm.py.

The class is found by the name in conf/algo/self_imitation.yaml. In a terminal, in this folder:
PYTHONPATH=. pgrun --config-dir conf modules=[new_algorithm] algo=self_imitation
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from torch import Tensor

import pgrun
from pgrun.algorithms.a2c import A2c
from pgrun.algorithms.base import Learner
from pgrun.config.schema import NonNegative, Probability
from pgrun.types import Batch, Rollout
from pgrun.variance.base import returns_to_go


@dataclass
class SelfImitation(A2c):
    """A2C that also repeats what went better than expected (Oh et al. 2018, eq. 2, on the present batch):

    L = 1/count Σ mask·[Ψ + β (G − V(s))₊] log π(a|s), G the discounted return that followed, bootstrapped
    where it is cut.
    """

    imitation: NonNegative = 0.1  # β; annotations are what is allowed
    gamma: Probability = 0.99
    share: Tensor | None = field(init=False, default=None, repr=False)

    allowed_schemes: ClassVar[tuple[str, ...]] = (
        "gae",
        "n_step",
        "td0",
        "value_baseline",
    )  # those that have V
    tags: ClassVar[tuple[str, ...]] = ("imitation/share",)  # one more scalar, in metrics.csv and TensorBoard
    recomputed: ClassVar[tuple[str, ...]] = ("share",)  # from each rollout: a checkpoint need not have it

    def prepare_rollout(self, rollout: Rollout, learner: Learner) -> Rollout:
        """(G − V)₊ needs time and episodes, which are gone in a shuffled minibatch:
        it is kept for each row [T, N].
        """
        value = learner.critic.values(rollout)  # [T+1, N]
        surplus = (returns_to_go(rollout, value, self.gamma) - value[:-1]).clamp(min=0) * rollout.mask
        self.share = (surplus > 0).sum() / rollout.mask.sum()
        return replace(rollout, extra={"surplus": surplus})

    def surrogate(self, log_prob: Tensor, batch: Batch) -> Tensor:
        imitated = (batch.mask * batch.extra["surplus"] * log_prob).sum() / batch.count
        return super().surrogate(log_prob, batch) + self.imitation * imitated

    def scalars(self) -> dict[str, Tensor]:
        return {"imitation/share": self.share}


def main(steps: int = 6_000, betas: tuple[float, ...] = (0.0, 0.5)) -> None:
    own = {"modules": ["new_algorithm"], "config_dir": Path(__file__).parent / "conf", "quiet": True}
    lake = "env=FrozenLake-v1 env.kwargs.is_slippery=false"  # one reward, at the end of the right way
    for beta in betas:
        words = f"algo=self_imitation algo.imitation={beta} {lake} logger.every=5 trainer.total_steps={steps}"
        rows = pgrun.train(words, **own).metrics
        collected = next((row["env_steps"] for row in rows if (row["return/train"] or 0) >= 0.9), None)
        when = f"after {collected:.0f} steps" if collected else f"not in {steps} steps"
        share = rows[-1]["imitation/share"]
        print(
            f"β = {beta}: nine of ten reach the goal {when}; at the end {share:.0%} of the rows are imitated"
        )


if __name__ == "__main__":
    main()
