"""A variance scheme of one's own, measured against others and trained with: python examples/new_scheme.py.

The class is found by the name in conf/variance/ranked_return.yaml. In a terminal, in this folder:
pgrun --config-dir conf modules=[new_scheme] algo=reinforce variance=ranked_return
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from torch import Tensor

import pgrun
from pgrun.returns import episode_return
from pgrun.types import Rollout
from pgrun.variance.base import Scheme


@dataclass(frozen=True)
class RankedReturn(Scheme):
    """Ψₜ = 1/(N−1) Σⱼ sign(r(τᵢ) − r(τⱼ)): the share of the other episodes that this one beats, less the
    share that beats it.

    Only the order of the returns counts, as in fitness shaping (Wierstra et al. 2014): a multiple of the
    rewards changes nothing. It is biased: E[ĝ] is the gradient of the chance to beat another episode.
    """

    whole_episodes: ClassVar[bool] = True  # needs sampler=episodes; anything else is refused
    compares_episodes: ClassVar[bool] = True  # and two of them

    def psi(self, rollout: Rollout, value: Tensor, gamma: float) -> Tensor:
        total = episode_return(rollout.reward, rollout.mask, rollout.time, gamma)  # [N]
        beaten = (total[:, None] - total).sign().sum(1)
        return (beaten / max(len(total) - 1, 1)).expand_as(rollout.reward)  # [T, N]


def main(steps: int = 20_000, episodes: int = 4_000) -> None:
    own = {"modules": ["new_scheme"], "quiet": True}

    schemes = ["none", "mean_baseline", "ranked_return"]
    study = pgrun.study(env="pgrun/OneState-v0", schemes=schemes, episodes=episodes, **own)
    for row in study.rows:
        print(
            f"{row['scheme']:<14} variance {row['variance']:.4f}, cosine with the exact ∇J "
            f"{row['cosine']:.3f}"
        )

    words = (
        f"algo=reinforce env=CartPole-v1 variance=ranked_return optimizer.lr=1e-2 trainer.total_steps={steps}"
    )
    run = pgrun.train(words, config_dir=Path(__file__).parent / "conf", **own)
    print(f"trained with ranks: return {run.summary['eval']['return_mean']:.0f}")


if __name__ == "__main__":
    main()
