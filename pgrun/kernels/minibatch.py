"""A step of the optimizer on some rows of a batch, and a pass over the batch in such steps, each in one call.

Arguments come in groups: ``net`` as in ``pgrun.kernels.mlp`` with (head, free) behind it, ``dist`` as in
``pgrun.kernels.distributions``, ``rule`` as in ``pgrun.kernels.optimizer_rules``; ``data`` are the whole
batch's arrays, (obs [N, D], choice [N, A], vector [N, A], table [columns, N], params [N, K] of π_old);
``task`` is what the objective adds to the algorithm's own weight: (entropy, β, value coefficient, value clip,
divisor, correction).

Buffers are flat and at least as large as the largest minibatch needs: ``seen`` holds what is known of the
rows at hand, ``back`` what is computed on the way back. ``index`` [B] are the rows of the minibatch.
"""

from __future__ import annotations

import math

import numpy as np

from pgrun.kernels.distributions import (
    add_divergence_gradients,
    add_entropy_gradients,
    add_scores,
    fill_log_probs,
)
from pgrun.kernels.jit import F32, ONE, ZERO, kernel
from pgrun.kernels.mlp import backpropagate_rows, count_outputs, fill_activations
from pgrun.kernels.optimizer_rules import apply_rule
from pgrun.kernels.row_programs import run_program

MASK, PSI, LOG_PROB, VALUE, TARGET, RAW_PSI = 0, 1, 2, 3, 4, 5  # rows of ``table``; an algorithm's own follow
COLUMNS = ("mask", "psi", "log_prob", "value", "target", "raw_psi")
NONE, CENTER, SCALE, FULL = 0, 1, 2, 3  # advantage norms
NORM_EPSILON = 1e-8


@kernel(inner=True)
def gather_rows(x, index, out):
    """out = x[index]: the rows of a matrix that ``index`` [B] names."""
    for i in range(index.shape[0]):
        row = index[i]
        for j in range(x.shape[1]):
            out[i, j] = x[row, j]


@kernel(inline=True)
def normalise_rows(table, index, norm):
    """Fill column PSI from RAW_PSI in the rows of a minibatch, times the mask.

    (Ψ − mean)/√(variance + 1e-8), or a part of that, as ``normalise_advantages`` does it, over the rows whose
    mask is 1.
    """
    count, total = 0.0, 0.0
    for i in range(index.shape[0]):
        count += table[MASK, index[i]]
        total += np.float64(table[MASK, index[i]]) * table[RAW_PSI, index[i]]
    if count < 1.0:
        count = 1.0
    mean = total / count if norm in (CENTER, FULL) else 0.0
    divisor = 1.0
    if norm in (SCALE, FULL):
        squares = 0.0
        for i in range(index.shape[0]):
            apart = np.float64(table[RAW_PSI, index[i]]) - mean
            squares += table[MASK, index[i]] * (apart * apart)
        divisor = math.sqrt(squares / count + NORM_EPSILON)
    for i in range(index.shape[0]):
        row = index[i]
        table[PSI, row] = F32((np.float64(table[RAW_PSI, row]) - mean) / divisor) * table[MASK, row]


@kernel(inner=True, allocates=True)
def normalise_batch(table, norm):
    """Normalise Ψ over the whole batch, in PSI and in RAW_PSI, before any minibatch is drawn."""
    if norm != NONE:
        every = np.empty(table.shape[1], np.int64)
        for i in range(every.shape[0]):
            every[i] = i
        normalise_rows(table, every, norm)
        for i in range(every.shape[0]):
            table[RAW_PSI, i] = table[PSI, i]


@kernel(inner=True)
def fill_value_delta(value, stride, table, index, clip, coef, out):
    """coef·∂(value loss)/∂V of each row, into every ``stride``-th entry of ``out``, from the first.

    The loss is that of ``pgrun.critics.base.value_loss``: ½ mean (V − target)² over rows with mask 1, clipped
    at ``clip``; 0: not clipped.
    """
    count = ZERO
    for i in range(index.shape[0]):
        count += table[MASK, index[i]]
    if count < ONE:
        count = ONE
    for i in range(index.shape[0]):
        row = index[i]
        v = value[i * stride]
        error = v - table[TARGET, row]
        share = table[MASK, row] / count
        if clip > 0:
            moved = v - table[VALUE, row]
            limited = clip if moved > clip else (-clip if moved < -clip else moved)
            near = table[VALUE, row] + limited - table[TARGET, row]
            if not (abs(moved) <= clip or abs(error) >= abs(near)):
                share = ZERO * share
        out[i * stride] = coef * (share * error)


@kernel()
def evaluate_minibatch(net, dist, data, index, seen):
    """Gather the rows, and fill in their activations, distribution parameters and log π(a|s)."""
    theta, sizes, activation, bias, head, free = net
    obs, choice, vector, _, _ = data
    x, chosen, taken, acts, params, log_prob = seen
    rows, outputs = index.shape[0], sizes[len(sizes) - 1] - head
    inputs = x[: rows * obs.shape[1]].reshape((rows, obs.shape[1]))
    gather_rows(obs, index, inputs)
    choices = chosen[: rows * choice.shape[1]].reshape((rows, choice.shape[1]))
    gather_rows(choice, index, choices)
    vectors = taken[: rows * vector.shape[1]].reshape((rows, vector.shape[1]))
    gather_rows(vector, index, vectors)
    fill_activations((theta, sizes, activation, bias), inputs, acts)
    y = acts[rows * (count_outputs(sizes) - head - outputs) :]
    p = params[: rows * (outputs + free)].reshape((rows, outputs + free))
    split_outputs(y, head, theta[theta.shape[0] - free :], p)
    fill_log_probs(dist, p, choices, vectors, log_prob[:rows])


