"""Notes torch's operations on example rows, as nodes that the tracing makes a program of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    from torch import Tensor


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


class NotByRow(Exception):
    """What a program of operations on rows cannot say."""


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
