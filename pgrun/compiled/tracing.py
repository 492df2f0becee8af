"""From an algorithm's torch functions to a program of operations on rows.

``gradient_weight`` is run on example rows and every operation that torch carries out is noted, those of
automatic differentiation too; what the result depends on becomes the program. So the formula that is read is
the formula that runs, be it a closed form or the surrogate's derivative. Numbers of the algorithm's own that
it reads (ε, β, the divisor) become arguments, since they may change during a run. Whatever is not a function
of each row apart is ``NotByRow``.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from pgrun.compiled.tape import NotByRow, Tape
from pgrun.kernels.minibatch import COLUMNS
from pgrun.kernels.row_programs import OPERATIONS, format_program
from pgrun.types import Batch

if TYPE_CHECKING:
    from torch import Tensor

    from pgrun.algorithms.base import Algorithm

SHAPES = ((2, 5), (3, 7))  # of the example batches: what depends on the size of a batch differs between them
CODE = {name: code for code, name in enumerate(OPERATIONS)}
OWN_COLUMNS = ("log_prob", "psi", "mask", "value", "target")


@dataclass(frozen=True)
class TracedWeight:
    """An algorithm's weight as a program, and what its arguments mean.

    ``scalars`` are numbers of the algorithm by name; those that are None are in ``constants``.
    """

    program: np.ndarray  # [n, 5]
    registers: int
    columns: tuple[str, ...]  # rows of the table; those beyond the fixed ones are in ``extra``
    scalars: tuple[str | None, ...]  # the first is the divisor
    constants: np.ndarray  # [S]  float64, 0 where a scalar is read anew
    choices: Mapping[str, Any]  # words and switches that were read: other ones make another program

    def fits(self, algorithm: Algorithm) -> bool:
        """Whether the algorithm would still be traced to this."""
        return all(getattr(algorithm, name) == value for name, value in self.choices.items())

    def fill_scalars(self, algorithm: Algorithm, into: np.ndarray) -> None:
        """Write the algorithm's present numbers into ``into`` [S], all but the divisor, the first."""
        into[:] = self.constants
        for k, name in enumerate(self.scalars[1:], 1):
            if name is not None:
                into[k] = getattr(algorithm, name)

    def __str__(self) -> str:
        names = [name or f"{x:g}" for name, x in zip(self.scalars, self.constants, strict=True)]
        return format_program(self.program, names, list(self.columns))


def trace_gradient_weight(algorithm: Algorithm, extra: Mapping[str, Tensor]) -> TracedWeight:
    """``algorithm.gradient_weight`` as a program. Raises ``NotByRow`` where there is none.

    ``extra``: columns of the algorithm's own.
    """
    with torch.random.fork_rng(devices=[]):  # whatever is drawn while tracing is no draw of the run's
        first, second = (trace_on_examples(algorithm, extra, shape) for shape in SHAPES)
    if str(first) != str(second):
        raise NotByRow("the size of the batch has a part in it")
    return first


def trace_on_examples(
    algorithm: Algorithm, extra: Mapping[str, Tensor], shape: tuple[int, int]
) -> TracedWeight:
    """``algorithm.gradient_weight`` as a program, from one run of it on ``shape`` = (T, N) example rows."""
    rows = shape[0] * shape[1]
    tape = Tape(rows)
    batch = ExampleBatch(tape, shape, extra)
    seen = watch_reads(algorithm, tape)
    log_prob = tape.enter_tensor(make_example_rows(rows, 0.1), ("log_prob",))
    try:
        with tape:
            weight = type(seen).gradient_weight(seen, log_prob, cast(Batch, batch))
    except NotByRow:
        raise
    except Exception as error:  # of the user's code on examples: the run itself will tell
        raise NotByRow(f"{type(error).__name__}: {error}") from error
    if not isinstance(weight, torch.Tensor) or weight.numel() != rows:
        raise NotByRow("the weight is not one number a row")
    return Assembly(tape).assemble(tape.find_operand(weight))


def make_example_rows(rows: int, offset: float) -> Tensor:
    """``rows`` numbers that are all different, around −0.5: only what is computed with them counts."""
    return torch.linspace(-1 + offset, offset, rows)


