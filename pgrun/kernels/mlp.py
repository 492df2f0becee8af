"""Activations, gradient and tangent of a multi-layer perceptron on one flat θ, for any depth and width.

``net`` is (θ, sizes, activation, bias): sizes [in, hidden…, out]; what stands in θ behind the layers is not
read. All activations of B rows lie in one array, layer after layer, h₁ [B, hidden], …, y [B, out]; their
derivatives likewise. So no width or depth is part of a type, and a second network compiles nothing.
"""

from __future__ import annotations

from pgrun.kernels.jit import ALPHA, BETA, F32, ONE, PLAIN, SINGLE, TRANSPOSED, TWO, ZERO, gemm, kernel

TANH, RELU = 0, 1
FEW_ROWS, FEW_COLUMNS = 2, 8  # up to here plain loops cost less than the call of BLAS


@kernel(fast=True, inline=True)
def expand_tanh(x):
    """tanh x, at most 4 units in float32's last place away.

    Lambert's continued fraction at x/4, doubled twice by tanh 2y = 2t/(1 + t²), t = tanh y. NaN passes both
    comparisons and stays.
    """
    y = x
    if y > F32(9):
        y = F32(9)
    if y < F32(-9):
        y = F32(-9)
    y = y * F32(0.25)
    s = y * y
    top = F32(2027025) + s * (F32(270270) + s * (F32(6930) + s * F32(36)))
    bottom = F32(2027025) + s * (F32(945945) + s * (F32(51975) + s * (F32(630) + s)))
    t = y * top / bottom
    t = TWO * t / (ONE + t * t)
    return TWO * t / (ONE + t * t)


@kernel(fast=True, inner=True)
def add_bias(h, b):
    """h += b in every row: h [B, out], b [out]."""
    for i in range(h.shape[0]):
        for j in range(h.shape[1]):
            h[i, j] += b[j]


@kernel(fast=True, inner=True)
def activate_rows(h, activation):
    """tanh(h) or relu(h), in place. A NaN stays one: relu is 0 only where h < 0."""
    flat = h.reshape(h.size)
    if activation == TANH:
        for k in range(flat.shape[0]):
            flat[k] = expand_tanh(flat[k])
    else:
        for k in range(flat.shape[0]):
            flat[k] = ZERO if flat[k] < ZERO else flat[k]


@kernel(fast=True, inner=True)
def pull_through_activation(d, h, activation):
    """∂L/∂(pre-activation) from ∂L/∂h, in place, from h itself: times 1 − h² or [h > 0]."""
    derivative, value = d.reshape(d.size), h.reshape(h.size)
    if activation == TANH:
        for k in range(derivative.shape[0]):
            derivative[k] *= ONE - value[k] * value[k]
    else:
        for k in range(derivative.shape[0]):
            derivative[k] = ZERO if value[k] <= ZERO else derivative[k]


@kernel(fast=True, inner=True)
def multiply_in_loops(x, w, y):
    """y = x Wᵀ [B, out] for few rows or columns."""
    for i in range(x.shape[0]):
        for o in range(w.shape[0]):
            total = ZERO
            for k in range(w.shape[1]):
                total += x[i, k] * w[o, k]
            y[i, o] = total


@kernel(fast=True, inner=True)
def multiply_outer_in_loops(d, a, out):
    """out = dᵀ a [out, in] for few rows or columns."""
    for o in range(d.shape[1]):
        for j in range(a.shape[1]):
            out[o, j] = ZERO
    for i in range(d.shape[0]):
        for o in range(d.shape[1]):
            factor = d[i, o]
            for j in range(a.shape[1]):
                out[o, j] += factor * a[i, j]


@kernel(fast=True, inner=True)
def multiply_back_in_loops(d, w, out):
    """out = d W [B, in] for few rows or columns."""
    for i in range(d.shape[0]):
        for j in range(w.shape[1]):
            out[i, j] = ZERO
        for o in range(d.shape[1]):
            factor = d[i, o]
            for j in range(w.shape[1]):
                out[i, j] += factor * w[o, j]


@kernel(inner=True)
def multiply_forward(x, w, y):
    """y = x Wᵀ: x [B, in], W [out, in], y [B, out]."""
    if x.shape[0] <= FEW_ROWS or w.shape[0] <= FEW_COLUMNS:
        multiply_in_loops(x, w, y)
    else:
        n, size, outputs = x.shape[0], x.shape[1], w.shape[0]
        gemm(
            SINGLE, TRANSPOSED, PLAIN, outputs, n, size,
            ALPHA.ctypes, w.ctypes, size, x.ctypes, size, BETA.ctypes, y.ctypes, outputs,
        )  # fmt: skip


@kernel(inner=True)
def multiply_outer(d, a, out):
    """out = dᵀ a: d [B, out], a [B, in], out [out, in]."""
    if d.shape[0] <= FEW_ROWS or d.shape[1] <= FEW_COLUMNS:
        multiply_outer_in_loops(d, a, out)
    else:
        n, size, outputs = a.shape[0], a.shape[1], d.shape[1]
        gemm(
            SINGLE, PLAIN, TRANSPOSED, size, outputs, n,
            ALPHA.ctypes, a.ctypes, size, d.ctypes, outputs, BETA.ctypes, out.ctypes, size,
        )  # fmt: skip


