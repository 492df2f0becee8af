"""From gymnasium's spaces to vectors and distributions, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces

from pgrun.errors import Refused


def observation_encoder(space: spaces.Space) -> tuple[int, Callable[[Any], np.ndarray]]:
    """(D, f): f flattens one observation to a vector [D]; Discrete becomes one-hot."""
    if isinstance(space, spaces.Box):
        return int(np.prod(space.shape)), np.ravel
    if isinstance(space, spaces.Discrete):
        eye, start = np.eye(int(space.n), dtype=np.float32), int(space.start)
        return int(space.n), lambda obs: eye[int(obs) - start]
    if isinstance(space, spaces.Tuple | spaces.Dict | spaces.MultiDiscrete | spaces.MultiBinary) and (
        space.is_np_flattenable
    ):
        return spaces.flatdim(space), lambda obs: np.asarray(spaces.flatten(space, obs))
    raise Refused(
        f"observation space {space} is not supported: Box, Discrete, MultiDiscrete, MultiBinary, or Tuple/Dict of those"
    )


def action_decoder(space: spaces.Space) -> Callable[[np.ndarray], np.ndarray]:
    """f maps the policy's actions [N, …] to the environment's: shifted by ``start``, or unscaled and clipped.

    A Gaussian acts on [−1, 1] where both bounds are finite: a ↦ low + (a + 1)(high − low)/2, then clipped to the bounds.
    """
    if isinstance(space, spaces.Discrete):
        start = space.start
        return (lambda a: a + start) if start else (lambda a: a)
    if isinstance(space, spaces.MultiDiscrete):
        start, dtype = space.start, space.dtype
        return lambda a: (a + start).astype(dtype)
    if isinstance(space, spaces.MultiBinary):
        return lambda a: a.astype(space.dtype)
    assert isinstance(space, spaces.Box)
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    finite = np.isfinite(low) & np.isfinite(high)
    bottom, top = np.where(finite, low, -1.0), np.where(finite, high, 1.0)  # −1 and 1: left as they are
    scale, middle = (top - bottom) / 2, (top + bottom) / 2
    shape, dtype = space.shape, space.dtype
    return lambda a: np.clip(a.reshape(-1, *shape) * scale + middle, low, high).astype(dtype)


def check_action_space(space: spaces.Space) -> None:
    """Refuse what no policy here can act in."""
    if isinstance(space, spaces.Discrete):
        return
    if isinstance(space, spaces.MultiDiscrete | spaces.MultiBinary):
        if len(space.shape) == 1:
            return
        raise Refused(f"action space {space}: only one axis is supported; flatten it in a wrapper")
    if isinstance(space, spaces.Box):
        if np.issubdtype(space.dtype, np.floating):
            return
        raise Refused(
            f"action space {space}: a Box of integers has no density; make it Discrete or MultiDiscrete"
        )
    raise Refused(
        f"action space {space} is not supported: Discrete, MultiDiscrete, MultiBinary or Box of floats"
    )
