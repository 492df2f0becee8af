"""Programs of operations on rows, run by one compiled loop.

Such a program is what an algorithm makes of log π(a|s) in each row: an array of instructions [n, 5],
(operation, to, a, b, c). Register ``to`` becomes the operation of registers a, b and c, for all rows. COLUMN
reads column ``a`` of the batch, SCALAR entry ``a`` of the scalars, LOG_PROB the present log π. The last
instruction's register is the result. It is data and no code: a new algorithm compiles nothing.
"""

from __future__ import annotations

import math

import numpy as np

from pgrun.kernels.jit import ONE, ZERO, kernel

OPERATIONS = (
    "column", "scalar", "log_prob", "where",
    "add", "sub", "mul", "div", "minimum", "maximum", "pow", "gt", "ge", "eq", "ne",
    "exp", "log", "sqrt", "abs", "sgn", "expm1", "log1p", "tanh", "sigmoid",
)  # fmt: skip
(
    COLUMN, SCALAR, LOG_PROB, WHERE,
    ADD, SUB, MUL, DIV, MINIMUM, MAXIMUM, POW, GT, GE, EQ, NE,
    EXP, LOG, SQRT, ABS, SGN, EXPM1, LOG1P, TANH, SIGMOID,
) = range(len(OPERATIONS))  # fmt: skip
BLOCK = 256  # rows at a time: their registers stay in the cache


@kernel(inner=True)
def apply_arithmetic(op, x, y, out):
    """out = x op y, entry by entry, for the operations of two registers.

    Comparisons give 1 or 0. Of two numbers of which one is NaN, minimum and maximum are NaN.
    """
    n = out.shape[0]
    if op == ADD:
        for i in range(n):
            out[i] = x[i] + y[i]
    elif op == SUB:
        for i in range(n):
            out[i] = x[i] - y[i]
    elif op == MUL:
        for i in range(n):
            out[i] = x[i] * y[i]
    elif op == DIV:
        for i in range(n):
            out[i] = x[i] / y[i]
    elif op == MINIMUM:
        for i in range(n):
            out[i] = x[i] if x[i] < y[i] or x[i] != x[i] else y[i]
    elif op == MAXIMUM:
        for i in range(n):
            out[i] = x[i] if x[i] > y[i] or x[i] != x[i] else y[i]
    elif op == GT:
        for i in range(n):
            out[i] = ONE if x[i] > y[i] else ZERO
    elif op == GE:
        for i in range(n):
            out[i] = ONE if x[i] >= y[i] else ZERO
    elif op == EQ:
        for i in range(n):
            out[i] = ONE if x[i] == y[i] else ZERO
    elif op == NE:
        for i in range(n):
            out[i] = ONE if x[i] != y[i] else ZERO
    else:
        for i in range(n):
            out[i] = x[i] ** y[i]


@kernel(inner=True)
def apply_function(op, x):
    """op(x) of one number, for the operations of one register: the library's functions do not vectorise."""
    if op == EXP:
        return math.exp(x)
    if op == LOG:
        return math.log(x)
    if op == SQRT:
        return math.sqrt(x)
    if op == ABS:
        return abs(x)
    if op == SGN:
        return ONE if x > ZERO else (-ONE if x < ZERO else ZERO * x)
    if op == EXPM1:
        return math.expm1(x)
    if op == LOG1P:
        return math.log1p(x)
    if op == TANH:
        return math.tanh(x)
    return ONE / (ONE + math.exp(-x))


@kernel()
def run_program(program, scalars, table, index, log_prob, registers, out):
    """Run the program on the rows ``index`` [B] of ``table`` [columns, rows]; its result is ``out`` [B].

    ``scalars`` [S], ``log_prob`` [B]; ``registers`` [n, BLOCK] are overwritten.
    """
    for start in range(0, index.shape[0], BLOCK):
        n = min(BLOCK, index.shape[0] - start)
        to = 0
        for line in range(program.shape[0]):
            op, to = program[line, 0], program[line, 1]
            a, b, c = program[line, 2], program[line, 3], program[line, 4]
            target = registers[to, :n]
            if op == COLUMN:
                for i in range(n):
                    target[i] = table[a, index[start + i]]
            elif op == SCALAR:
                for i in range(n):
                    target[i] = scalars[a]
            elif op == LOG_PROB:
                for i in range(n):
                    target[i] = log_prob[start + i]
            elif op == WHERE:
                test, yes, no = registers[a, :n], registers[b, :n], registers[c, :n]
                for i in range(n):
                    target[i] = yes[i] if test[i] != ZERO else no[i]
            elif op >= EXP:
                for i in range(n):
                    target[i] = apply_function(op, registers[a, i])
            else:
                apply_arithmetic(op, registers[a, :n], registers[b, :n], target)
        for i in range(n):
            out[start + i] = registers[to, i]


def format_program(program: np.ndarray, scalars: list[str], columns: list[str]) -> str:
    """The program's instructions as lines to read."""
    lines = []
    for op, to, a, b, c in program.tolist():
        name = OPERATIONS[op]
        match name:
            case "column":
                value = columns[a]
            case "scalar":
                value = scalars[a]
            case "log_prob":
                value = "log π(a|s)"
            case "where":
                value = f"where(r{a}, r{b}, r{c})"
            case _ if op >= EXP:
                value = f"{name}(r{a})"
            case _:
                value = f"{name}(r{a}, r{b})"
        lines.append(f"r{to} = {value}")
    return "\n".join(lines)
