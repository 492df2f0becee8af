"""From gymnasium's spaces to vectors and distributions, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from pgrun.envs.faults import Misfit
from pgrun.errors import InvalidCommand

Encoder = Callable[[Any], np.ndarray]
ENCODED = "Box, Discrete, MultiDiscrete, MultiBinary, or Tuple/Dict of those"
TABLE = 4096  # states whose one-hot vectors are kept
VAST = 3e38  # of a bound: none
SIDE = 32  # pixels: a board of bytes is smaller


def observation_encoder(space: spaces.Space[Any]) -> tuple[int, Encoder]:
    """(D, f): f flattens one observation to a vector [D] as gymnasium does; Discrete becomes one-hot. f
    raises ``Misfit``.
    """
    match space:
        case spaces.Box() | spaces.MultiBinary():
            return int(np.prod(space.shape)), number_encoder(space.shape)
        case spaces.Discrete():
            return int(space.n), one_hot_encoder(space)
        case spaces.MultiDiscrete():
            return int(space.nvec.sum()), multi_one_hot_encoder(space)
        case spaces.Tuple() | spaces.Dict():
            refuse_odd_entries(space)
            return composite_encoder(space)
    raise InvalidCommand(f"observation space {shorten_space(space)}", None, f"is not supported: {ENCODED}")


def number_encoder(shape: tuple[int, ...]) -> Encoder:
    def encode(obs: Any) -> np.ndarray:
        if getattr(obs, "shape", None) != shape:
            obs = np.asarray(obs)
            if obs.shape != shape:
                raise Misfit(f"its observation has shape {obs.shape}, and its observation space {shape}")
        flat: np.ndarray = obs.ravel()
        return flat

    return encode


def one_hot_encoder(space: spaces.Discrete) -> Encoder:
    n, start = int(space.n), int(space.start)
    eye = np.eye(n, dtype=np.float32) if n <= TABLE else None

    def encode(obs: Any) -> np.ndarray:
        try:
            k = int(obs) - start
        except (ValueError, OverflowError):  # NaN, ∞
            k = -1
        if not 0 <= k < n or k + start != obs:
            raise Misfit(f"its observation is {obs}, and its observation space {space}")
        if eye is not None:
            known: np.ndarray = eye[k]
            return known
        row = np.zeros(n, np.float32)
        row[k] = 1
        return row

    return encode


def multi_one_hot_encoder(space: spaces.MultiDiscrete) -> Encoder:
    """One after the other."""
    shape, sizes, start = space.shape, space.nvec.ravel(), space.start.ravel()
    first, total = np.cumsum(sizes) - sizes, int(sizes.sum())
    entries = number_encoder(shape)

    def encode(obs: Any) -> np.ndarray:
        k = entries(obs) - start
        if not ((k >= 0) & (k < sizes) & (k % 1 == 0)).all():
            raise Misfit(f"its observation is {obs}, and its observation space {space}")
        row = np.zeros(total, np.float32)
        row[first + k.astype(np.int64)] = 1
        return row

    return encode


def composite_encoder(space: spaces.Tuple[Any] | spaces.Dict) -> tuple[int, Encoder]:
    """(size, encoder) of a Tuple or Dict, in the space's order."""
    members = list_subspaces(space)
    keys = list(members)
    kinds = Mapping if isinstance(space, spaces.Dict) else (tuple, list, np.ndarray)
    encoders = [(key, *observation_encoder(member)) for key, member in members.items()]

    def encode(obs: Any) -> np.ndarray:
        there = list(obs) if isinstance(obs, Mapping) else range(len(obs)) if isinstance(obs, kinds) else ()
        if len(there) != len(keys) or any(key not in there for key in keys):
            shown = there if isinstance(obs, Mapping) else f"a {type(obs).__name__}"
            raise Misfit(f"its observation is {shown}, and its observation space {shorten_space(space)}")
        return np.concatenate([encode(obs[key]) for key, _, encode in encoders])

    return sum(size for _, size, _ in encoders), encode


def list_subspaces(space: spaces.Tuple[Any] | spaces.Dict) -> dict[Any, spaces.Space[Any]]:
    """The spaces inside, by key, or by number."""
    return dict(space.spaces if isinstance(space, spaces.Dict) else enumerate(space.spaces))


def refuse_odd_entries(space: spaces.Tuple[Any] | spaces.Dict) -> None:
    """Name the entries that are no numbers, as a mission in words is none, and say how to do without them."""
    odd = dict(odd_entries(space))
    if not odd:
        return
    named = "; ".join(f"{'.'.join(map(str, path))} is {shorten_space(kind)}" for path, kind in odd.items())
    kept = [key for key in list_subspaces(space) if key not in {path[0] for path in odd}]
    hint = f"leave out with a wrapper: gymnasium.wrappers.FilterObservation(env, {kept})"
    if not kept:
        hint = "make numbers of them with a wrapper: gymnasium.wrappers.TransformObservation"
    raise InvalidCommand(
        "observation space", None, f"its entry {named}, which is not supported ({ENCODED})", hint
    )


