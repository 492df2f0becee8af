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
from torch.utils._python_dispatch import TorchDispatchMode

from pgrun.kernels.minibatch import COLUMNS
from pgrun.kernels.row_programs import OPERATIONS, format_program
from pgrun.types import Batch

if TYPE_CHECKING:
    from torch import Tensor

    from pgrun.algorithms.base import Algorithm

SHAPES = ((2, 5), (3, 7))  # of the example batches: what depends on the size of a batch differs between them
CODE = {name: code for code, name in enumerate(OPERATIONS)}
BINARY = {
    "add": "add", "sub": "sub", "mul": "mul", "div": "div", "pow": "pow",
    "minimum": "minimum", "maximum": "maximum",
    "gt": "gt", "ge": "ge", "eq": "eq", "ne": "ne",
}  # fmt: skip
LOGIC = {
    "bitwise_and": "mul",
    "logical_and": "mul",
    "bitwise_or": "maximum",
    "logical_or": "maximum",
}  # of 1 and 0
REVERSED = {"rsub": "sub", "lt": "gt", "le": "ge"}  # the second argument first
UNARY = {
    "exp": "exp", "log": "log", "sqrt": "sqrt", "abs": "abs", "sgn": "sgn", "sign": "sgn", "expm1": "expm1",
    "log1p": "log1p", "tanh": "tanh", "sigmoid": "sigmoid",
}  # fmt: skip
ON_CONSTANT = {
    "neg": ("sub", 0),
    "reciprocal": ("div", 1),
    "bitwise_not": ("eq", 0),
    "logical_not": ("eq", 0),
}
SAME = (
    "detach",
    "alias",
    "clone",
    "view",
    "_unsafe_view",
    "reshape",
    "expand",
    "squeeze",
    "unsqueeze",
    "lift_fresh_copy",
)
ZEROS, ONES = ("zeros_like", "new_zeros", "zeros"), ("ones_like", "new_ones", "ones")
FILLED = {
    "scalar_tensor": 0,
    "full": 1,
    "full_like": 1,
    "new_full": 2,
}  # where the number stands among the arguments
OWN_COLUMNS = ("log_prob", "psi", "mask", "value", "target")


class NotByRow(Exception):
    """What a program of operations on rows cannot say."""


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
    return tape.make_program(weight, seen)


def make_example_rows(rows: int, offset: float) -> Tensor:
    """``rows`` numbers that are all different, around −0.5: only what is computed with them counts."""
    return torch.linspace(-1 + offset, offset, rows)


