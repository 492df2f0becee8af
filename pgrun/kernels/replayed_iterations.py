"""Whole iterations of an actor-critic on replayed transitions, of choices: act, keep, draw, weigh, step.

The update is the one of ``pgrun.algorithms.off_policy_ac`` with both sides under the present policy:
Ψ = Q(s, a^π) − V(s) or Q(s, a^π), y = r + γ(1 − d)Q̄(s', a'), one step each, and Q̄ follows.
"""

from __future__ import annotations

import math

import numpy as np

from pgrun.kernels.acting import choose_action
from pgrun.kernels.collecting import copy_row
from pgrun.kernels.distributions import fill_log_probs, log_sum_exp
from pgrun.kernels.iterations import COLLECT, LEARN, STEPS, play_rollout, take_steps
from pgrun.kernels.jit import F32, ONE, ZERO, kernel
from pgrun.kernels.minibatch import LOG_PROB, MASK, PSI, RAW_PSI, TARGET, VALUE
from pgrun.kernels.mlp import fill_activations


@kernel(allocates=True)
def run_replayed_iterations(
    part, player, noise, chances, records, memory, kept, weighing, actor, critic, rates, episodes, counts
):
    """Do an iteration with each of ``noise`` [K, T, N, A], or one ``part`` of it.

    Stops where a number is not finite, as ``run_iterations`` does, and behind a rollout without a live row,
    from which nothing is drawn: the chances of the iterations after it are others.

    ``chances``: (noise of the successors' actions [K, T, N, A], u in [0, 1) of the draws [K, B], noise of the
    actor's actions [K, B, A], of those in the successors [K, B, A]). ``memory``: the ring's columns (obs,
    next obs, action, parameters, next action, reward, terminated, time), the oldest overwritten first;
    ``kept`` [1] counts what ever came in. ``weighing``: (γ, whether V(s) is taken off Q, the rate at which φ̄
    follows φ). ``critic``: what ``descend_epochs`` takes, φ̄, and room. All else as in ``run_iterations``.
    """
    net, dist, data = actor[0], actor[1], actor[3]
    flat, own_rule, slow, x, table, held, inputs, acts, deltas, slope, next_obs, every = critic
    begun, brain, edges = counts[STEPS], (net[0], net[1], net[2], net[3]), actor[4]
    room, order = (edges, inputs, acts, deltas, slope), np.arange(data[0].shape[0])
    for k in range(noise.shape[0]):
        at = counts[STEPS] - begun
        if part != LEARN:
            if not play_rollout(player, noise[k], records, episodes, counts):
                return
            live = np.int64(records[7][3].sum())
            counts[STEPS] += live
            if part == COLLECT:
                continue
            if live == 0:
                return
            keep_rows(brain, records, chances[0][k], held, memory, kept)
        draw_rows(chances[1][k], memory, kept[0], data[0], next_obs, x, table)
        weigh_actor(brain, dist, flat, weighing, chances[2][k], held, every, data)
        aim_critic(brain, slow, weighing, chances[3][k], held, next_obs, every, table)
        orders = order, order
        if not take_steps(part, actor, orders, flat, own_rule, x, table, 0.0, room, rates, at, counts):
            return
        follow_parameters(slow[0], flat[0], weighing[2])


@kernel(inner=True, allocates=True)
def keep_rows(brain, records, noise, held, memory, kept):
    """The rollout's rows with mask 1 into the ring, each with an action of the same policy in its
    successor.
    """
    obs, choice, floats, params = records[0], records[2], records[7], records[8]
    steps, columns, size, options = choice.shape[0], choice.shape[1], obs.shape[2], params.shape[2]
    rows = steps * columns
    fill_activations(brain, obs[1:].reshape((rows, size)), held)
    logits = last_outputs(brain, rows, held)
    for t in range(steps):
        for n in range(columns):
            if floats[3, t, n] == ZERO:
                continue
            at = kept[0] % memory[0].shape[0]
            copy_row(obs[t, n], memory[0][at])
            copy_row(obs[t + 1, n], memory[1][at])
            memory[2][at] = choice[t, n]
            for j in range(options):
                memory[3][at, j] = params[t, n, j]
            memory[4][at] = choose_action(logits[t * columns + n], True, noise[t, n])
            memory[5][at], memory[6][at], memory[7][at] = floats[0, t, n], floats[1, t, n], floats[4, t, n]
            kept[0] += 1


