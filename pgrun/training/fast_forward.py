"""Updates that nobody looks at, many in one call, where the backend does whole iterations."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from pgrun.training.nonfinite import describe_first_nonfinite, make_diverged

if TYPE_CHECKING:
    from pgrun.training.build import Run
    from pgrun.training.counters import Clock, Counters


def count_plain_iterations(run: Run, counters: Counters) -> int:
    """How many iterations are certain to come before one that is measured, logged, evaluated after or saved.

    0 where the next one may be such a one, or where each has to go the general way.
    """
    if run.iterations is None or run.meter.window:
        return 0
    trainer, log_every, read_every = run.trainer, run.logger.every, run.diagnostics.gradient_every
    limits: list[float] = [trainer.total_steps]
    if trainer.eval_every is not None:
        limits.append(counters.next_eval)
    if trainer.film_every is not None:
        limits.append(counters.next_film)
    if trainer.checkpoint_every is not None:
        limits.append((counters.env_steps // trainer.checkpoint_every + 1) * trainer.checkpoint_every)
    most = run.iterations.most
    if log_every is None:
        limits.append(counters.next_row)
    else:  # the update that makes the count a multiple
        most = min(most, -(counters.updates + 1) % log_every)
    if read_every is None:
        limits.append(counters.next_reading)
    elif read_every > 0:  # the update that begins at a multiple
        most = min(most, -counters.updates % read_every)
    below = math.ceil(min(limits)) - 1 - counters.env_steps
    return max(0, min(most, below // run.iterations.rows))


def fast_forward(run: Run, counters: Counters, clock: Clock, count: int) -> None:
    """Do ``count`` iterations in one call. Raises ``Diverged`` and ``EnvironmentFault``."""
    assert run.iterations is not None
    begun, start, total = time.perf_counter(), counters.env_steps, run.trainer.total_steps
    run.set_progress(start / total)
    played = run.iterations.run_many(count, lambda steps: (start + steps) / total)
    counters.env_steps += played.env_steps
    counters.updates += played.updates
    counters.note_finished(played.finished)
    if not played.finite:
        rollout, batch = run.iterations.last_batch()
        raise make_diverged(counters, describe_first_nonfinite(run, rollout, batch, counters))
    spent, share = time.perf_counter() - begun, run.iterations.learning_share
    clock.learning += spent * share
    clock.collecting += spent * (1 - share)