def odd_entries(
    space: spaces.Space[Any], path: tuple[Any, ...] = ()
) -> Iterator[tuple[tuple[Any, ...], str]]:
    """(keys down to it, its class) of each entry that is no vector.

    Not asked whether it can be flattened: a space of one's own raises.
    """
    if isinstance(space, spaces.Tuple | spaces.Dict):
        for key, member in list_subspaces(space).items():
            yield from odd_entries(member, (*path, key))
    elif not isinstance(space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
        yield path, type(space).__name__


def shorten_space(space: Any) -> str:
    text = " ".join(str(space).split())
    return text if len(text) <= 120 else f"{text[:120]}…"


def action_decoder(space: spaces.Space[Any]) -> Callable[[np.ndarray], np.ndarray]:
    """f maps the policy's actions [N, …] to the environment's: shifted by ``start``, or unscaled and clipped.

    A policy acts on [−1, 1] where both bounds are finite: a ↦ low + (a + 1)(high − low)/2, then clipped to
    the bounds.
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
    scale, middle, low, high = box_scaling(space)
    shape, dtype = space.shape, space.dtype
    return lambda a: np.clip(a.reshape(-1, *shape) * scale + middle, low, high).astype(dtype)


def box_scaling(space: spaces.Box) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(scale, middle, low, high): the environment's action is that of the policy times scale plus middle,
    clipped to [low, high].
    """
    low, high = box_bounds(space)
    finite = np.isfinite(low) & np.isfinite(high)
    bottom, top = np.where(finite, low, -1.0), np.where(finite, high, 1.0)  # −1 and 1: left as they are
    return (top - bottom) / 2, (top + bottom) / 2, low, high


def box_constants(space: spaces.Space[Any]) -> np.ndarray:
    """``box_scaling`` of each entry of a Box [A, 4], for kernels."""
    assert isinstance(space, spaces.Box)
    return np.ascontiguousarray(np.stack([part.ravel() for part in box_scaling(space)], -1))


def box_bounds(space: spaces.Box) -> tuple[np.ndarray, np.ndarray]:
    """(low, high).

    The largest number of float32 is what many environments write where they mean that there is no bound.
    """
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    return np.where(low <= -VAST, -np.inf, low), np.where(high >= VAST, np.inf, high)


def action_limits(space: spaces.Box) -> tuple[np.ndarray, np.ndarray]:
    """(lowest, highest) of a policy's actions [A] that ``action_decoder`` does not clip."""
    low, high = box_bounds(space)
    finite = np.isfinite(low) & np.isfinite(high)
    return np.where(finite, -1.0, low).ravel(), np.where(finite, 1.0, high).ravel()


def image_shape(space: spaces.Space[Any]) -> tuple[int, ...] | None:
    """The shape of the first image that observations consist of: bytes in three axes
    or more, or in two that are long.

    None without one.
    """
    if isinstance(space, spaces.Tuple | spaces.Dict):
        members = space.spaces.values() if isinstance(space, spaces.Dict) else space.spaces
        return next((shape for shape in map(image_shape, members) if shape), None)
    if not isinstance(space, spaces.Box) or space.dtype != np.uint8:
        return None
    axes = len(space.shape)
    return space.shape if axes > 2 or (axes == 2 and min(space.shape) >= SIDE) else None


def check_action_space(space: spaces.Space[Any]) -> None:
    """Refuse what no policy here can act in."""
    if isinstance(space, spaces.Box | spaces.MultiBinary | spaces.MultiDiscrete) and 0 in space.shape:
        raise InvalidCommand(f"action space {shorten_space(space)}", None, "it has no entries")
    if isinstance(space, spaces.Discrete):
        return
    if isinstance(space, spaces.MultiDiscrete | spaces.MultiBinary):
        if len(space.shape) == 1:
            return
        raise InvalidCommand(
            f"action space {shorten_space(space)}",
            None,
            "only one axis is supported",
            "flatten it in a wrapper",
        )
    if isinstance(space, spaces.Box):
        if np.issubdtype(space.dtype, np.floating):
            return
        raise InvalidCommand(
            f"action space {shorten_space(space)}",
            None,
            "a Box of integers has no density",
            "make it Discrete or MultiDiscrete",
        )
    raise InvalidCommand(
        f"action space {shorten_space(space)}",
        None,
        "is not supported: Discrete, MultiDiscrete, MultiBinary or Box of floats",
    )
