"""A CUDA device where there is none: torch's fake tensors say where each result is and what may meet, and a
twin on the CPU holds the numbers.

``FakeTensorMode`` alone knows no values, and an update asks for some, in a line search for one. So every
operation is carried out twice: on fake tensors, which raise where devices are mixed, and on the twins.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorDeviceMismatchError,
    FakeTensorMode,
    unset_fake_temporarily,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from pgrun.config import random_streams

PACKAGE = str(Path(__file__).resolve().parents[2] / "pgrun")
CUDA = torch.device("cuda", 0)
aten: Any = torch.ops.aten
MIXES = (aten._to_copy.default, aten.copy_.default, aten.index.Tensor, aten.index_put_.default)
SOLVERS = ("linalg_eigh", "linalg_pinv", "linalg_solve", "linalg_inv")
PLACES: dict[Any, Any] = {}  # by case
ASKS: Any = object()  # numbers decide what comes out: the host has to see them


class CudaTensor(torch.Tensor):
    """Says that it is on CUDA; autograd is told ``meta``, since it would call CUDA's own code."""

    twin: torch.Tensor

    @staticmethod
    def of(twin: torch.Tensor) -> CudaTensor:
        layout = {"strides": twin.stride(), "storage_offset": twin.storage_offset(), "dtype": twin.dtype}
        made = torch.Tensor._make_wrapper_subclass(CudaTensor, twin.shape, device="meta", **layout)
        made.twin = twin
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return CUDA

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"CudaTensor({self.twin})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} on a fake tensor, outside of FakeCuda")


class CudaGenerator(torch.Generator):
    """A generator of the CPU that says it is CUDA's."""

    device = CUDA  # type: ignore[assignment]


def make_generator(sequence: np.random.SeedSequence, place: str = "cpu") -> torch.Generator:
    """``random_streams.generator`` with the stand-in for CUDA's."""
    kind = CudaGenerator if torch.device(place).type == "cuda" else torch.Generator
    return kind().manual_seed(int(sequence.generate_state(1, np.uint64)[0]) >> 1)


