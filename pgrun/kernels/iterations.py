"""Whole iterations of batch actor-critic in one call: act, weigh, step, and again.

Where a rollout has few rows, what surrounds the kernels costs several times what they do. The update is the
one of ``pgrun.training.loop``: the policy's steps on minibatches of the rollout, then the critic's.
"""

from __future__ import annotations

import math

import numpy as np

from pgrun.kernels.collecting import collect_rows
from pgrun.kernels.jit import F32, kernel
from pgrun.kernels.minibatch import (
    LOG_PROB,
    MASK,
    PSI,
    RAW_PSI,
    TARGET,
    VALUE,
    ascend_epochs,
    descend_epochs,
    normalise_batch,
)
from pgrun.kernels.mlp import fill_activations
from pgrun.kernels.optimizer_rules import LR
from pgrun.kernels.returns import fill_lambda_return

WHOLE, COLLECT, LEARN, POLICY, CRITIC = range(5)  # what a call does of an iteration; the last two are LEARN
FINE, BAD_DATA, BAD_WEIGHT, BAD_PARAMETERS = range(4)  # how it ended: numbers that are not finite
STEPS, UPDATES, EPISODES, OUTCOME = range(4)  # what is counted


@kernel(allocates=True)
def run_iterations(part, player, noise, orders, records, weighing, actor, critic, rates, episodes, counts):
    """Do an iteration with each of ``noise`` [K, T, N, A], or one ``part`` of it.

    Stops where a number is not finite: at the data or Ψ before the step that they would make, at θ and φ
    after it.

    ``player``: what ``collect_rows`` takes but noise and records. ``orders``: the rows of the minibatches of
    every iteration, (the policy's [K, epochs·T·N], the critic's likewise), or one for all. ``weighing``: (γ
    [1], λ of Ψ [T], λ of the critic's target [T], V [T+1, N], Ψ [T, N], targets [T, N], the batch's advantage
    norm). ``actor`` and ``critic``: what ``ascend_epochs`` and ``descend_epochs`` take but the order of the
    rows, and the rows they share are ``records``' own. ``rates``:
    (learning rates of the policy, of the critic), by the environment steps since the call began, or one for
    all. ``episodes``: (returns, lengths) of those that ended, filled. ``counts`` [4], added to.
    """
    data = actor[3]
    flat, own_rule, edges, clip, held, x, acts, deltas, slope = critic
    begun, value, room = counts[STEPS], weighing[3], (edges, x, acts, deltas, slope)
    rows = records[0].shape[0] * records[0].shape[1]
    inputs = records[0].reshape((rows, records[0].shape[2]))
    for k in range(noise.shape[0]):
        taken, at = sum_numbers(data[3][MASK]), counts[STEPS] - begun
        if part in (WHOLE, COLLECT):
            if not play_rollout(player, noise[k], records, episodes, counts):
                return
            fill_activations(flat, inputs, held)
            fill_table(records, held[held.shape[0] - rows :], weighing, value, data[3])
            taken = sum_numbers(data[3][MASK])
            counts[STEPS] += np.int64(taken)
        if part == COLLECT or taken == 0:
            continue
        order = orders[0][k % orders[0].shape[0]], orders[1][k % orders[1].shape[0]]
        if not take_steps(
            part, actor, order, flat, own_rule, data[0], data[3], clip, room, rates, at, counts
        ):
            return


@kernel(inner=True)
def sum_numbers(x):
    """Σ x, which as a method takes numba ten times as long to compile."""
    total = F32(0)
    for k in range(x.shape[0]):
        total += x[k]
    return total


@kernel(inner=True)
def is_all_finite(x):
    """Whether every entry is: the sum tells at once, but may be infinite though no entry is."""
    if math.isfinite(sum_numbers(x)):
        return True
    others = 0
    for k in range(x.shape[0]):
        others += not math.isfinite(x[k])
    return others == 0


@kernel(inner=True)
def rate_at(rates, step):
    """The learning rate at a step of the call, or the one that they all have."""
    return rates[step if step < rates.shape[0] else rates.shape[0] - 1]


@kernel(inline=True, allocates=True)
def play_rollout(player, noise, records, episodes, counts):
    """Fill ``records`` by playing on, and note the episodes that ended; whether every number is finite."""
    policy, kind, limit, two, box, place, steps, streams, ended, active, now, turns, sampled = player
    _, _, _, over, finite = collect_rows(
        policy, kind, limit, two, box, place, steps, streams, ended, active, now, turns, noise, sampled,
        records,
    )  # fmt: skip
    for i in range(over):
        episodes[0][counts[EPISODES]], episodes[1][counts[EPISODES]] = records[10][i], records[11][i]
        counts[EPISODES] += 1
    if not finite:
        counts[OUTCOME] = BAD_DATA
    return finite


@kernel(inline=True, allocates=True)
def take_steps(part, actor, orders, flat, own_rule, obs, table, clip, room, rates, at, counts):
    """The policy's steps, then the critic's on its rows ``obs`` with the columns ``table``; whether Ψ, θ
    and φ are finite. Neither reads what the other writes, and a ``part`` may be one of them alone.

    ``orders``: the rows of the minibatches of each. ``at``: environment steps since the call began. ``room``:
    (edges, x, acts, deltas, slope) of ``descend_epochs``.
    """
    net, dist, rule, data, edges, program, scalars, norm, task, spare, seen, back = actor
    own_edges, x, acts, deltas, slope = room
    if not is_all_finite(data[3][RAW_PSI]):
        counts[OUTCOME] = BAD_WEIGHT
        return False
    finite = True
    if part != CRITIC:
        rule[1][LR] = rate_at(rates[0], at)
        ascend_epochs(
            net, dist, rule, data, orders[0], edges, program, scalars, norm, task, spare, seen, back
        )
        counts[UPDATES] += 1
        finite = is_all_finite(net[0])
    if part != POLICY:
        own_rule[1][LR] = rate_at(rates[1], at)
        descend_epochs(flat, own_rule, obs, table, orders[1], own_edges, clip, x, acts, deltas, slope)
        finite = finite and is_all_finite(flat[0])
    if not finite:
        counts[OUTCOME] = BAD_PARAMETERS
    return finite


@kernel(inner=True)
def fill_table(records, outputs, weighing, value, table):
    """The columns of a batch, from a rollout: mask, Ψ, log π, V, the critic's target.

    Ψ and the target are λ-returns, Ψ less V(s) and then with the batch's norm; at λ = 0 the return is the one
    of TD(0).
    """
    gamma, lam, target_lam, _, psi, target, norm = weighing
    reward, terminated, ended, mask = records[7][0], records[7][1], records[7][2], records[7][3]
    columns = reward.shape[1]
    for t in range(value.shape[0]):
        for n in range(columns):
            value[t, n] = outputs[t * columns + n]
    fill_lambda_return(reward, terminated, ended, value, gamma, lam, psi)
    fill_lambda_return(reward, terminated, ended, value, gamma, target_lam, target)
    for t in range(reward.shape[0]):
        for n in range(columns):
            row = t * columns + n
            table[MASK, row] = mask[t, n]
            table[PSI, row] = (psi[t, n] - value[t, n]) * mask[t, n]
            table[RAW_PSI, row] = table[PSI, row]
            table[LOG_PROB, row] = records[9][t, n]
            table[VALUE, row] = value[t, n]
            table[TARGET, row] = target[t, n]
    normalise_batch(table, norm)
