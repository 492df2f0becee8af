"""A step of all columns of an environment program in one call."""

from __future__ import annotations

from pgrun.kernels.classic_control import (
    CARTPOLE,
    begin_cartpoles,
    begin_episode,
    observe_column,
    step_column,
)
from pgrun.kernels.jit import kernel


@kernel(allocates=True)
def advance_columns(
    kind, limit, two, place, steps, streams, ended, active, choice, force, obs, reward, terminated, truncated
):
    """Step every column, or reset it where it has ended; ``obs`` [N, D] and ``ended`` [N] are renewed.

    Columns that are not active are left alone. CartPole's all go on: they share a stream. ``choice`` [N] or
    ``force`` [N] is the action; ``reward``, ``terminated`` and ``truncated`` [N] are filled in, 0 and False
    where a column was reset.
    """
    for n in range(len(place)):
        reward[n], terminated[n], truncated[n] = 0.0, False, False
        if kind != CARTPOLE and not active[n]:
            continue
        if ended[n]:
            steps[n] = 0
            if kind != CARTPOLE:
                begin_episode(kind, place, n, streams)
                observe_column(kind, place, n, True, obs)
        else:
            reward[n], terminated[n] = step_column(kind, place, n, choice[n], force[n], steps[n] == 0, two)
            steps[n] += 1
            truncated[n] = steps[n] >= limit
            observe_column(kind, place, n, False, obs)
    if kind == CARTPOLE:
        begin_cartpoles(place, ended, streams)
        for n in range(len(place)):
            if ended[n]:
                observe_column(kind, place, n, True, obs)
    for n in range(len(place)):
        ended[n] = terminated[n] or truncated[n]
