"""The action distributions on rows of parameters [B, K], one loop for each of their functions.

``dist`` is (kind, counts). CHOICES are softmaxes over runs of ``counts`` entries (one for Categorical,
several for MultiCategorical), BITS independent Bernoullis, GAUSSIAN is [μ, log σ]. Actions are ``choice`` [B,
A] of integers for CHOICES, ``vector`` [B, A] of float32 for the others; the one that is not read may be
empty. The formulas stand in ``pgrun.policies.distributions``.
"""

from __future__ import annotations

import math

from pgrun.kernels.jit import F32, HALF, ONE, TWO, ZERO, kernel

CHOICES, BITS, GAUSSIAN = 0, 1, 2
LOG_2PI = F32(math.log(2 * math.pi))
LOG_2PIE = F32(math.log(2 * math.pi * math.e))


@kernel(fast=True, inner=True)
def log_sum_exp(x):
    """log Σ exp xₖ; the largest entry is taken out first, and NaN and infinity stay."""
    top = x[0]
    for k in range(1, x.shape[0]):
        if x[k] > top:
            top = x[k]
    total = ZERO
    for k in range(x.shape[0]):
        total += math.exp(x[k] - top)
    return top + math.log(total)


@kernel(inline=True)
def sigmoid(x):
    """1/(1 + exp(−x))."""
    return ONE / (ONE + math.exp(-x))


@kernel(inline=True)
def log_sigmoid(x):
    """log(1/(1 + exp(−x))), without overflow."""
    return -math.log1p(math.exp(-x)) if x > ZERO else x - math.log1p(math.exp(x))


@kernel()
def fill_log_probs(dist, params, choice, vector, out):
    """out = log π(a|s) [B]."""
    kind, counts = dist
    for i in range(params.shape[0]):
        total = ZERO
        if kind == CHOICES:
            at = 0
            for part in range(len(counts)):
                x = params[i, at : at + counts[part]]
                total += x[choice[i, part]] - log_sum_exp(x)
                at += counts[part]
        elif kind == BITS:
            for k in range(params.shape[1]):
                total += log_sigmoid(params[i, k] if vector[i, k] > ZERO else -params[i, k])
        out[i] = total
    if kind == GAUSSIAN:
        size = params.shape[1] // 2
        for k in range(size):
            log_std, inverse = params[0, size + k], math.exp(-params[0, size + k])
            for i in range(params.shape[0]):
                # The same in every row, but for parameters put together from several policies.
                if params[i, size + k] != log_std:
                    log_std, inverse = params[i, size + k], math.exp(-params[i, size + k])
                z = (vector[i, k] - params[i, k]) * inverse
                out[i] -= HALF * z * z + log_std
        for i in range(params.shape[0]):
            out[i] -= HALF * F32(size) * LOG_2PI


@kernel()
def add_scores(dist, params, choice, vector, weight, out):
    """out += weight·∂log π(a|s)/∂params [B, K]"""
    kind, counts = dist
    if kind == CHOICES:
        for i in range(params.shape[0]):
            at = 0
            for part in range(len(counts)):
                x = params[i, at : at + counts[part]]
                total = log_sum_exp(x)
                for k in range(counts[part]):
                    hit = ONE if k == choice[i, part] else ZERO
                    out[i, at + k] += weight[i] * (hit - math.exp(x[k] - total))
                at += counts[part]
    elif kind == BITS:
        for i in range(params.shape[0]):
            for k in range(params.shape[1]):
                out[i, k] += weight[i] * (vector[i, k] - sigmoid(params[i, k]))
    else:
        size = params.shape[1] // 2
        for k in range(size):
            log_std, inverse = params[0, size + k], math.exp(-params[0, size + k])
            for i in range(params.shape[0]):
                if params[i, size + k] != log_std:
                    log_std, inverse = params[i, size + k], math.exp(-params[i, size + k])
                z = (vector[i, k] - params[i, k]) * inverse
                out[i, k] += weight[i] * (z * inverse)
                out[i, size + k] += weight[i] * (z * z - ONE)


@kernel()
def fill_entropies(dist, params, out):
    """out = H(π(·|s)) [B], in nats."""
    kind, counts = dist
    for i in range(params.shape[0]):
        total = ZERO
        if kind == CHOICES:
            at = 0
            for part in range(len(counts)):
                x = params[i, at : at + counts[part]]
                norm = log_sum_exp(x)
                for k in range(counts[part]):
                    total -= math.exp(x[k] - norm) * (x[k] - norm)
                at += counts[part]
        elif kind == BITS:
            for k in range(params.shape[1]):
                p = sigmoid(params[i, k])
                total -= p * log_sigmoid(params[i, k]) + (ONE - p) * log_sigmoid(-params[i, k])
        else:
            size = params.shape[1] // 2
            for k in range(size):
                total += params[i, size + k]
            total += HALF * F32(size) * LOG_2PIE
        out[i] = total


