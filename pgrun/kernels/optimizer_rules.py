"""Norm clipping and the optimizers' rules, in place on θ and on the optimizers' state.

The state is that of ``pgrun.optimization.optimizers``. ``rule`` is (code, hyper, first, second, step):
``hyper`` [6] as ``order_hyper_parameters`` orders it, first and second the running means of the rule or what
is not read, step [1] the number of steps so far.
"""

from __future__ import annotations

import math

import numpy as np

from pgrun.kernels.jit import F32, ONE, kernel

SGD, ADAM, ADAMW, RMSPROP = 0, 1, 2, 3
# Entries of ``hyper``; a limit of 0: none.
LR, LIMIT, DECAY_1, DECAY_2, EPSILON, WEIGHT_DECAY = range(6)


@kernel(fast=True, inner=True)
def measure_norm(gradient):
    """‖g‖ in float64: squares of float32 pass what float32 holds."""
    total = 0.0
    for k in range(gradient.shape[0]):
        total += np.float64(gradient[k]) * np.float64(gradient[k])
    return math.sqrt(total)


@kernel(inner=True)
def find_clip_factor(gradient, limit):
    """min(1, limit/(‖g‖ + 1e-6)), what the gradient is multiplied by; NaN where the norm is."""
    if limit <= 0:
        return ONE
    factor = limit / (measure_norm(gradient) + 1e-6)
    return ONE if factor > 1 else F32(factor)


@kernel(fast=True, inner=True)
def step_adam(theta, gradient, first, second, step, hyper, factor, decay):
    """θ ← θ(1 − lr·decay) − lr·m̂/(√v̂ + ε), with Adam's running means m of g and v of g².

    m̂ and v̂ are corrected for their start at 0; g is ``gradient``·``factor``. decay 0 is Adam, else AdamW.
    """
    step[0] += ONE
    b1, b2, count = hyper[DECAY_1], hyper[DECAY_2], np.float64(step[0])
    size = F32(hyper[LR] / (1 - b1**count))
    root = F32(math.sqrt(1 - b2**count))
    share_1, share_2, keep_2, eps = F32(1 - b1), F32(1 - b2), F32(b2), F32(hyper[EPSILON])
    shrink = F32(1 - hyper[LR] * decay)
    for k in range(theta.shape[0]):
        g = gradient[k] * factor
        first[k] += share_1 * (g - first[k])
        second[k] = keep_2 * second[k] + share_2 * g * g
        theta[k] = theta[k] * shrink - size * first[k] / (np.sqrt(second[k]) / root + eps)


@kernel(fast=True, inner=True)
def step_sgd(theta, gradient, velocity, hyper, factor):
    """θ ← θ − lr·u with the velocity u ← momentum·u + gradient·factor."""
    lr, momentum = F32(hyper[LR]), F32(hyper[DECAY_1])
    for k in range(theta.shape[0]):
        velocity[k] = momentum * velocity[k] + gradient[k] * factor
        theta[k] -= lr * velocity[k]


@kernel(fast=True, inner=True)
def step_rmsprop(theta, gradient, square, hyper, factor):
    """θ ← θ − lr·g/(√s + ε) with s ← α s + (1 − α) g² and g = gradient·factor."""
    lr, keep, share = F32(hyper[LR]), F32(hyper[DECAY_2]), F32(1 - hyper[DECAY_2])
    eps = F32(hyper[EPSILON])
    for k in range(theta.shape[0]):
        g = gradient[k] * factor
        square[k] = keep * square[k] + share * g * g
        theta[k] -= lr * g / (np.sqrt(square[k]) + eps)


@kernel()
def apply_rule(theta, gradient, rule):
    """Take one step of the optimizer against ``gradient``, which is left as it is."""
    code, hyper, first, second, step = rule
    factor = find_clip_factor(gradient, hyper[LIMIT])
    if code == SGD:
        step_sgd(theta, gradient, first, hyper, factor)
    elif code == RMSPROP:
        step_rmsprop(theta, gradient, second, hyper, factor)
    else:
        step_adam(theta, gradient, first, second, step, hyper, factor, hyper[WEIGHT_DECAY] * (code == ADAMW))
