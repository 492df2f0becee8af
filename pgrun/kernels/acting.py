"""Actions of a multi-layer perceptron on a flat θ, row by row.

One row at a time, so that a row's numbers do not depend on how many rows there are. ``theta`` is the flat
parameter vector; ``sizes`` [layers + 1] are the layers' widths, input first; ``head`` is 1 where the first
output is V(s), else 0.

No sum is reordered here: with that, machine code read back from disk rounds otherwise than what has just been
compiled, and the first run on a machine would be another one than the second.
"""

from __future__ import annotations

import math

import numpy as np

from pgrun.kernels.jit import kernel

f32 = np.float32
TOP = tuple(
    f32(x)
    for x in (
        *(4.89352455891786e-03, 6.37261928875436e-04, 1.48572235717979e-05, 5.12229709037114e-08),
        *(-8.60467152213735e-11, 2.00018790482477e-13, -2.76076847742355e-16),
    )
)
BOTTOM = tuple(
    f32(x) for x in (4.89352518554385e-03, 2.26843463243900e-03, 1.18534705686654e-04, 1.19825839466702e-06)
)
FEW_OUTPUTS = 16  # of a layer: below it the rows of W are read as they are
TANH_IS_ONE = f32(7.90531110763549805)
HALF_LOG_TURN = f32(0.5 * math.log(2 * math.pi))


@kernel(allocates=True)
def act_rows(
    layers, free, sizes, head, relu, gaussian, normalised, mean, scale, raw_obs, sampled, noise, choice, force
):
    """Fill in the actions of raw observations ``raw_obs`` [N, D], float64.

    ``layers`` as ``transpose_layers`` makes them; ``free`` are the log σ, behind the layers in θ. ``choice``
    [N] for a categorical policy, ``force`` [N, A] for a Gaussian one (``gaussian``); the other is left alone.
    With ``sampled``, ``noise`` [N, A] holds Gumbel or standard normal draws; without, the mode is taken.
    """
    rows = np.empty((2, find_widest_layer(sizes)), np.float32)
    params = np.empty((2 if gaussian else 1) * (sizes[-1] - head), np.float32)
    for n in range(len(raw_obs)):
        normalise_observation(raw_obs[n], normalised, mean, scale, rows[0])
        evaluate_row(layers, sizes, head, relu, rows, params)
        if gaussian:
            sample_gaussian(params, free, sampled, noise[n if sampled else 0], force[n])
        else:
            choice[n] = choose_action(params, sampled, noise[n if sampled else 0])


@kernel(inner=True, allocates=True)
def normalise_observation(obs, normalised, mean, scale, row):
    """Write (s − mean)·scale, computed in float64 and clipped to ±10, into ``row`` as float32.

    Without ``normalised`` it is s itself. NaN stays NaN.
    """
    for d in range(len(obs)):
        if normalised:
            x = (np.float64(obs[d]) - mean[d]) * scale[d]
            row[d] = f32(10.0 if x > 10.0 else (-10.0 if x < -10.0 else x))
        else:
            row[d] = f32(obs[d])


@kernel(inner=True, allocates=True)
def find_widest_layer(sizes):
    """The largest of the layers' widths ``sizes``."""
    widest = 0
    for size in sizes:
        widest = max(widest, size)
    return widest


@kernel()
def transpose_layers(theta, sizes, head, bias, layers):
    """Fill ``layers`` with each layer's transposed weights [in, out] and bias [out], one after the other.

    Without the row of the value head. Layers of fewer than ``FEW_OUTPUTS`` outputs keep W [out, in] as it is.
    ``layers`` has room for θ and a bias of each width.
    """
    at, to, last = 0, 0, len(sizes) - 2
    for layer in range(last + 1):
        inputs, outputs = sizes[layer], sizes[layer + 1]
        skipped = head if layer == last else 0
        kept = outputs - skipped
        weight = theta[at : at + outputs * inputs].reshape(outputs, inputs)
        for o in range(kept):
            for i in range(inputs):
                layers[to + (o * inputs + i if kept < FEW_OUTPUTS else i * kept + o)] = weight[skipped + o, i]
        at, to = at + outputs * inputs, to + kept * inputs
        for o in range(kept):
            layers[to + o] = theta[at + skipped + o] if bias else f32(0)
        at, to = at + (outputs if bias else 0), to + kept


