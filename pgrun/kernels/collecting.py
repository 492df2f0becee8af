"""Rollouts of an environment program under a policy: acting, steps and all records in one call.

The policy is one that ``can_act`` knows.
"""

from __future__ import annotations

import numpy as np

from pgrun.kernels.acting import (
    choose_action,
    evaluate_log_density,
    evaluate_log_softmax,
    evaluate_row,
    find_widest_layer,
    normalise_observation,
    sample_gaussian,
    transpose_layers,
)
from pgrun.kernels.classic_control import CARTPOLE
from pgrun.kernels.columns import advance_columns
from pgrun.kernels.jit import kernel

LARGEST = float(np.finfo(np.float32).max)
# How a call ends: no row left; every column has its share; an episode is too long.
GOES_ON, OVER, ENDLESS = range(3)


@kernel(allocates=True)
def collect_rows(
    policy, kind, limit, two, box, place, steps, streams, ended, active, now, turns, noise, sampled, records
):
    """Play all columns and write a row of ``records`` a step, until there is a reason to stop.

    The reasons: the records are full, every column has had its share of episodes, or an episode is too long.
    Returns (rows, which of them it was, whether an episode was cut, episodes that ended, whether every number
    is finite).

    ``policy`` is ``Acting.arguments``. ``turns`` are (episodes that each column had [N], its share [N], the
    steps of its episode [N], the most an episode may have, whether it is cut there, steps since the episode's
    start [N], its return [N]), moved on in place.
    """
    theta, sizes, head, bias, relu, gaussian, normalised, mean, scale = policy
    done, share, length, most, cutting, time, earned = turns
    obs, seen, choice, force, reward, flags, clock, floats, params, log_prob, returns, lengths = records
    terminated, truncated, mask = flags[0], flags[1], flags[2]
    layers = np.empty(len(theta) + sizes.sum(), np.float32)
    transpose_layers(theta, sizes, head, bias, layers)
    free = theta[len(theta) - (sizes[-1] - head) :]
    rows = np.empty((2, find_widest_layer(sizes)), np.float32)
    columns, count, cuts, finite, how, t = len(place), 0, False, True, GOES_ON, 0
    acted = np.empty(columns, np.float32)
    for n in range(columns):
        acted[n] = 0.0
    while t < len(reward) and how == GOES_ON:
        for n in range(columns):
            copy_row(now[n], obs[t, n])
            mask[t, n] = not ended[n]
            clock[t, n] = time[n] if mask[t, n] else 0
            time[n] = time[n] + 1 if mask[t, n] else 0
            length[n] = length[n] + 1 if mask[t, n] else 0
            if not active[n] and kind != CARTPOLE:
                continue  # nobody reads the rest of this row
            normalise_observation(now[n], normalised, mean, scale, rows[0])
            if normalised:
                copy_row(rows[0, : now.shape[1]], seen[t, n])
            evaluate_row(layers, sizes, head, relu, rows, params[t, n])
            draw = noise[t, n] if sampled else noise[0, 0]
            if gaussian:
                sample_gaussian(params[t, n], free, sampled, draw, force[t, n])
                log_prob[t, n] = evaluate_log_density(params[t, n], force[t, n])
                acted[n] = decode_action(force[t, n, 0], box)
            else:
                choice[t, n] = choose_action(params[t, n], sampled, draw)
                log_prob[t, n] = evaluate_log_softmax(params[t, n], choice[t, n])
        advance_columns(
            kind,
            limit,
            two,
            place,
            steps,
            streams,
            ended,
            active,
            choice[t],
            acted,
            now,
            reward[t],
            terminated[t],
            truncated[t],
        )
        left = False
        for n in range(columns):
            if length[n] >= most and active[n] and not ended[n]:
                if not cutting:
                    how = ENDLESS
                else:
                    cuts, ended[n], truncated[t, n] = True, True, True
            earned[n] += reward[t, n]
            if ended[n]:
                returns[count], lengths[count] = earned[n], clock[t, n] + 1
                earned[n] = 0.0
                done[n] += 1
                count += 1
            floats[0, t, n], floats[1, t, n], floats[2, t, n] = reward[t, n], terminated[t, n], ended[n]
            floats[3, t, n], floats[4, t, n] = mask[t, n], clock[t, n]
            finite = finite and abs(reward[t, n]) <= LARGEST
            for d in range(now.shape[1]):
                finite = finite and abs(now[n, d]) <= LARGEST
        if how != ENDLESS:
            for n in range(columns):
                active[n] = done[n] < share[n]
                left = left or active[n]
            how = GOES_ON if left else OVER
        t += 1
    for n in range(columns):
        copy_row(now[n], obs[t, n])
        if normalised:
            normalise_observation(now[n], normalised, mean, scale, seen[t, n])
    return t, how, cuts, count, finite


@kernel(inner=True, allocates=True)
def copy_row(row, into):
    """Do ``into[:] = row``, which as such takes numba seconds to compile."""
    for k in range(len(row)):
        into[k] = row[k]


@kernel(inner=True, allocates=True)
def decode_action(action, box):
    """The action in the environment's own scale, as ``action_decoder`` gives it; NaN stays NaN.

    ``box`` is (scale, middle, low, high): action·scale + middle, clipped to [low, high].
    """
    x = np.float64(action) * box[0] + box[1]
    return np.float32(box[2] if x < box[2] else (box[3] if x > box[3] else x))