@kernel(inner=True)
def multiply_back(d, w, out):
    """out = d W: d [B, out], W [out, in], out [B, in]."""
    if d.shape[0] <= FEW_ROWS or d.shape[1] <= FEW_COLUMNS:
        multiply_back_in_loops(d, w, out)
    else:
        n, size, outputs = d.shape[0], w.shape[1], w.shape[0]
        gemm(
            SINGLE, PLAIN, PLAIN, size, n, outputs,
            ALPHA.ctypes, w.ctypes, size, d.ctypes, outputs, BETA.ctypes, out.ctypes, size,
        )  # fmt: skip


@kernel(fast=True, inner=True)
def sum_rows(d, out):
    """out = Σ d over rows: d [B, out]."""
    for j in range(d.shape[1]):
        out[j] = ZERO
    for i in range(d.shape[0]):
        for j in range(d.shape[1]):
            out[j] += d[i, j]


@kernel(inner=True)
def count_outputs(sizes):
    """Σ of the layers' outputs: numbers that a row's activations take."""
    total = 0
    for k in range(1, len(sizes)):
        total += sizes[k]
    return total


@kernel(inner=True)
def count_weights(sizes, bias):
    """Σ of the layers' weights and biases: numbers of θ that they take."""
    total = 0
    for k in range(1, len(sizes)):
        total += sizes[k] * (sizes[k - 1] + bias)
    return total


@kernel()
def fill_activations(net, x, acts):
    """Fill ``acts`` with h₁, …, y of the rows x [B, in]."""
    theta, sizes, activation, bias = net
    rows, at, put = x.shape[0], 0, 0
    h = x
    for layer in range(len(sizes) - 1):
        size, outputs = sizes[layer], sizes[layer + 1]
        y = acts[put : put + rows * outputs].reshape((rows, outputs))
        put += rows * outputs
        multiply_forward(h, theta[at : at + outputs * size].reshape((outputs, size)), y)
        at += outputs * size
        if bias:
            add_bias(y, theta[at : at + outputs])
            at += outputs
        if layer < len(sizes) - 2:
            activate_rows(y, activation)
        h = y


@kernel()
def backpropagate_rows(net, x, acts, deltas, gradient):
    """∂L/∂θ of the layers, summed over rows, into ``gradient``.

    The last layer's ∂L/∂y [B, out] stands in ``deltas``, which holds those of the other layers afterwards.
    """
    theta, sizes, activation, bias = net
    rows = x.shape[0]
    put, at = rows * count_outputs(sizes), count_weights(sizes, bias)
    for layer in range(len(sizes) - 2, -1, -1):
        size, outputs = sizes[layer], sizes[layer + 1]
        put -= rows * outputs
        d = deltas[put : put + rows * outputs].reshape((rows, outputs))
        if bias:
            at -= outputs
            sum_rows(d, gradient[at : at + outputs])
        at -= outputs * size
        into = gradient[at : at + outputs * size].reshape((outputs, size))
        if layer == 0:
            multiply_outer(d, x, into)
        else:
            below = slice(put - rows * size, put)
            a = acts[below].reshape((rows, size))
            multiply_outer(d, a, into)
            back = deltas[below].reshape((rows, size))
            multiply_back(d, theta[at : at + outputs * size].reshape((outputs, size)), back)
            pull_through_activation(back, a, activation)


@kernel()
def fill_deltas(net, rows, acts, deltas):
    """∂L/∂(each layer's outputs) from that of the last, which stands in ``deltas``.

    It is ``backpropagate_rows`` without the gradient.
    """
    theta, sizes, activation, bias = net
    put, at = rows * count_outputs(sizes), count_weights(sizes, bias)
    for layer in range(len(sizes) - 2, 0, -1):
        size, outputs = sizes[layer], sizes[layer + 1]
        put -= rows * outputs
        at -= outputs * (size + bias)
        d = deltas[put : put + rows * outputs].reshape((rows, outputs))
        below = slice(put - rows * size, put)
        back = deltas[below].reshape((rows, size))
        multiply_back(d, theta[at : at + outputs * size].reshape((outputs, size)), back)
        pull_through_activation(back, acts[below].reshape((rows, size)), activation)


@kernel(fast=True, inner=True)
def add_matrix(x, y):
    """x += y."""
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            x[i, j] += y[i, j]


@kernel()
def fill_tangent(net, change, x, acts, moved, spare):
    """(∂y/∂θ)v along v = ``change`` at the activations ``acts``.

    The differentials of every layer go into ``moved``, laid out as ``acts``; ``spare`` [B·widest] is room.
    """
    theta, sizes, activation, bias = net
    rows, at, put = x.shape[0], 0, 0
    for layer in range(len(sizes) - 1):
        size, outputs = sizes[layer], sizes[layer + 1]
        weights = slice(at, at + outputs * size)
        here = slice(put, put + rows * outputs)
        dy = moved[here].reshape((rows, outputs))
        step = change[weights].reshape((outputs, size))
        if layer == 0:
            multiply_forward(x, step, dy)
        else:
            below = slice(put - rows * size, put)
            multiply_forward(acts[below].reshape((rows, size)), step, dy)
            second = spare[: rows * outputs].reshape((rows, outputs))
            multiply_forward(
                moved[below].reshape((rows, size)), theta[weights].reshape((outputs, size)), second
            )
            add_matrix(dy, second)
        at += outputs * size
        if bias:
            add_bias(dy, change[at : at + outputs])
            at += outputs
        if layer < len(sizes) - 2:
            pull_through_activation(dy, acts[here].reshape((rows, outputs)), activation)
        put += rows * outputs