class Assembly:
    """Nodes into instructions, each value in a register of its own."""

    def __init__(self, tape: Tape):
        self.tape = tape
        self.lines: list[tuple[int, ...]] = []
        self.register: dict[Any, int] = {}
        self.columns = list(COLUMNS)
        self.scalars: list[str | None] = list(tape.scalars)
        self.constants = [0.0] * len(self.scalars)

    def assemble(self, result: int) -> TracedWeight:
        """The program whose last instruction is node ``result``."""
        self.place_value(result)
        last = self.register[self.identify_value(result)]
        if self.lines[-1][1] != last:  # the result is an argument that was loaded before
            raise NotByRow("nothing is computed")
        return TracedWeight(
            np.array(self.lines, np.int64).reshape(-1, 5),
            len(self.lines),
            tuple(self.columns),
            tuple(self.scalars),
            np.array(self.constants),
            dict(self.tape.choices),
        )

    def identify_value(self, k: int) -> Any:
        """What identifies a node's value: equal constants and arguments are one."""
        node = self.tape.nodes[k]
        while node[0] == "same":
            k, node = node[1], self.tape.nodes[node[1]]
        return node if node[0] in ("constant", "scalar", "column", "log_prob") else k

    def place_value(self, k: int) -> int:
        """The register of node k's value, computed first if need be."""
        key = self.identify_value(k)
        if key in self.register:
            return self.register[key]
        name, *args = key if isinstance(key, tuple) else self.tape.nodes[key]
        match name:
            case "constant" | "scalar":
                operands = [self.number_scalar(name, args[0])]
                name = "scalar"
            case "column":
                operands = [self.number_column(args[0])]
            case "log_prob":
                operands = []
            case "sum":
                raise NotByRow("a sum over rows")
            case _:
                operands = [self.place_value(x) for x in args]
        self.register[key] = len(self.lines)
        self.lines.append((CODE[name], len(self.lines), *operands, *[0] * (3 - len(operands))))
        return self.register[key]

    def number_scalar(self, kind: str, value: Any) -> int:
        """The place of a number of the algorithm, or of a constant, among the scalars."""
        if kind == "scalar":
            return self.scalars.index(value)
        self.scalars.append(None)
        self.constants.append(value)
        return len(self.scalars) - 1

    def number_column(self, name: str) -> int:
        """The row of a column of the batch in the table."""
        if name not in self.columns:
            self.columns.append(name)
        return self.columns.index(name)


class ExampleBatch:
    """What a surrogate may read of a batch: columns, the divisor, the shape."""

    def __init__(self, tape: Tape, shape: tuple[int, int], extra: Mapping[str, Tensor]):
        self.shape = shape
        self._tape, self._extra = tape, extra
        self._count = torch.tensor(2.0)  # all made before the tape runs
        names = [*OWN_COLUMNS, *(f"extra.{name}" for name in extra)]
        self._made = {name: make_example_rows(tape.rows, 0.07 * k) for k, name in enumerate(names, 2)}

    @property
    def count(self) -> Tensor:
        return self._tape.enter_scalar("count", self._count)

    @property
    def extra(self) -> Mapping[str, Tensor]:
        return ExampleExtra(self)

    def __getattr__(self, name: str) -> Any:
        if name not in OWN_COLUMNS:
            known = name in {f.name for f in fields(Batch)}
            raise NotByRow(f"batch.{name}") if known else AttributeError(name)
        return self._column(name)

    def _column(self, name: str) -> Tensor:
        x = self._made[name]
        return x if id(x) in self._tape.node_of else self._tape.enter_tensor(x, ("column", name))

    def _extra_column(self, name: str) -> Tensor:
        x = self._extra[name]
        if x.dtype != torch.float32 or x.dim() != 1:
            raise NotByRow(f"batch.extra[{name!r}] of {x.dtype}, {tuple(x.shape)}")
        return self._column(f"extra.{name}")


class ExampleExtra(Mapping[str, "Tensor"]):
    """``batch.extra`` of an ``ExampleBatch``: columns are noted when they are read."""

    def __init__(self, batch: ExampleBatch):
        self.batch = batch

    def __getitem__(self, name: str) -> Tensor:
        return self.batch._extra_column(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.batch._extra)

    def __len__(self) -> int:
        return len(self.batch._extra)


def watch_reads(algorithm: Algorithm, tape: Tape) -> Algorithm:
    """A copy of the algorithm whose numbers are noted when they are read.

    Nothing may be written to it.
    """
    kind = type(algorithm)
    seen = copy.copy(algorithm)
    own = dict(vars(seen))
    numbers = {name: torch.tensor(float(x)) for name, x in own.items() if isinstance(x, int | float)}

    def read(self: Any, name: str) -> Any:
        if name not in own:
            return refuse_state(name, kind, object.__getattribute__(self, name))
        value = own[name]
        if value is None or isinstance(value, bool | str):
            tape.choices[name] = value
            return value
        if not isinstance(value, int | float):
            raise NotByRow(f"{name} of the algorithm is a {type(value).__name__}")
        return tape.enter_scalar(name, numbers[name])

    def write(self: Any, name: str, value: Any) -> None:
        raise NotByRow(f"it sets {name}")

    seen.__class__ = type(kind.__name__, (kind,), {"__getattribute__": read, "__setattr__": write})
    return seen


def refuse_state(name: str, kind: type, value: Any) -> Any:
    """``value``, if a class may hold it for its methods to read: a function or a constant.

    Raises ``NotByRow`` for anything else.
    """
    if callable(value) or name.startswith("__"):
        return value
    in_class = isinstance(getattr(kind, name, None), property) or isinstance(
        value, bool | str | int | float | torch.Tensor | None
    )
    if not in_class:
        raise NotByRow(f"{name} of the class is a {type(value).__name__}")
    return value