class Tape(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes torch's operations. A node is (operation, arguments): of nodes before it, by number."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # to do so, torch would import its compiler: two seconds

    def __init__(self, rows: int):
        super().__init__()  # type: ignore[no-untyped-call]
        self.rows = rows
        self.nodes: list[tuple[Any, ...]] = []
        self.node_of: dict[int, int] = {}
        self.alive: list[Tensor] = []  # so that no other tensor gets the id of one that is noted
        self.storages: dict[int, set[int]] = {}
        self.scalars: list[str | None] = ["count"]
        self.choices: dict[str, Any] = {}

    def enter_tensor(self, x: Tensor, node: tuple[Any, ...]) -> Tensor:
        """Note a tensor that was not computed."""
        self.bind_tensor(x, node)
        return x

    def bind_tensor(self, x: Tensor, node: tuple[Any, ...]) -> None:
        """Note a node, and that this tensor is its value."""
        self.nodes.append(node)
        self.node_of[id(x)] = len(self.nodes) - 1
        self.alive.append(x)
        self.storages.setdefault(x.untyped_storage().data_ptr(), set()).add(id(x))

    def enter_scalar(self, name: str, x: Tensor) -> Tensor:
        """Note a number of the algorithm's own, when it is first read."""
        if name not in self.scalars:
            self.scalars.append(name)
        return x if id(x) in self.node_of else self.enter_tensor(x, ("scalar", name))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        node = self.note_operation(name, args, kwargs)
        out = func(*args, **kwargs)
        if not isinstance(out, torch.Tensor):
            raise NotByRow(f"{name} gives no tensor")
        if out.dtype not in (torch.float32, torch.bool):
            raise NotByRow(f"{name} computes in {out.dtype}")
        if name.endswith("_") and self.storages[out.untyped_storage().data_ptr()] - {id(out)}:
            raise NotByRow(f"{name} changes what others see")
        self.bind_tensor(out, node)
        return out

    def note_operation(self, name: str, args: Any, kwargs: Any) -> tuple[Any, ...]:
        """The node of an operation of torch's. Raises ``NotByRow`` for those that no program can say."""
        op = name.rstrip("_")
        if op in SAME:
            return ("same", self.find_operand(args[0]))
        if op in ZEROS or op in ONES:
            return ("constant", float(op in ONES))
        if op in FILLED:
            return ("constant", float(args[FILLED[op]]))
        if op == "where":
            return ("where", *map(self.find_operand, args))
        if op == "masked_fill":
            return (
                "where",
                self.find_operand(args[1]),
                self.find_operand(args[2]),
                self.find_operand(args[0]),
            )
        if op in ("clamp", "clamp_min", "clamp_max"):
            return self.note_clamp(op, args, kwargs)
        if op in REVERSED:
            return self.note_arithmetic(REVERSED[op], args[1::-1] + args[2:], kwargs)
        if op in BINARY:
            return self.note_arithmetic(BINARY[op], args, kwargs)
        if op in LOGIC:
            return self.note_logic(op, args)
        if op in ("sigmoid_backward", "tanh_backward"):
            return self.note_slope(op, *map(self.find_operand, args))
        if op == "relu":
            return ("maximum", self.find_operand(args[0]), self.find_operand(0))
        if op == "threshold_backward":
            passes = self.append_node("gt", self.find_operand(args[1]), self.find_operand(args[2]))
            return ("where", passes, self.find_operand(args[0]), self.find_operand(0))
        if op in ON_CONSTANT:
            code, number = ON_CONSTANT[op]
            return (code, self.find_operand(number), self.find_operand(args[0]))
        if op in UNARY:
            return (UNARY[op], self.find_operand(args[0]))
        if op == "sum" and len(args) == 1:
            return ("sum",)
        raise NotByRow(op)

    def note_arithmetic(self, op: str, args: Any, kwargs: Any) -> tuple[Any, ...]:
        """The node of an operation on two numbers; x² is x·x."""
        if kwargs.get("alpha", 1) != 1 or kwargs.get("rounding_mode") is not None or len(args) != 2:
            raise NotByRow(f"{op} with {kwargs or args[2:]}")
        if op == "pow" and args[1] == 2:
            return ("mul", self.find_operand(args[0]), self.find_operand(args[0]))
        return (op, self.find_operand(args[0]), self.find_operand(args[1]))

    def note_slope(self, op: str, grad: int, y: int) -> tuple[Any, ...]:
        """The node of ∂L/∂x from ∂L/∂y: y(1 − y) or 1 − y² times it."""
        one = self.find_operand(1)
        if op == "tanh_backward":
            factor = self.append_node("sub", one, self.append_node("mul", y, y))
        else:
            factor = self.append_node("mul", y, self.append_node("sub", one, y))
        return ("mul", grad, factor)

    def note_logic(self, op: str, args: Any) -> tuple[Any, ...]:
        """The node of and, or: the product or the maximum of 1 and 0."""
        if any(x.dtype != torch.bool for x in args):
            raise NotByRow(f"{op} of numbers")
        return (LOGIC[op], *map(self.find_operand, args))

    def note_clamp(self, op: str, args: Any, kwargs: Any) -> tuple[Any, ...]:
        """The node of a clamp: a maximum, then a minimum."""
        low = args[1] if op != "clamp_max" and len(args) > 1 else kwargs.get("min")
        high = args[-1] if op == "clamp_max" or len(args) > 2 else kwargs.get("max")
        x = self.find_operand(args[0])
        if low is not None:
            x = self.append_node("maximum", x, self.find_operand(low))
        if high is not None:
            x = self.append_node("minimum", x, self.find_operand(high))
        return ("same", x)

    def append_node(self, *node: Any) -> int:
        """Note a node that no tensor stands for; its number."""
        self.nodes.append(node)
        return len(self.nodes) - 1

    def find_operand(self, x: Any) -> int:
        """The number of an argument's node: noted before, or a constant."""
        if isinstance(x, torch.Tensor):
            if id(x) not in self.node_of:
                raise NotByRow("a tensor that is neither the batch's nor computed from it")
            if x.dim() and x.numel() != self.rows:
                raise NotByRow(f"a tensor of shape {tuple(x.shape)}")
            return self.node_of[id(x)]
        if isinstance(x, int | float):
            return self.append_node("constant", float(x))
        raise NotByRow(f"an argument {type(x).__name__}")

    def make_program(self, weight: Any, seen: Any) -> TracedWeight:
        """The program of what ``weight`` depends on."""
        if not isinstance(weight, torch.Tensor) or weight.numel() != self.rows:
            raise NotByRow("the weight is not one number a row")
        return Assembly(self).assemble(self.find_operand(weight))


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
