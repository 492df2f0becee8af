"""NumPy's PCG64 and its ``uniform``, on the generator's own state.

A stream is that state in four words, high and low of the state and of the increment. numba knows NumPy's
generators too; with them a kernel takes several times as long to compile.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pgrun.kernels.jit import kernel

FACTOR_HIGH, FACTOR_LOW = np.uint64(2549297995355413924), np.uint64(4865540595714422341)
HALF, TOP, BITS, DROPPED, LOWER = (
    np.uint64(32),
    np.uint64(58),
    np.uint64(63),
    np.uint64(11),
    np.uint64(0xFFFFFFFF),
)
STEP = 1.0 / 9007199254740992.0  # 2⁻⁵³


def pack_stream(state: Mapping[str, Any]) -> np.ndarray:
    """A stream [4] from a ``bit_generator.state``."""
    inner = state["state"]
    parts = [part for x in (inner["state"], inner["inc"]) for part in (x >> 64, x & (2**64 - 1))]
    return np.array(parts, np.uint64)


@kernel(inner=True, allocates=True)
def multiply_high(a, b):
    """The upper 64 bits of a·b, both of 64 bits."""
    a_high, a_low, b_high, b_low = a >> HALF, a & LOWER, b >> HALF, b & LOWER
    middle = a_high * b_low + (a_low * b_low >> HALF)
    return a_high * b_high + (middle >> HALF) + ((middle & LOWER) + a_low * b_high >> HALF)


@kernel(inner=True, allocates=True)
def draw_uniform(streams, k, low, high):
    """The next number of stream k in [low, high), as ``Generator.uniform`` draws it; the stream moves on."""
    state_high, state_low = streams[k, 0], streams[k, 1]
    low_word = state_low * FACTOR_LOW
    high_word = state_high * FACTOR_LOW + state_low * FACTOR_HIGH + multiply_high(state_low, FACTOR_LOW)
    new_low = low_word + streams[k, 3]
    new_high = high_word + streams[k, 2]
    if new_low < low_word:
        new_high += np.uint64(1)
    streams[k, 0], streams[k, 1] = new_high, new_low
    turn = new_high >> TOP
    mixed = new_high ^ new_low
    mixed = (mixed >> turn) | (mixed << ((np.uint64(64) - turn) & BITS))
    return low + (high - low) * (np.float64(mixed >> DROPPED) * STEP)
