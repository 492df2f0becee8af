"""The training loop: collect, weigh, measure, update, log."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pgrun.algorithms.estimator import choose_estimator
from pgrun.atomic_files import write_json
from pgrun.config.own_code import require_rollout, require_scalars
from pgrun.config.random_streams import (
    SHARED_IN_EVALUATION,
    isolating_global_generators,
    spawn_child_sequence,
)
from pgrun.critics.base import has_values
from pgrun.diagnostics import gradient_detail, local_models
from pgrun.diagnostics.update import fetch_floats, policy_change, scheduled_tags, step_settings, value_fit
from pgrun.envs.rehearsal import warn_if_unrepeatable
from pgrun.errors import OwnCodeFault
from pgrun.optimization.natural_gradient import mean_kl
from pgrun.policies.continuous import StateStdGaussian
from pgrun.policies.distributions import Gaussian
from pgrun.returns import using_loop_backups
from pgrun.rollouts.trajectory import Finished
from pgrun.storage.folder_lock import run_lock
from pgrun.storage.log import ALWAYS, WITH_CLIPPING, WITH_CRITIC, WITH_OPTIMIZER, WITH_STD, Log
from pgrun.storage.versions import installed_versions
from pgrun.terminal.signals import SignalFlag, Stopped, noting_signals
from pgrun.terminal.training_time import TRAINING_TIME
from pgrun.training.build import Run
from pgrun.training.counters import Clock, Counters, describe_spread
from pgrun.training.evaluation import explaining_evaluation_faults
from pgrun.training.fast_forward import count_plain_iterations, fast_forward
from pgrun.training.films import film_if_due
from pgrun.training.nonfinite import guarded_update, read_check, watch_losses
from pgrun.training.policy_export import save_policy
from pgrun.training.progress import Progress
from pgrun.training.saver import Saver, restore_run
from pgrun.types import Batch, Rollout

if TYPE_CHECKING:
    from torch import Tensor

    from pgrun.policies.policy import Policy


RESTARTS = "episode/restarts"  # in TensorBoard alone, where a resumed run began its episodes anew
EVAL_EVERY = 10_000  # environment steps between evaluations, at least, with trainer.eval_every=auto
EVAL_EPISODES = 5  # of these evaluations; the final one has trainer.eval_episodes
EVAL_SHARE = 0.2  # of all environment steps, at most, that are these evaluations'
READINGS = 60  # of the gradient's variance in a run, by default
ROWS = 500  # of scalars in a run, by default; of short runs one an update


def train_run(
    run: Run, folder: Path, saved: dict[str, Any] | None = None, signals: SignalFlag | None = None
) -> dict[str, Any]:
    """Train to the end of ``trainer.total_steps``, from the start or from a ``saved``
    state; the run's summary. ``signals``: what notes them, where another thread has the handlers.
    """
    counters, clock = Counters(next_eval=first_evaluation(run.trainer.eval_every)), Clock()
    whole = True
    with (
        run_lock(folder),
        noting_signals(signals) as stop,
        closing(run.envs),
        closing(run.eval_envs),
        closing(Saver(folder, run.trainer.checkpoint_every)) as saver,
    ):
        if saved is None:
            saver.save(run, counters, clock, {})
            if not run.settings["env"].get("restart"):
                warn_if_unrepeatable(run.envs)
        else:
            whole = restore_run(saved, run, counters, clock)
            saver.saved_at = counters.env_steps
        final = saved["final"] if saved else None
        log = Log(folder, list_tags(run), saved["log"] if saved else None)
        progress = Progress(run.trainer.total_steps, run.logger.progress, counters.env_steps)
        ok = False
        try:
            log.hyperparameters(run.settings)
            log.describe(run.settings, run.backend)
            log.follow(run.logger.also, run.logger.project, run.settings)
            if not whole:
                log.mark(counters.env_steps, RESTARTS, len(counters.restarts))
            if final is None:
                row = saved["row"] if saved else None
                final = run_updates(run, log, counters, clock, progress, saver, stop, row)
            ok = True
        finally:
            progress.close()
            log.close(ok)
        saver.refuse_lost_folder()
        save_policy(folder, run)
        summary = summarise_run(run, counters, clock, final)
        write_json(folder / "summary.json", summary)
    return summary


def run_updates(
    run: Run,
    log: Log,
    counters: Counters,
    clock: Clock,
    progress: Progress,
    saver: Saver,
    stop: SignalFlag,
    row: dict[str, float] | None = None,
) -> np.ndarray:
    """Update until the steps are used up or the wanted return is reached; the final evaluation's returns.

    ``row``: scalars of an update that was made before, and whose evaluation failed.
    """
    film_if_due(run, counters, log.folder)
    while True:
        # 1. an update, and its scalars where it is logged
        begun = TRAINING_TIME.now()
        if row is None:
            scalars = collect_and_update(run, counters, clock)
        else:
            scalars, row = row, None
        trained = counters.env_steps >= run.trainer.total_steps
        if scalars or trained:
            saver.refuse_lost_folder()
        if trained:  # before the evaluation, which may fail or never end
            saver.save(run, counters, clock, log.position(), row=scalars)
            save_policy(log.folder, run)
        # 2. the evaluation, where it is due
        with (
            explaining_evaluation_faults(run.settings, log.folder, None if trained else saver.saved_at),
            clock.time("evaluating"),
        ):
            returns, last = evaluate_if_due(run, counters)
            film_if_due(run, counters, log.folder)
        if returns is not None:
            saver.refuse_lost_folder()
            keep_best(run, counters, returns, log.folder)
        # 3. the row of the log
        with clock.time("logging"):
            if returns is not None:
                scalars["return/eval"] = float(returns.mean())
                scalars |= describe_spread("return/eval", returns.tolist())
            if scalars:
                scalars |= counters.pop_finished() | clock.speed(counters.env_steps)
                log.row(counters.env_steps, scalars)
            progress.update(counters.env_steps, scalars)
        clock.wall += TRAINING_TIME.now() - begun
        # 4. the checkpoint, and the end
        over = returns is not None and last
        if over or stop.number is not None or saver.due(counters.env_steps):
            with clock.time("logging"):
                saver.refuse_lost_folder()
                saver.save(run, counters, clock, log.position(), returns if over else None)
        if over:
            assert returns is not None
            return returns
        if stop.number is not None:
            raise Stopped(stop.number, counters.env_steps)


def collect_and_update(run: Run, counters: Counters, clock: Clock) -> dict[str, float]:
    """One rollout and what is learned from it; the scalars of its row."""
    if count := count_plain_iterations(run, counters):
        fast_forward(run, counters, clock, count)
        return {}
    run.set_progress(counters.env_steps / run.trainer.total_steps)
    with clock.time("collecting"):
        read_check(run)
        rollout, finished = collect_rollout(run)
        steps = counters.add(rollout, finished)
    with clock.time("learning"):
        scalars = update_from_rollout(run, rollout, counters) if steps else {}
        counters.add_continued(run.envs)
    return scalars


def collect_rollout(run: Run) -> tuple[Rollout, Finished]:
    """A rollout, and the episodes that ended in it."""
    if run.iterations is not None:
        return run.iterations.collect()
    return run.sampler.collect(run.policy, run.envs, run.noise, run.scale)


def update_from_rollout(run: Run, rollout: Rollout, counters: Counters) -> dict[str, float]:
    """One update from one rollout; its scalars if it is to be logged, else nothing. Raises ``Diverged``."""
    with using_loop_backups(run.backend == "compiled"):
        recalled = run.sampler.recall(rollout, run.policy, run.scale, run.noise)
        scalars = {} if recalled is None else learn_from_rollout(run, recalled, counters)
        run.policy.normaliser.update(rollout)
        run.scale.update(rollout)
    told = fetch_floats(scalars)
    if told:
        read_check(run)
    watch_losses(run, rollout, told, counters)
    return told


def learn_from_rollout(run: Run, rollout: Rollout, counters: Counters) -> dict[str, Tensor]:
    """Weigh, measure, move θ, and look at what that did."""
    # weigh: V and Ψ of every row
    learner, recalled = run.learner, rollout
    fitted = fit_first(run, rollout)
    rollout, value, batch = make_batch(run, rollout)
    batch = batch if fitted is None else replace(batch, critic_rows=fitted)
    # measure: the variance of the gradient that is about to be used
    reading = None
    if reading_due(run, counters) or run.meter.reading_under_way:
        estimator = choose_estimator(run.estimator, run.algorithm, batch, learner.critic, run.policy)
        reading = run.meter.measure(run.policy, rollout, value, estimator)
    counters.updates += 1
    logged = row_due(run, counters) or reading is not None
    # move θ and the critic
    before = policy_before_update(run.policy) if logged else run.policy
    with guarded_update(run, rollout, batch, counters):
        if run.iterations is not None and run.iterations.has_collected(recalled):
            run.iterations.learn()
        else:
            learner.take_update(run.algorithm, batch)
    # look at what that did
    scalars: dict[str, Tensor] = {}
    if logged:
        learned = replace(batch, critic_rows=run.algorithm.critic_rows(batch, run.policy))
        own = run.algorithm.scalars()
        require_scalars(run.algorithm.scalars, own, run.algorithm.tags)
        scalars = policy_change(before, run.policy, batch, run.algorithm) | own
        scalars |= run.sampler.scalars(recalled, run.policy) | run.exact_errors.scalars(
            before, run.policy, rollout, learned
        )
        if reading is not None:
            scalars |= reading.scalars()
            if run.diagnostics.detail:
                states = (rollout.replayed_from or rollout).mask.sum()  # once, whatever the rows of each
                scalars |= gradient_detail.detail_scalars(reading, states, run.policy.net)
                weighed = replace(batch, psi=run.algorithm.effective_psi(batch, before))
                scalars |= local_models.local_model_scalars(before, run.policy, weighed, reading.gradient)
        if has_values(learner.critic, run.estimator.scheme):
            rows = learned.for_critic
            scalars |= value_fit(rows, learner.critic.loss(rows), run.scale.divisor)
        scalars |= step_settings(run.policy, run.algorithm, learner.optimizer.lr)
        if learner.reference is not None:
            scalars |= learner.reference.scalars(run.policy, batch)
    if run.follows_kl:
        run.adapt_schedules(float(mean_kl(run.policy, batch)))
    return scalars


def policy_before_update(policy: Policy) -> Policy:
    """π_old, kept for what a logged update tells of its step: θ itself is moved in place."""
    return policy.with_theta(policy.theta.clone())


def make_batch(run: Run, rollout: Rollout) -> tuple[Rollout, Tensor, Batch]:
    """(the rollout as the algorithm takes it, V [T+1, N], what an update learns from)."""
    if run.iterations is not None and (made := run.iterations.find_weighed_batch(rollout)) is not None:
        return made
    learner = run.learner
    prepared = run.algorithm.prepare_rollout(rollout, learner)
    require_rollout(run.algorithm.prepare_rollout, prepared, rollout)
    rollout = prepared
    if learner.reference is not None:
        rollout = learner.reference.charge(rollout, run.policy.dist)
    return run.estimator.weigh(rollout, learner.critic, run.policy)


def fit_first(run: Run, rollout: Rollout) -> Batch | None:
    """With ``critic.fit=before``: the rows that the critic was fitted to just now, before Ψ is
    taken from it.
    """
    learner = run.learner
    if not learner.critic.fits_first:
        return None
    rows = make_batch(run, rollout)[2].for_critic
    learner.critic.fit(rows, learner.generator)
    return rows


def reading_due(run: Run, counters: Counters) -> bool:
    """Every k-th update, or as soon as the next sixtieth of the run has passed."""
    every = run.diagnostics.gradient_every
    if every is not None:
        return every > 0 and counters.updates % every == 0
    if counters.env_steps < counters.next_reading:
        return False
    counters.next_reading += run.trainer.total_steps / READINGS
    return True


def first_evaluation(every: int | str | None) -> int:
    """The environment step at which the first evaluation is due."""
    return EVAL_EVERY if every == "auto" else int(every or 0)


def row_due(run: Run, counters: Counters) -> bool:
    """Every k-th update, or as soon as the next five-hundredth of the run has passed."""
    every = run.logger.every
    if every is not None:
        return counters.updates % every == 0
    if counters.env_steps < counters.next_row:
        return False
    counters.next_row += run.trainer.total_steps / ROWS
    return True


def evaluate_if_due(run: Run, counters: Counters) -> tuple[np.ndarray | None, bool]:
    """(returns of the evaluation, or None; whether the run is over)."""
    trainer = run.trainer
    over = counters.env_steps >= trainer.total_steps
    due = trainer.eval_every is not None and counters.env_steps >= counters.next_eval
    if not (over or due):
        return None, False
    read_check(run)
    episodes = trainer.eval_episodes
    if trainer.eval_every == "auto" and not over:
        episodes = min(episodes, EVAL_EPISODES)
    returns, steps = evaluate_policy(run, episodes)
    wanted = math.inf if trainer.stop_at_return is None else trainer.stop_at_return
    if len(returns) < trainer.eval_episodes and returns.mean() >= wanted:  # the last word is that of them all
        returns, more = evaluate_policy(run)
        steps += more
    if trainer.eval_every == "auto":
        counters.next_eval = counters.env_steps + max(EVAL_EVERY, round(steps * (1 / EVAL_SHARE - 1)))
    else:
        counters.next_eval += due * (trainer.eval_every or 0)
    return returns, over or bool(returns.mean() >= wanted)


def evaluate_policy(run: Run, episodes: int | None = None) -> tuple[np.ndarray, int]:
    """(undiscounted returns of the deterministic policy, the steps that took).

    From the same starts every time; training never sees it. ``episodes``: so many of the first ones.
    """
    run.evaluation.episodes = episodes or run.trainer.eval_episodes
    with isolating_global_generators(spawn_child_sequence(run.top.seed, SHARED_IN_EVALUATION)):
        finished = run.evaluation.look(run.policy, run.eval_envs, run.eval_seeds)
    returns, lengths = zip(*finished, strict=True)
    return np.array(returns), sum(lengths)


def keep_best(run: Run, counters: Counters, returns: np.ndarray, folder: Path) -> None:
    """Save the policy beside the final one whenever no evaluation before had so high a mean."""
    mean = float(returns.mean())
    if run.trainer.eval_every is None or not mean > counters.best:  # NaN is no best
        return
    counters.best = mean
    evaluation = {"return_mean": mean, "return_std": float(returns.std()), "episodes": len(returns)}
    save_policy(folder, run, "best", {"env_steps": counters.env_steps, **evaluation})


def list_tags(run: Run) -> list[str]:
    """The scalars that this run can have. Raises ``OwnCodeFault`` where two have one name."""
    critic = WITH_CRITIC if has_values(run.learner.critic, run.estimator.scheme) else ()
    clipping = WITH_CLIPPING if run.algorithm.has_clip else ()
    optimizer = () if run.algorithm.takes_own_step else WITH_OPTIMIZER
    std = WITH_STD if isinstance(run.policy.dist, Gaussian | StateStdGaussian) else ()
    details = (
        (*gradient_detail.list_detail_tags(run.policy.net), *local_models.TAGS)
        if run.diagnostics.detail
        else ()
    )
    scheduled = scheduled_tags(run.algorithm)
    near = () if run.learner.reference is None else run.learner.reference.tags
    own = (*scheduled, *run.algorithm.tags, *run.sampler.tags, *run.exact_errors.tags, *near)
    tags = [*ALWAYS, *critic, *clipping, *optimizer, *std, *details, *own]
    if twice := sorted(tag for tag, times in Counter(tags).items() if times > 1):
        kind = type(run.algorithm).__name__
        raise OwnCodeFault(
            f"{kind}.tags lists {', '.join(twice)}, which a run has already: take another name"
        )
    return tags


def summarise_run(run: Run, counters: Counters, clock: Clock, returns: np.ndarray) -> dict[str, Any]:
    settings = run.settings
    restarts = [{"env_steps": at, "columns": columns} for at, columns in counters.restarts]
    return {
        "status": "finished",
        "algo": settings["algo"]["name"],
        "variance": settings["variance"]["name"],
        "env": settings["env"]["id"],
        "seed": settings["seed"],
        "backend": run.backend,
        "env_steps": counters.env_steps,
        "updates": counters.updates,
        "wall_seconds": round(clock.wall, 3),
        "eval_seconds": round(clock.evaluating, 3),
        "env_steps_per_second": round(counters.env_steps / clock.total, 1),
        "eval": {
            "return_mean": float(returns.mean()),
            "return_std": float(returns.std()),
            "episodes": len(returns),
        },
        "params_sha256": hashlib.sha256(run.policy.theta.cpu().numpy().tobytes()).hexdigest(),
        "versions": dict(installed_versions()),
        **({"continuation_steps": counters.continued} if counters.continued else {}),
        **({"restarts": restarts} if restarts else {}),
    }