@kernel(inner=True, allocates=True)
def last_outputs(net, rows, held):
    """The outputs y [B, out] that ``fill_activations`` left behind the hidden layers' in ``held``."""
    sizes, before = net[1], 0
    for layer in range(1, len(sizes) - 1):
        before += sizes[layer] * rows
    width = sizes[len(sizes) - 1]
    return held[before : before + rows * width].reshape((rows, width))


@kernel(inner=True, allocates=True)
def draw_rows(chance, memory, kept, obs, next_obs, x, table):
    """The row ⌊u·size⌋ of the ring for each u [B]: states, successors, what Q sees of (s, a), and of the
    critic's columns the reward (as VALUE, until the target is made of it) and the end (as PSI).
    """
    capacity, size = memory[0].shape[0], obs.shape[1]
    filled = min(kept, capacity)
    for i in range(len(chance)):
        row = min(np.int64(chance[i] * filled), filled - 1)
        copy_row(memory[0][row], obs[i])
        copy_row(memory[1][row], next_obs[i])
        copy_row(memory[0][row], x[i])
        for j in range(size, x.shape[1]):
            x[i, j] = ONE if j - size == memory[2][row] else ZERO
        table[VALUE, i], table[PSI, i] = memory[5][row], memory[6][row]


@kernel(inner=True, allocates=True)
def weigh_actor(brain, dist, flat, weighing, noise, held, every, data):
    """An action of the present policy in each state, with Ψ = Q(s, a) − V(s), or Q(s, a); V = Σ_a πQ."""
    obs, choice, vector, table, params = data
    rows, options = params.shape[0], params.shape[1]
    fill_activations(brain, obs, held)
    logits = last_outputs(brain, rows, held)
    for i in range(rows):
        copy_row(logits[i], params[i])
        choice[i, 0] = choose_action(params[i], True, noise[i])
    fill_log_probs(dist, params, choice, vector, table[LOG_PROB])
    for k in range(options):
        for i in range(rows):
            fill_pair(obs[i], k, every[k * rows + i])
    fill_activations(flat, every, held)
    q = last_outputs(flat, options * rows, held)
    for i in range(rows):
        value, total = ZERO, log_sum_exp(params[i])
        if weighing[1]:
            for k in range(options):
                value += F32(math.exp(params[i, k] - total)) * q[k * rows + i, 0]
        psi = q[choice[i, 0] * rows + i, 0] - value
        table[MASK, i], table[PSI, i], table[RAW_PSI, i] = ONE, psi, psi


@kernel(inner=True, allocates=True)
def aim_critic(brain, slow, weighing, noise, held, next_obs, every, table):
    """The critic's targets y = r + γ(1 − d)Q̄(s', a') with a' of the present policy, from what ``draw_rows``
    left in its columns.
    """
    rows = next_obs.shape[0]
    fill_activations(brain, next_obs, held)
    logits = last_outputs(brain, rows, held)
    pairs = every[:rows]
    for i in range(rows):
        fill_pair(next_obs[i], choose_action(logits[i], True, noise[i]), pairs[i])
    fill_activations(slow, pairs, held)
    after = last_outputs(slow, rows, held)
    for i in range(rows):
        going_on = F32(weighing[0]) * (ONE - table[PSI, i])
        table[MASK, i], table[TARGET, i] = ONE, table[VALUE, i] + going_on * after[i, 0]


@kernel(inner=True, allocates=True)
def fill_pair(obs, choice, out):
    """[s, one-hot of the action]: what Q sees."""
    size = len(obs)
    for d in range(size):
        out[d] = obs[d]
    for j in range(size, len(out)):
        out[j] = ONE if j - size == choice else ZERO


@kernel(inner=True)
def follow_parameters(slow, fast, rate):
    """φ̄ ← φ̄ + rate·(φ − φ̄)"""
    for k in range(len(slow)):
        slow[k] += F32(rate) * (fast[k] - slow[k])