@kernel(inner=True)
def split_outputs(y, head, constants, params):
    """The distribution's parameters [B, K]: what follows V among a row's outputs, then the free ones.

    ``constants`` are the free ones, which all rows share.
    """
    linear = params.shape[1] - constants.shape[0]
    for i in range(params.shape[0]):
        for k in range(linear):
            params[i, k] = y[i * (head + linear) + head + k]
        for k in range(constants.shape[0]):
            params[i, linear + k] = constants[k]


@kernel(inner=True)
def join_deltas(up, head, delta, gradient):
    """∂L/∂(outputs that a layer makes), into ``delta``, from ``up`` = −∂L/∂params [B, K].

    The gradient by the free ones, which is their sum over rows, goes into ``gradient``.
    """
    linear = up.shape[1] - gradient.shape[0]
    for i in range(up.shape[0]):
        for k in range(linear):
            delta[i * (head + linear) + head + k] = -up[i, k]
    for k in range(gradient.shape[0]):
        total = ZERO
        for i in range(up.shape[0]):
            total -= up[i, linear + k]
        gradient[k] = total


@kernel(inner=True)
def fill_masked_amount(table, index, amount, out):
    """out = amount·mask of each row [B]."""
    for i in range(index.shape[0]):
        out[i] = amount * table[MASK, index[i]]


@kernel()
def step_minibatch(net, dist, rule, data, index, task, seen, back):
    """Take the optimizer's step on rows that were evaluated and weighed.

    The first of ``back`` holds each row's ``weight`` ∂L/∂log π, which is used up; the last is filled with the
    loss's gradient by θ.
    """
    theta, sizes, activation, bias, head, free = net
    obs, choice, vector, table, old = data
    entropy, kl_weight, value_coef, value_clip, count, correction = task
    x, chosen, taken, acts, params, _ = seen
    weight, upward, before, deltas, gradient = back
    rows, width = index.shape[0], sizes[len(sizes) - 1]
    shape = (rows, width - head + free)
    p, up = params[: rows * shape[1]].reshape(shape), upward[: rows * shape[1]].reshape(shape)
    upward[: rows * shape[1]] = ZERO
    choices = chosen[: rows * choice.shape[1]].reshape((rows, choice.shape[1]))
    vectors = taken[: rows * vector.shape[1]].reshape((rows, vector.shape[1]))
    add_scores(dist, p, choices, vectors, weight[:rows], up)
    if entropy != 0:
        fill_masked_amount(table, index, F32(entropy / count), weight)
        add_entropy_gradients(dist, p, weight, up)
    if kl_weight != 0:
        p_old = before[: rows * shape[1]].reshape(shape)
        gather_rows(old, index, p_old)
        fill_masked_amount(table, index, -F32(kl_weight / count), weight)
        add_divergence_gradients(dist, p_old, p, weight, up)
    last = slice(rows * (count_outputs(sizes) - width), rows * count_outputs(sizes))
    join_deltas(up, head, deltas[last], gradient[gradient.shape[0] - free :])
    if head:
        fill_value_delta(acts[last], width, table, index, F32(value_clip), F32(value_coef), deltas[last])
    inputs = x[: rows * obs.shape[1]].reshape((rows, obs.shape[1]))
    backpropagate_rows((theta, sizes, activation, bias), inputs, acts, deltas, gradient)
    for k in range(correction.shape[0]):
        gradient[k] -= correction[k]
    apply_rule(theta, gradient, rule)


@kernel()
def ascend_epochs(net, dist, rule, data, order, edges, program, scalars, norm, task, registers, seen, back):
    """Take a step on each minibatch k, of one epoch or more: the rows ``order[edges[k]:edges[k + 1]]``.

    ``program``, ``scalars`` and ``registers`` as in ``pgrun.kernels.row_programs``; ``scalars[0]`` is the
    divisor, in proportion to the rows.
    """
    entropy, kl_weight, value_coef, value_clip, count, correction = task
    table, weight, log_prob = data[3], back[0], seen[5]
    for k in range(edges.shape[0] - 1):
        index = order[edges[k] : edges[k + 1]]
        share = count * index.shape[0] / table.shape[1]
        scalars[0] = share
        if norm != NONE:
            normalise_rows(table, index, norm)
        evaluate_minibatch(net, dist, data, index, seen)
        run_program(program, scalars, table, index, log_prob, registers, weight)
        part = (entropy, kl_weight, value_coef, value_clip, share, correction)
        step_minibatch(net, dist, rule, data, index, part, seen, back)


@kernel()
def descend_epochs(net, rule, obs, table, order, edges, clip, x, acts, deltas, gradient):
    """Take the critic's steps down the value loss, one on each minibatch of one epoch or more."""
    sizes = net[1]
    for k in range(edges.shape[0] - 1):
        index = order[edges[k] : edges[k + 1]]
        rows = index.shape[0]
        inputs = x[: rows * obs.shape[1]].reshape((rows, obs.shape[1]))
        gather_rows(obs, index, inputs)
        fill_activations(net, inputs, acts)
        last = slice(rows * (count_outputs(sizes) - 1), rows * count_outputs(sizes))
        fill_value_delta(acts[last], 1, table, index, F32(clip), ONE, deltas[last])
        backpropagate_rows(net, inputs, acts, deltas, gradient)
        apply_rule(net[0], gradient, rule)