@kernel(inner=True, allocates=True)
def evaluate_row(layers, sizes, head, relu, rows, params):
    """The network's outputs for the observation in ``rows[0]``, into the first entries of ``params``.

    ``layers`` as ``transpose_layers`` makes them; ``rows`` [2, widest] is room for the activations.
    """
    at, last = 0, len(sizes) - 2
    for layer in range(last + 1):
        inputs = sizes[layer]
        outputs = sizes[layer + 1] - (head if layer == last else 0)
        weight = layers[at : at + inputs * outputs]
        at += inputs * outputs
        shift = layers[at : at + outputs]
        at += outputs
        into = params[:outputs] if layer == last else rows[(layer + 1) % 2, :outputs]
        if outputs < FEW_OUTPUTS:
            multiply_narrow_layer(rows[layer % 2, :inputs], weight.reshape(outputs, inputs), shift, into)
        else:
            multiply_wide_layer(rows[layer % 2, :inputs], weight.reshape(inputs, outputs), shift, into)
        if layer < last:
            activate_row(into, relu)


@kernel(inner=True, allocates=True)
def multiply_wide_layer(x, weight, shift, out):
    """out = xW + b for W [in, out].

    Four inputs at once, so that ``out`` is read and written a quarter as often.
    """
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


@kernel(inner=True, allocates=True)
def multiply_narrow_layer(x, weight, shift, out):
    """out = Wx + b for W [out, in], by rows of W: better where they are few."""
    for o in range(len(out)):
        row, total = weight[o], f32(0)
        for i in range(len(x)):
            total += row[i] * x[i]
        out[o] = total + shift[o]


@kernel(inner=True, allocates=True)
def activate_row(h, relu):
    """relu(h) or tanh(h), in place. NaN stays NaN."""
    if relu:
        for k in range(len(h)):
            h[k] = f32(0) if h[k] < f32(0) else h[k]
    else:
        for k in range(len(h)):
            h[k] = approximate_tanh(h[k])


@kernel(inner=True, allocates=True)
def approximate_tanh(x):
    """tanh x as a quotient of two polynomials, within 5 units of float32's last place. NaN stays NaN."""
    x = TANH_IS_ONE if x > TANH_IS_ONE else (-TANH_IS_ONE if x < -TANH_IS_ONE else x)
    s = x * x
    up = TOP[0] + s * (TOP[1] + s * (TOP[2] + s * (TOP[3] + s * (TOP[4] + s * (TOP[5] + s * TOP[6])))))
    return x * up / (BOTTOM[0] + s * (BOTTOM[1] + s * (BOTTOM[2] + s * BOTTOM[3])))


@kernel(inner=True, allocates=True)
def choose_action(logits, sampled, noise):
    """The index of the largest logit, or with Gumbel noise a draw from softmax; of equals the first."""
    best, choice = f32(-np.inf), 0
    for k in range(len(logits)):
        score = logits[k] + noise[k] if sampled else logits[k]
        if score > best:
            best, choice = score, k
    return choice


@kernel(inner=True, allocates=True)
def evaluate_log_softmax(logits, k):
    """log softmax(logits)ₖ: the logarithm of the probability of choice k."""
    top, total = f32(-np.inf), f32(0)
    for x in logits:
        top = max(top, x)
    for x in logits:
        total += math.exp(x - top)
    return logits[k] - top - math.log(total)


@kernel(inner=True, allocates=True)
def sample_gaussian(params, free, sampled, noise, action):
    """Write log σ behind the mean in ``params`` [2A], and the action [A]: μ + σ·noise, or μ.

    It is μ without ``sampled``; ``free`` [A] is log σ.
    """
    size = len(action)
    for k in range(size):
        params[size + k] = free[k]
        action[k] = params[k] + math.exp(free[k]) * noise[k] if sampled else params[k]


@kernel(inner=True, allocates=True)
def evaluate_log_density(params, action):
    """log N(action; μ, σ) of ``params`` = [μ, log σ], summed over the action's entries."""
    size, total = len(action), f32(0)
    for k in range(size):
        z = (action[k] - params[k]) * math.exp(-params[size + k])
        total += f32(0.5) * z * z + params[size + k] + HALF_LOG_TURN
    return -total
