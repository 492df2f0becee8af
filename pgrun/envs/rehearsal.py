"""Whether environments that are saved as their actions could be brought back: a few steps, played again by a
twin, before a run begins.
"""

from __future__ import annotations

import copy
import logging
import time
from contextlib import suppress

import numpy as np

from pgrun.config.random_streams import isolating_global_generators, noting_global_draws, spawn_child_sequence
from pgrun.envs.faults import Unrepeatable
from pgrun.envs.parallel import Parallel
from pgrun.envs.vector import Envs, Loop

STEPS = 8  # of each of three episodes
LONGEST = 0.05  # seconds of each: what a start may take
log = logging.getLogger(__name__)


def warn_if_unrepeatable(envs: Envs) -> None:
    """Said at the start, and not after a crash."""
    why = why_unrepeatable(envs)
    if why:
        log.warning(
            "%s: %s. If this run is interrupted it will not go on, unless with fresh episodes: "
            "env.restart=true allows that",
            envs.name,
            why,
        )


def why_unrepeatable(envs: Envs) -> str | None:
    """None where nothing speaks against it: the run's own environments and random streams are left alone."""
    if not (envs.replays and isinstance(envs, Loop | Parallel)):
        return None
    with isolating_global_generators(spawn_child_sequence(0)):
        pair: list[Loop] = []
        try:
            pair += [Loop(envs.factory, 1), Loop(envs.factory, 1)]
            return compare_with_twin(*pair)
        except (Exception, SystemExit):
            return None  # what is wrong with it will be told where it happens
        finally:
            for one in pair:
                with suppress(Exception):
                    one.envs[0].close()


def compare_with_twin(played: Loop, twin: Loop) -> str | None:
    """The third episode of one in the second of the other, as in a resumed run: what lasts from episode to
    episode shows too.
    """
    played.reset([1])
    twin.reset([2])
    with noting_global_draws() as used:
        for _ in range(2):
            walk_to_episode_end(played)
            played.ended[:] = True
        walk_to_episode_end(played)
    if used:
        return (
            f"it draws from {' and '.join(used)}, which everything in the process shares: the same command "
            "repeats the run, but where it stands cannot be had again (self.np_random is an environment's "
            "own)"
        )
    try:
        twin.load_state_dict(copy.deepcopy(played.state_dict()))
    except Unrepeatable as error:
        return str(error).removeprefix("column 0 ")
    return None


def walk_to_episode_end(columns: Loop) -> None:
    """Random actions, from a space that is nobody's, until the episode under way ends."""
    space = copy.deepcopy(columns.action_space)
    space.seed(0)
    begun = time.perf_counter()
    for _ in range(STEPS + int(columns.ended.any())):  # the first may reset
        _, terminated, truncated = columns._step(np.asarray(space.sample())[None])
        columns.ended = terminated | truncated
        if columns.ended.any() or time.perf_counter() - begun > LONGEST:
            break
