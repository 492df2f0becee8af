"""Acting of a multi-layer perceptron on flat θ: one row at a time, so that a row's numbers do not depend on how many there are."""

from __future__ import annotations

import math

import numpy as np

from pgrun.kernels.jit import kernel

f32 = np.float32
UP = tuple(
    f32(x)
    for x in (
        *(4.89352455891786e-03, 6.37261928875436e-04, 1.48572235717979e-05, 5.12229709037114e-08),
        *(-8.60467152213735e-11, 2.00018790482477e-13, -2.76076847742355e-16),
    )
)
DOWN = tuple(
    f32(x) for x in (4.89352518554385e-03, 2.26843463243900e-03, 1.18534705686654e-04, 1.19825839466702e-06)
)
NARROW = 16  # outputs
SATURATED = f32(7.90531110763549805)
HALF_LOG_TURN = f32(0.5 * math.log(2 * math.pi))


@kernel(allocates=True)
def act_rows(
    theta, sizes, head, bias, relu, gaussian, normalised, mean, scale, raw_obs, sampled, noise, choice, force
):
    """Actions of raw observations [N, D], float64; one kind is filled in."""
    layers = turned(theta, sizes, head, bias)
    free = theta[len(theta) - (sizes[-1] - head) :]
    rows = np.empty((2, widest(sizes)), np.float32)
    params = np.empty((2 if gaussian else 1) * (sizes[-1] - head), np.float32)
    for n in range(len(raw_obs)):
        normalise(raw_obs[n], normalised, mean, scale, rows[0])
        forward(layers, sizes, head, relu, rows, params)
        if gaussian:
            shift(params, free, sampled, noise[n if sampled else 0], force[n])
        else:
            choice[n] = choose(params, sampled, noise[n if sampled else 0])


@kernel(inner=True, allocates=True)
def normalise(obs, normalised, mean, scale, row):
    """(s − mean)·scale in float64, clipped to ±10, or s itself, as float32."""
    for d in range(len(obs)):
        if normalised:
            x = (np.float64(obs[d]) - mean[d]) * scale[d]
            row[d] = f32(10.0 if x > 10.0 else (-10.0 if x < -10.0 else x))
        else:
            row[d] = f32(obs[d])


@kernel(inner=True, allocates=True)
def widest(sizes):
    found = 0
    for size in sizes:
        found = max(found, size)
    return found


@kernel(inner=True, allocates=True)
def turned(theta, sizes, head, bias):
    """Every layer's W' [in, out] and its bias, one after the other, without the row of the value head; of narrow ones W itself."""
    room = len(theta)
    for size in sizes:
        room += size
    found = np.empty(room, np.float32)
    at, to, last = 0, 0, len(sizes) - 2
    for layer in range(last + 1):
        inputs, outputs = sizes[layer], sizes[layer + 1]
        skipped = head if layer == last else 0
        kept = outputs - skipped
        weight = theta[at : at + outputs * inputs].reshape(outputs, inputs)
        for o in range(kept):
            for i in range(inputs):
                found[to + (o * inputs + i if kept < NARROW else i * kept + o)] = weight[skipped + o, i]
        at, to = at + outputs * inputs, to + kept * inputs
        for o in range(kept):
            found[to + o] = theta[at + skipped + o] if bias else f32(0)
        at, to = at + (outputs if bias else 0), to + kept
    return found


@kernel(fast=True, inner=True, allocates=True)
def forward(layers, sizes, head, relu, rows, params):
    """From the observation in rows[0] to the outputs, the first of ``params``; rows [2, widest] is room for activations."""
    at, last = 0, len(sizes) - 2
    for layer in range(last + 1):
        inputs = sizes[layer]
        outputs = sizes[layer + 1] - (head if layer == last else 0)
        weight = layers[at : at + inputs * outputs]
        at += inputs * outputs
        shift = layers[at : at + outputs]
        at += outputs
        into = params[:outputs] if layer == last else rows[(layer + 1) % 2, :outputs]
        if outputs < NARROW:
            narrow(rows[layer % 2, :inputs], weight.reshape(outputs, inputs), shift, into)
        else:
            dense(rows[layer % 2, :inputs], weight.reshape(inputs, outputs), shift, into)
        if layer < last:
            activate(into, relu)


@kernel(fast=True, inner=True, allocates=True)
def dense(x, weight, shift, out):
    """out = xW + b; four inputs at once, so that ``out`` is read and written a quarter as often."""
    inputs, outputs = weight.shape
    for o in range(outputs):
        out[o] = shift[o]
    whole = inputs // 4 * 4
    for i in range(0, whole, 4):
        a, b, c, d = x[i], x[i + 1], x[i + 2], x[i + 3]
        first, second, third, fourth = weight[i], weight[i + 1], weight[i + 2], weight[i + 3]
        for o in range(outputs):
            out[o] += a * first[o] + b * second[o] + c * third[o] + d * fourth[o]
    for i in range(whole, inputs):
        a, row = x[i], weight[i]
        for o in range(outputs):
            out[o] += a * row[o]


@kernel(fast=True, inner=True, allocates=True)
def narrow(x, weight, shift, out):
    """out = Wx + b, by rows of W: better where they are few."""
    for o in range(len(out)):
        row, total = weight[o], f32(0)
        for i in range(len(x)):
            total += row[i] * x[i]
        out[o] = total + shift[o]


@kernel(fast=True, inner=True, allocates=True)
def activate(h, relu):
    if relu:
        for k in range(len(h)):
            h[k] = f32(0) if h[k] < f32(0) else h[k]
    else:
        for k in range(len(h)):
            h[k] = tanh(h[k])


@kernel(fast=True, inner=True, allocates=True)
def tanh(x):
    """A quotient of two polynomials, within 5 units of float32's last place; NaN stays NaN."""
    x = SATURATED if x > SATURATED else (-SATURATED if x < -SATURATED else x)
    s = x * x
    up = UP[0] + s * (UP[1] + s * (UP[2] + s * (UP[3] + s * (UP[4] + s * (UP[5] + s * UP[6])))))
    return x * up / (DOWN[0] + s * (DOWN[1] + s * (DOWN[2] + s * DOWN[3])))


@kernel(inner=True, allocates=True)
def choose(logits, sampled, noise):
    """The largest, or with Gumbel noise a draw from softmax; the first of equals."""
    best, found = f32(-np.inf), 0
    for k in range(len(logits)):
        score = logits[k] + noise[k] if sampled else logits[k]
        if score > best:
            best, found = score, k
    return found


@kernel(inner=True, allocates=True)
def log_softmax(logits, k):
    """Entry k."""
    top, total = f32(-np.inf), f32(0)
    for x in logits:
        top = max(top, x)
    for x in logits:
        total += math.exp(x - top)
    return logits[k] - top - math.log(total)


@kernel(inner=True, allocates=True)
def shift(params, free, sampled, noise, action):
    """Fill in log σ behind the mean, and act: the mean, or shifted by σ times the noise."""
    size = len(action)
    for k in range(size):
        params[size + k] = free[k]
        action[k] = params[k] + math.exp(free[k]) * noise[k] if sampled else params[k]


@kernel(inner=True, allocates=True)
def log_density(params, action):
    """log N(a; μ, σ)."""
    size, total = len(action), f32(0)
    for k in range(size):
        z = (action[k] - params[k]) * math.exp(-params[size + k])
        total += f32(0.5) * z * z + params[size + k] + HALF_LOG_TURN
    return -total