@kernel()
def add_entropy_gradients(dist, params, weight, out):
    """out += weight·∂H/∂params [B, K]"""
    kind, counts = dist
    for i in range(params.shape[0]):
        if kind == CHOICES:
            at = 0
            for part in range(len(counts)):
                x = params[i, at : at + counts[part]]
                norm, minus_entropy = log_sum_exp(x), ZERO
                for k in range(counts[part]):
                    minus_entropy += math.exp(x[k] - norm) * (x[k] - norm)
                for k in range(counts[part]):
                    p = math.exp(x[k] - norm)
                    out[i, at + k] += weight[i] * (-p * (x[k] - norm - minus_entropy))
                at += counts[part]
        elif kind == BITS:
            for k in range(params.shape[1]):
                p = sigmoid(params[i, k])
                out[i, k] += weight[i] * (-params[i, k] * p * (ONE - p))
        else:
            size = params.shape[1] // 2
            for k in range(size):
                out[i, size + k] += weight[i]


@kernel()
def fill_divergences(dist, p, q, out):
    """out = KL(p‖q) [B], in nats."""
    kind, counts = dist
    for i in range(p.shape[0]):
        total = ZERO
        if kind == CHOICES:
            at = 0
            for part in range(len(counts)):
                x, y = p[i, at : at + counts[part]], q[i, at : at + counts[part]]
                norm_x, norm_y = log_sum_exp(x), log_sum_exp(y)
                for k in range(counts[part]):
                    log_p = x[k] - norm_x
                    total += math.exp(log_p) * (log_p - (y[k] - norm_y))
                at += counts[part]
        elif kind == BITS:
            for k in range(p.shape[1]):
                on = log_sigmoid(p[i, k]) - log_sigmoid(q[i, k])
                off = log_sigmoid(-p[i, k]) - log_sigmoid(-q[i, k])
                total += sigmoid(p[i, k]) * on + sigmoid(-p[i, k]) * off
        else:
            size = p.shape[1] // 2
            for k in range(size):
                log_p, log_q = p[i, size + k], q[i, size + k]
                gap = (p[i, k] - q[i, k]) * math.exp(-log_q)
                spread = math.exp(TWO * (log_p - log_q)) + gap * gap
                total += log_q - log_p + HALF * (spread - ONE)
        out[i] = total


@kernel()
def add_divergence_gradients(dist, p, q, weight, out):
    """out += weight·∂KL(p‖q)/∂q [B, K]"""
    kind, counts = dist
    for i in range(p.shape[0]):
        if kind == CHOICES:
            at = 0
            for part in range(len(counts)):
                x, y = p[i, at : at + counts[part]], q[i, at : at + counts[part]]
                norm_x, norm_y = log_sum_exp(x), log_sum_exp(y)
                for k in range(counts[part]):
                    out[i, at + k] += weight[i] * (math.exp(y[k] - norm_y) - math.exp(x[k] - norm_x))
                at += counts[part]
        elif kind == BITS:
            for k in range(p.shape[1]):
                out[i, k] += weight[i] * (sigmoid(q[i, k]) - sigmoid(p[i, k]))
        else:
            size = p.shape[1] // 2
            for k in range(size):
                precision, gap = math.exp(-TWO * q[i, size + k]), q[i, k] - p[i, k]
                spread = precision * (math.exp(TWO * p[i, size + k]) + gap * gap)
                out[i, k] += weight[i] * (precision * gap)
                out[i, size + k] += weight[i] * (ONE - spread)


@kernel()
def fill_metric(dist, params, u, out):
    """out = Mu [B, K], M the Fisher matrix in the distribution's own parameters."""
    kind, counts = dist
    for i in range(params.shape[0]):
        if kind == CHOICES:
            at = 0
            for part in range(len(counts)):
                x = params[i, at : at + counts[part]]
                norm, mean = log_sum_exp(x), ZERO
                for k in range(counts[part]):
                    mean += math.exp(x[k] - norm) * u[i, at + k]
                for k in range(counts[part]):
                    out[i, at + k] = math.exp(x[k] - norm) * (u[i, at + k] - mean)
                at += counts[part]
        elif kind == BITS:
            for k in range(params.shape[1]):
                p = sigmoid(params[i, k])
                out[i, k] = p * (ONE - p) * u[i, k]
    if kind == GAUSSIAN:
        size = params.shape[1] // 2
        for k in range(size):
            log_std, precision = params[0, size + k], math.exp(-TWO * params[0, size + k])
            for i in range(params.shape[0]):
                if params[i, size + k] != log_std:
                    log_std, precision = params[i, size + k], math.exp(-TWO * params[i, size + k])
                out[i, k] = u[i, k] * precision
                out[i, size + k] = TWO * u[i, size + k]
