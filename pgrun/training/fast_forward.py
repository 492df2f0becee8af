"""Updates that nobody looks at, many in one call, where the backend does whole iterations."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pgrun.terminal.training_time import TRAINING_TIME
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
    most = min(run.iterations.most, count_updates_before_note(run, counters))
    steps = math.ceil(find_step_of_note(run, counters)) - 1 - counters.env_steps
    return int(max(0, min(most, steps // run.iterations.rows)))


def find_step_of_note(run: Run, counters: Counters) -> float:
    """The environment step from which on an update is logged, measured, evaluated, filmed or saved."""
    trainer, steps = run.trainer, [float(run.trainer.total_steps)]
    if trainer.eval_every is not None:
        steps.append(counters.next_eval)
    if trainer.film_every is not None:
        steps.append(counters.next_film)
    if (every := trainer.checkpoint_every) is not None:
        steps.append((counters.env_steps // every + 1) * every)
    if run.logger.every is None:
        steps.append(counters.next_row)
    if run.diagnostics.gradient_every is None:
        steps.append(counters.next_reading)
    return min(steps)


def count_updates_before_note(run: Run, counters: Counters) -> float:
    """How many updates come before one whose number has it logged or measured."""
    rows, readings, done = run.logger.every, run.diagnostics.gradient_every, counters.updates
    # logged: the one that makes the count a multiple; measured: the one that begins at a multiple
    before_row = math.inf if rows is None else rows - 1 - done % rows
    return min(before_row, -done % readings) if readings else before_row


def fast_forward(run: Run, counters: Counters, clock: Clock, count: int) -> None:
    """Do ``count`` iterations in one call. Raises ``Diverged`` and ``EnvironmentFault``."""
    assert run.iterations is not None
    begun, start, total = TRAINING_TIME.now(), counters.env_steps, run.trainer.total_steps
    run.set_progress(start / total)
    played = run.iterations.run_many(count, lambda steps: (start + steps) / total)
    counters.env_steps += played.env_steps
    counters.updates += played.updates
    counters.note_finished(played.finished)
    if not played.finite:
        rollout, batch = run.iterations.last_batch()
        raise make_diverged(counters, describe_first_nonfinite(run, rollout, batch, counters))
    spent, share = TRAINING_TIME.now() - begun, run.iterations.learning_share
    clock.learning += spent * share
    clock.collecting += spent * (1 - share)
