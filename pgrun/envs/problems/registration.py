"""gymnasium's registry, with the teaching environments in it."""

from __future__ import annotations

import gymnasium
from gymnasium import registry

__all__ = ["registry"]

ENVIRONMENTS = {  # id: (factory, in pgrun.envs.problems.teaching where no other module is named, time limit)
    "OneState": ("one_state", 10_000),
    "Conserved": ("conserved_return", None),
    "Mismatch": ("action_mismatch", None),
    "FixedHorizon": ("fixed_horizon", None),
    "RandomWalk": ("random_walk", 1_000),
    "ASplit": ("a_split", None),
    "SmallMDP": ("small_mdp", 200),
    "TokenTree": ("pgrun.envs.problems.token_tree:token_tree", None),
    "Table": ("pgrun.envs.problems.mdp_file:load_mdp", 1_000),  # the user's own
    "TwoGaussians": ("pgrun.envs.problems.teaching_continuous:TwoGaussians", None),
    "Catch": ("pgrun.envs.problems.teaching_pixels:Catch", None),
    "LQ1": ("pgrun.envs.problems.teaching_continuous:Lq1", 20),
}


for _name, (_factory, _limit) in ENVIRONMENTS.items():
    _entry = _factory if ":" in _factory else f"pgrun.envs.problems.teaching:{_factory}"
    gymnasium.register(f"pgrun/{_name}-v0", _entry, max_episode_steps=_limit)
