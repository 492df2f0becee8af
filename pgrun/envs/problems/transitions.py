"""What every transition table must be, ours, a user's or one of gymnasium's made from
settings: P, ``start`` and ``seen``.

P[s][a] = [(probability, s', reward, whether the episode ends there), …] for s in 0 … S−1 and a in 0 … A−1.
"""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np

ROUNDING = 1e-9  # of probabilities that are to add up to 1
LARGEST = float(np.finfo(np.float32).max)  # of a reward: what is learned from is float32
OUTCOME = "[probability, next state, reward, true or false for an end]"


def check_transitions(table: Any, start: Any, seen: Any = None) -> None:
    """Raises ``ValueError`` that says which entry is wrong, and what it may be."""
    states = len(table)
    check_actions(table)
    for s, by_action in table.items():
        for a, outcomes in by_action.items():
            check_outcomes(outcomes, states, f"P[{s}][{a}]")
    if not is_distribution(start, states):
        raise ValueError(f"start must be {states} probabilities that add up to 1, one for each state")
    if seen is not None:
        check_seen(seen, states)


def check_actions(table: Any) -> None:
    """States and actions are numbered from 0, and every state has the same."""
    counts = {len(by_action) if isinstance(by_action, Mapping) else 0 for by_action in table.values()}
    if len(counts) != 1 or counts == {0}:
        raise ValueError("P must give every state the same number of actions, at least one")
    numbered = [list(table), *(list(by_action) for by_action in table.values())]
    if any(keys != list(range(len(keys))) for keys in numbered):
        raise ValueError("P must number states and actions 0, 1, … without gaps")


def check_outcomes(outcomes: Any, states: int, where: str) -> None:
    for outcome in outcomes:
        if not isinstance(outcome, list | tuple) or len(outcome) != 4:
            raise ValueError(f"{where} must be a list of {OUTCOME}")
        chance, successor, reward, end = outcome
        if not is_number(chance) or not 0 <= chance <= 1 + ROUNDING:
            raise ValueError(f"{where}: a probability of {chance} is none in [0, 1]")
        if not is_integer(successor) or not 0 <= successor < states:
            raise ValueError(f"{where}: next state {successor}: one of 0 … {states - 1} is needed")
        if not is_number(reward) or not abs(reward) <= LARGEST:
            raise ValueError(f"{where}: reward {reward}: a number is needed, finite as float32")
        if not isinstance(end, bool | np.bool_):
            raise ValueError(f"{where}: end {end!r}: true or false is needed")
    total = sum(chance for chance, *_ in outcomes)
    if abs(total - 1) > ROUNDING:
        raise ValueError(f"{where}: the probabilities add up to {total:g}, not to 1")


def check_seen(seen: Any, states: int) -> None:
    if np.ndim(seen) != 1 or not all(map(is_integer, seen)):
        raise ValueError("seen must be a list of integers, the number of the observation in each state")
    if len(seen) != states:
        raise ValueError(f"seen must have {states} entries, one for each state")
    if sorted(set(seen)) != list(range(max(seen) + 1)):
        raise ValueError("seen must number the observations 0, 1, … without gaps")


def is_distribution(p: Any, states: int) -> bool:
    if not isinstance(p, list | tuple | np.ndarray) or np.ndim(p) != 1 or len(p) != states:
        return False
    return all(is_number(x) and x >= 0 for x in p) and abs(float(sum(p)) - 1) < ROUNDING


def is_number(x: Any) -> bool:
    """A real one, and no bool."""
    return type(x) in (float, int) or (isinstance(x, Real) and not isinstance(x, bool))


def is_integer(x: Any) -> bool:
    return type(x) is int or (isinstance(x, Integral) and not isinstance(x, bool))
