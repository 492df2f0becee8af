"""All columns of an environment program in one call."""

from __future__ import annotations

from pgrun.kernels.classic_control import CARTPOLE, act, begin, begin_cartpoles, observe
from pgrun.kernels.jit import kernel


@kernel(allocates=True)
def advance(
    kind, limit, two, place, steps, streams, ended, active, choice, force, obs, reward, terminated, truncated
):
    """One step of every column, or its reset where it has ended; ``obs`` and ``ended`` are renewed.

    Columns that are not active are left alone. CartPole's all go on: they share a stream.
    """
    for n in range(len(place)):
        reward[n], terminated[n], truncated[n] = 0.0, False, False
        if kind != CARTPOLE and not active[n]:
            continue
        if ended[n]:
            steps[n] = 0
            if kind != CARTPOLE:
                begin(kind, place, n, streams)
                observe(kind, place, n, True, obs)
        else:
            reward[n], terminated[n] = act(kind, place, n, choice[n], force[n], steps[n] == 0, two)
            steps[n] += 1
            truncated[n] = steps[n] >= limit
            observe(kind, place, n, False, obs)
    if kind == CARTPOLE:
        begin_cartpoles(place, ended, streams)
        for n in range(len(place)):
            if ended[n]:
                observe(kind, place, n, True, obs)
    for n in range(len(place)):
        ended[n] = terminated[n] or truncated[n]