class FakeCuda(TorchDispatchMode):
    """Inside it ``device="cuda"`` works, and mixing devices raises ``FakeTensorDeviceMismatchError``.

    ``syncs``: where the host waited for the device, which it does for every number, every shape that hangs
    on numbers and every copy between the two.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fake = FakeTensorMode(allow_non_fake_inputs=True)
        self.syncs: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [*flatten(args), *flatten(kwargs)]
        if not any(isinstance(x, CudaTensor) or is_cuda(x) for x in given):
            with unset_fake_temporarily():
                return func(*args, **kwargs)
        stays, solves = self.find_place(func, given, args, kwargs)
        with unset_fake_temporarily():
            results = func(*map_nested(as_twin, args), **map_nested(as_twin, kwargs))
        if stays is ASKS or solves or crosses(func, given, stays):
            self.note_sync(func)
        return map_nested(partial(pair, given=given), results) if stays else results

    def find_place(self, func: Any, given: list[Any], args: Any, kwargs: Any) -> Any:
        """(Whether the results of an operation are on the device, or ``ASKS`` where numbers decide on them;
        whether it looks at a code of errors on the host).

        The rules look at devices and at which tensors are single numbers, so each case is tried once.
        """
        case = func, *map(describe_argument, given)
        if case not in PLACES:
            args, kwargs = map_nested(self.as_fake, args), map_nested(self.as_fake, kwargs)
            try:
                refuse_mixture(func, given)
                picks = func is aten.index.Tensor and any(is_mask(x) for x in args[1])
                fakes = [] if picks else flatten(func(*args, **kwargs))
                stays = ASKS if picks else "cuda" in map(side_of, fakes)
            except (DataDependentOutputException, DynamicOutputShapeException):
                stays = ASKS
            PLACES[case] = stays, any(name in str(func) for name in SOLVERS)
        return PLACES[case]

    def as_fake(self, x: Any) -> Any:
        """An argument for fake tensors, which know no generators."""
        if isinstance(x, torch.Tensor):
            return aten.empty.memory_format(x.shape, dtype=x.dtype, device=x.device)
        return None if isinstance(x, torch.Generator) else CUDA if is_cuda(x) else x

    def note_sync(self, func: Any) -> None:
        self.syncs.append(f"{find_caller()} ({func})")

    @contextmanager
    def counting(self) -> Iterator[list[str]]:
        """The syncs in between, there at the end."""
        collected: list[str] = []
        before = len(self.syncs)
        yield collected
        collected += self.syncs[before:]

    def __enter__(self) -> FakeCuda:
        self.fake.__enter__()
        self.generator, random_streams.make_generator = random_streams.make_generator, make_generator
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        random_streams.make_generator = self.generator
        self.fake.__exit__(*error)


def is_cuda(x: Any) -> bool:
    """Whether an argument names the device: under its own name, or under that which autograd knows."""
    return isinstance(x, torch.device) and x.type in ("cuda", "meta")


def refuse_mixture(func: Any, given: list[Any]) -> None:
    """Fake tensors do not look into the lists that fused optimizers take."""
    sides = {x.device for x in given if isinstance(x, torch.Tensor) and x.dim()}
    if len(sides) > 1 and func not in MIXES:
        raise FakeTensorDeviceMismatchError(func, *sides)


def is_mask(x: Any) -> bool:
    return x is not None and x.dtype in (torch.bool, torch.uint8)


def side_of(x: Any) -> str:
    """``cuda`` or ``cpu`` of a tensor; nothing of anything else."""
    return x.device.type if isinstance(x, torch.Tensor) else ""


def describe_argument(x: Any) -> Any:
    """What the rules of devices can see of an argument."""
    if isinstance(x, torch.Tensor):
        return x.device.type, x.dim() == 0, is_mask(x)
    return x.type if isinstance(x, torch.device) else type(x)


def crosses(func: Any, given: list[Any], stays: bool) -> bool:
    """Whether it is a copy from one side to the other, for which the host waits.

    ``where`` makes one of a single number that is a tensor of the host.
    """
    if func is aten.where.self:
        return "cpu" in map(side_of, given)
    if func not in (aten._to_copy.default, aten.copy_.default):
        return False
    return len({side_of(x) for x in given if isinstance(x, torch.Tensor)} | {"cuda" if stays else "cpu"}) > 1


def pair(real: Any, given: list[Any]) -> Any:
    """A result as the code under test sees it."""
    if not isinstance(real, torch.Tensor):
        return real
    for x in given:
        if isinstance(x, CudaTensor) and x.twin is real:  # changed in place
            return x
    return CudaTensor.of(real)


def as_twin(x: Any) -> Any:
    """An argument for the CPU."""
    return x.twin if isinstance(x, CudaTensor) else torch.device("cpu") if is_cuda(x) else x


def find_caller() -> str:
    """The function of pgrun that is running: ``optimization/natural_gradient.py: conjugate_gradient``."""
    frame = sys._getframe()
    while frame.f_back and not frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    place = frame.f_code.co_filename.removeprefix(PACKAGE).lstrip("/")
    return f"{place}: {frame.f_code.co_name}"


def numbers_of(x: Any) -> Any:
    """What is nested in x, with the numbers of the device's tensors."""
    return tree_map(lambda y: y.twin if isinstance(y, CudaTensor) else y, x)


def map_nested(change: Callable[[Any], Any], x: Any) -> Any:
    """torch's ``tree_map`` of what operations take and give, at a fifth of its time."""
    if isinstance(x, tuple | list):
        return type(x)([map_nested(change, y) for y in x])
    if isinstance(x, dict):
        return {name: map_nested(change, y) for name, y in x.items()}
    return change(x)


def flatten(x: Any) -> Iterator[Any]:
    """What stands in tuples, lists and dictionaries, one within the other."""
    if isinstance(x, tuple | list | dict):
        for y in x.values() if isinstance(x, dict) else x:
            yield from flatten(y)
    else:
        yield x
