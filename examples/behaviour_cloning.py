"""Behaviour cloning: REINFORCE with Ψ = 1 on given data. python examples/behaviour_cloning.py

The class is found by the name in conf/algo/cloning.yaml. In a terminal, in this folder:
PYTHONPATH=. pgrun --config-dir conf modules=[behaviour_cloning] algo=cloning algo.data=/tmp/expert.npz
"""

from dataclasses import dataclass, field
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch

import pgrun
from pgrun.algorithms.base import Learner
from pgrun.algorithms.reinforce import Reinforce
from pgrun.config.schema import PositiveInt
from pgrun.policies.normalization import NoRewardScale
from pgrun.rollouts.trajectory import make_rollout
from pgrun.types import Rollout


@dataclass
class Cloning(Reinforce):
    """L = 1/B Σ log π(aₖ|sₖ) over B pairs of a file: how likely is what an expert did (Pomerleau 1989)?

    Each pair is an episode of one step that earned 1: G = Ψ = 1 with ``variance=reward_to_go``. What the
    policy plays itself is looked at, in ``return/train``, and not learned from.
    """

    data: str = ""  # a file of NumPy's: obs [K, D] as the environment gives them, action [K], from 0
    rows: PositiveInt = 64  # B, drawn anew for each update
    pairs: dict[str, torch.Tensor] = field(init=False, default_factory=dict, repr=False)

    def prepare_rollout(self, rollout: Rollout, learner: Learner) -> Rollout:
        if not self.pairs:
            with np.load(self.data) as given:
                self.pairs = {name: torch.from_numpy(given[name]) for name in ("obs", "action")}
        drawn = torch.randint(len(self.pairs["obs"]), (self.rows,), generator=learner.generator)
        obs, action = self.pairs["obs"][drawn][None], self.pairs["action"][drawn][None]
        one = torch.ones(1, self.rows, dtype=learner.policy.theta.dtype)
        flags = {"terminated": one, "ended": one, "mask": one, "time": torch.zeros_like(one), "state": None}
        return make_rollout(
            *(learner.policy, NoRewardScale(), self.rows, True),
            **{"raw_obs": torch.cat([obs, obs]), "action": action, "raw_reward": one, **flags},
        )


def record_pairs(run: pgrun.RunResult, file: Path, steps: int) -> None:
    """What a run's policy does in its environment, by its mode."""
    env = gym.make("CartPole-v1")
    seen, done = [], []
    obs, _ = env.reset(seed=0)
    while len(done) < steps:
        seen.append(obs)
        done.append(run.policy.act(obs))
        obs, _, terminated, truncated, _ = env.step(done[-1])
        if terminated or truncated:
            obs, _ = env.reset()
    np.savez(file, obs=np.array(seen), action=np.array(done))


def main(steps: int = 30_000, pairs: int = 2_000, played: int = 60_000) -> None:
    here = Path(__file__).parent
    expert = pgrun.train(f"algo=ppo env=CartPole-v1 trainer.total_steps={steps}", quiet=True)
    file = Path(expert.folder) / "expert.npz"
    record_pairs(expert, file, pairs)
    own = {"modules": ["behaviour_cloning"], "config_dir": here / "conf", "quiet": True}
    words = f"algo=cloning algo.data={file} env=CartPole-v1 trainer.total_steps={played}"
    clone = pgrun.train(words, **own)
    first, second = (run.summary["eval"]["return_mean"] for run in (expert, clone))
    print(f"the expert: return {first:.0f}")
    print(f"its clone, from {pairs} actions and no reward: return {second:.0f}")


if __name__ == "__main__":
    main()
