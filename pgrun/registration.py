"""gymnasium's registry, with the teaching environments in it."""

from __future__ import annotations

import gymnasium
from gymnasium import registry

__all__ = ["registry"]

ENVIRONMENTS = {  # id: (factory in pgrun.teaching, time limit)
    "OneState": ("one_state", 10_000),
    "Conserved": ("conserved", None),
    "Mismatch": ("mismatch", None),
    "FixedHorizon": ("fixed_horizon", None),
    "RandomWalk": ("random_walk", 1_000),
    "ASplit": ("a_split", None),
    "SmallMDP": ("small_mdp", 200),
}


for _name, (_factory, _limit) in ENVIRONMENTS.items():
    gymnasium.register(f"pgrun/{_name}-v0", f"pgrun.teaching:{_factory}", max_episode_steps=_limit)
