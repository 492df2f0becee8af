"""Groups of episodes from the same start: their seeds, and rounds of episodes joined into one rollout."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from pgrun.envs import Envs
from pgrun.errors import EnvironmentFault
from pgrun.rollouts.trajectory import Arrays

SEEDS = 2**31  # NumPy's old generators, which many environments have, take 32 bits


def draw_group_seeds(groups: int, size: int, generator: torch.Generator) -> np.ndarray:
    """A seed for each episode [groups·size], the same within a group, from the run's own random stream."""
    drawn = torch.randint(SEEDS, (groups,), generator=generator, device=generator.device)
    return drawn.cpu().numpy().repeat(size)


def check_starts(envs: Envs, seeds: Sequence[int]) -> None:
    """Raises ``EnvironmentFault`` where columns that were reset with the same seed do not start alike."""
    _, first, column = np.unique(np.asarray(seeds), return_index=True, return_inverse=True)
    unlike = (envs.obs != envs.obs[first[column]]).any(1)
    if unlike.any():
        seed = seeds[int(unlike.argmax())]
        raise EnvironmentFault(
            f"{envs.name}: reset(seed={seed}) gave two first observations, and a group of episodes needs one "
            "start: the environment must draw from its np_random alone; without groups take sampler.group=1"
        )


def join_columns(parts: Sequence[Arrays]) -> Arrays:
    """The columns of several rollouts of whole episodes side by side, padded with rows of mask 0."""
    rows = max(len(part.mask) for part in parts)

    def padded(x: np.ndarray, wanted: int) -> np.ndarray:
        return np.pad(x, [(0, wanted - len(x)), *[(0, 0)] * (x.ndim - 1)])

    present = [name for name, x in vars(parts[0]).items() if x is not None]
    return Arrays(
        **{
            name: np.concatenate(
                [padded(getattr(p, name), rows + (name in ("obs", "state"))) for p in parts], axis=1
            )
            for name in present
        }
    )
