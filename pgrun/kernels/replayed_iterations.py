"""Updates of an actor-critic on replayed transitions, one in a call, or whole iterations of choices: act,
keep, draw, weigh, step.

The update is the one of ``pgrun.algorithms.off_policy_ac`` with both sides under the present policy:
Ψ = Q(s, a^π) − V(s) or Q(s, a^π), y = r + γ(1 − d)Q̄(s', a'), one step each, and Q̄ follows. V(s) is
Σ_a π(a|s)Q(s, a), or the mean of Q over actions that are drawn for it.
"""

from __future__ import annotations

import math

import numpy as np

from pgrun.kernels.acting import choose_action, normalise_observation, sample_gaussian
from pgrun.kernels.collecting import copy_row
from pgrun.kernels.distributions import CHOICES, fill_log_probs, log_sum_exp
from pgrun.kernels.iterations import COLLECT, LEARN, STEPS, WHOLE, play_rollout, take_steps
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

    ``chances``: (noise of the successors' actions [K, T, N, A], and of K updates what
    ``learn_from_memory`` takes of one). ``memory``: the ring, the oldest row overwritten first; ``kept`` [1]
    counts what ever came in. All else as in ``learn_from_memory`` and ``run_iterations``.
    """
    net = actor[0]
    begun, brain = counts[STEPS], (net[0], net[1], net[2], net[3])
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
            keep_rows(brain, records, chances[0][k], critic[5], memory, kept)
        own = chances[1][k], chances[2][k], chances[3][k], chances[4][k]
        if not learn_from_memory(own, memory, kept, weighing, actor, critic, rates, at, counts):
            return


@kernel(allocates=True)
def learn_from_memory(chances, memory, kept, weighing, actor, critic, rates, at, counts):
    """One update; whether all its numbers are finite.

    ``chances``: (u in [0, 1) of the draws [B], noise of the actor's actions [B, A], of those that V is the
    mean over [K, B, A], of those in the successors [B, A]). ``memory``: the ring's columns (obs, next obs,
    choice, vector, parameters, next choice, reward, terminated, time); of choice and vector one is empty.
    ``weighing``: (γ, whether V(s) is taken off Q, the rate at which φ̄ follows φ, what Q sees of an action at
    least and at most [A], whether states are normalised, their mean and scale [D], what rewards are divided
    by). ``critic``: what ``descend_epochs`` takes, φ̄, and room. ``at``: environment steps since ``rates``
    begin. All else as in ``run_iterations``.
    """
    net, dist, data, edges = actor[0], actor[1], actor[3], actor[4]
    flat, own_rule, slow, x, table, held, inputs, acts, deltas, slope, next_obs, every = critic
    order = np.arange(data[0].shape[0])
    draw_rows(dist, chances[0], memory, kept[0], weighing, data[0], next_obs, x, table)
    weigh_actor(net, dist, flat, weighing, chances[1], chances[2], held, every, data)
    aim_critic(net, dist, slow, weighing, chances[3], held, next_obs, every, table)
    room = (edges, inputs, acts, deltas, slope)
    if not take_steps(WHOLE, actor, (order, order), flat, own_rule, x, table, 0.0, room, rates, at, counts):
        return False
    follow_parameters(slow[0], flat[0], weighing[2])
    return True


@kernel(inner=True, allocates=True)
def keep_rows(brain, records, noise, held, memory, kept):
    """The rollout's rows with mask 1 into the ring, each with an action of the same policy in its
    successor.
    """
    obs, choice, floats, params = records[0], records[2], records[7], records[8]
    before, after, taken, _, parameters, following, reward, ended, clock = memory
    steps, columns, size, options = choice.shape[0], choice.shape[1], obs.shape[2], params.shape[2]
    rows = steps * columns
    fill_activations(brain, obs[1:].reshape((rows, size)), held)
    logits = last_outputs(brain, rows, held)
    for t in range(steps):
        for n in range(columns):
            if floats[3, t, n] == ZERO:
                continue
            at = kept[0] % before.shape[0]
            copy_row(obs[t, n], before[at])
            copy_row(obs[t + 1, n], after[at])
            taken[at] = choice[t, n]
            for j in range(options):
                parameters[at, j] = params[t, n, j]
            following[at] = choose_action(logits[t * columns + n], True, noise[t, n])
            reward[at], ended[at], clock[at] = floats[0, t, n], floats[1, t, n], floats[4, t, n]
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
def draw_rows(dist, chance, memory, kept, weighing, obs, next_obs, x, table):
    """The row ⌊u·size⌋ of the ring for each u [B]: states, successors, what Q sees of (s, a), and of the
    critic's columns the reward (as VALUE, until the target is made of it) and the end (as PSI).
    """
    before, after, choice, vector, _, _, reward, ended, _ = memory
    _, _, _, low, high, normalised, mean, scale, divisor = weighing
    filled = min(kept, before.shape[0])
    for i in range(len(chance)):
        row = min(np.int64(chance[i] * filled), filled - 1)
        normalise_observation(before[row], normalised, mean, scale, obs[i])
        normalise_observation(after[row], normalised, mean, scale, next_obs[i])
        if dist[0] == CHOICES:
            fill_pair(obs[i], choice[row], x[i])
        else:
            fill_clamped_pair(obs[i], vector[row], low, high, x[i])
        table[VALUE, i], table[PSI, i] = reward[row] / F32(divisor), ended[row]


@kernel(inner=True, allocates=True)
def weigh_actor(net, dist, flat, weighing, noise, value_noise, held, every, data):
    """An action of the present policy in each state, with Ψ = Q(s, a) − V(s), or Q(s, a)."""
    obs, choice, vector, table, params = data
    rows, brain = params.shape[0], (net[0], net[1], net[2], net[3])
    fill_activations(brain, obs, held)
    outputs = last_outputs(brain, rows, held)
    if dist[0] == CHOICES:
        for i in range(rows):
            copy_row(outputs[i], params[i])
            choice[i, 0] = choose_action(params[i], True, noise[i])
    else:
        for i in range(rows):
            copy_row(outputs[i], params[i])
            sample_gaussian(params[i], free_parameters(net), True, noise[i], vector[i])
    fill_log_probs(dist, params, choice, vector, table[LOG_PROB])
    if dist[0] == CHOICES:
        weigh_choices(flat, weighing[1], held, every, obs, choice, params, table)
    else:
        weigh_draws(net, flat, weighing, value_noise, held, every, obs, vector, params, table)
    for i in range(rows):
        table[MASK, i], table[PSI, i] = ONE, table[RAW_PSI, i]


@kernel(inner=True, allocates=True)
def weigh_choices(flat, subtracts, held, every, obs, choice, params, table):
    """Ψ of choices into RAW_PSI; V = Σ_a πQ."""
    rows, options = params.shape
    for k in range(options):
        for i in range(rows):
            fill_pair(obs[i], k, every[k * rows + i])
    fill_activations(flat, every, held)
    q = last_outputs(flat, options * rows, held)
    for i in range(rows):
        value, total = ZERO, log_sum_exp(params[i])
        if subtracts:
            for k in range(options):
                value += F32(math.exp(params[i, k] - total)) * q[k * rows + i, 0]
        table[RAW_PSI, i] = q[choice[i, 0] * rows + i, 0] - value


@kernel(inner=True, allocates=True)
def weigh_draws(net, flat, weighing, noise, held, every, obs, vector, params, table):
    """Ψ of drawn actions into RAW_PSI; V is the mean of Q over those of ``noise`` [K, B, A]."""
    rows, samples, low, high = obs.shape[0], noise.shape[0], weighing[3], weighing[4]
    drawn = np.empty(vector.shape[1], np.float32)
    for i in range(rows):
        fill_clamped_pair(obs[i], vector[i], low, high, every[i])
        for k in range(samples):
            sample_gaussian(params[i], free_parameters(net), True, noise[k, i], drawn)
            fill_clamped_pair(obs[i], drawn, low, high, every[(k + 1) * rows + i])
    fill_activations(flat, every, held)
    q = last_outputs(flat, (samples + 1) * rows, held)
    for i in range(rows):
        value = ZERO
        for k in range(samples):
            value += q[(k + 1) * rows + i, 0]
        table[RAW_PSI, i] = q[i, 0] - value / F32(max(samples, 1))


@kernel(inner=True, allocates=True)
def aim_critic(net, dist, slow, weighing, noise, held, next_obs, every, table):
    """The critic's targets y = r + γ(1 − d)Q̄(s', a') with a' of the present policy, from what ``draw_rows``
    left in its columns.
    """
    rows, brain, pairs = next_obs.shape[0], (net[0], net[1], net[2], net[3]), every[: next_obs.shape[0]]
    fill_activations(brain, next_obs, held)
    outputs = last_outputs(brain, rows, held)
    if dist[0] == CHOICES:
        for i in range(rows):
            fill_pair(next_obs[i], choose_action(outputs[i], True, noise[i]), pairs[i])
    else:
        size = noise.shape[1]
        params, drawn = np.empty(2 * size, np.float32), np.empty(size, np.float32)
        for i in range(rows):
            copy_row(outputs[i], params)
            sample_gaussian(params, free_parameters(net), True, noise[i], drawn)
            fill_clamped_pair(next_obs[i], drawn, weighing[3], weighing[4], pairs[i])
    fill_activations(slow, pairs, held)
    after = last_outputs(slow, rows, held)
    for i in range(rows):
        going_on = F32(weighing[0]) * (ONE - table[PSI, i])
        table[MASK, i], table[TARGET, i] = ONE, table[VALUE, i] + going_on * after[i, 0]


@kernel(inline=True)
def free_parameters(net):
    """What stands in θ behind the layers: log σ."""
    return net[0][len(net[0]) - net[5] :]


@kernel(inner=True, allocates=True)
def fill_pair(obs, choice, out):
    """[s, one-hot of the action]: what Q sees."""
    size = len(obs)
    for d in range(size):
        out[d] = obs[d]
    for j in range(size, len(out)):
        out[j] = ONE if j - size == choice else ZERO


@kernel(inner=True, allocates=True)
def fill_clamped_pair(obs, action, low, high, out):
    """[s, a within ``low`` and ``high``]: what Q sees. NaN stays NaN."""
    size = len(obs)
    for d in range(size):
        out[d] = obs[d]
    for k in range(len(action)):
        x = action[k]
        out[size + k] = low[k] if x < low[k] else (high[k] if x > high[k] else x)


@kernel(inner=True)
def follow_parameters(slow, fast, rate):
    """φ̄ ← φ̄ + rate·(φ − φ̄)"""
    for k in range(len(slow)):
        slow[k] += F32(rate) * (fast[k] - slow[k])
