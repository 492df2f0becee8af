"""Functions of torch that round by the processor, which with ``PGRUN_PORTABLE=1`` are NumPy's.

On x86-64 CPUs torch takes √ and the logarithm from MKL's vector library. ``MKL_CBWR=COMPATIBLE`` leaves one
code of it, in which a root still begins with the processor's own approximation of 1/√x and ends beside the
nearest number: one in five of float32 on an AMD EPYC. A logarithm in float64 does so once in some 20 000.
NumPy's √ is the instruction, of which IEEE 754 leaves one result; its logarithm is the C library's. The other
functions are the same under other approximations (``tests/campaigns/processors.py`` looks), but for atan,
asin, acos, tan and log2, which no update takes.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pgrun.terminal.libraries import is_portable

if TYPE_CHECKING:
    from torch import Tensor

KEPT: list[Any] = []  # while it lives its functions are torch's


def set_torch_up(threads: int) -> None:
    """The threads of torch's own operations, and with ``PGRUN_PORTABLE=1`` the functions of this module."""
    torch.set_num_threads(threads)
    if is_portable():
        replace_functions()


@cache
def replace_functions() -> None:
    """Once, for this process."""
    make: Any = torch.library.Library
    library = make("aten", "IMPL")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that they are replaced
        library.impl("sqrt", take_root, "CPU", allow_override=True)
        library.impl("log", take_logarithm, "CPU", allow_override=True)
    KEPT.append(library)


def take_root(x: Tensor) -> Tensor:
    """√x, correctly rounded."""
    if x.dtype not in (torch.float32, torch.float64):
        return call_unchanged(torch.ops.aten.sqrt.out, x)
    with np.errstate(invalid="ignore"):
        return torch.from_numpy(np.asarray(np.sqrt(x.detach().numpy())))


def take_logarithm(x: Tensor) -> Tensor:
    """log x, in float64 the C library's."""
    if x.dtype != torch.float64:
        return call_unchanged(torch.ops.aten.log.out, x)
    with np.errstate(divide="ignore", invalid="ignore"):
        return torch.from_numpy(np.asarray(np.log(x.detach().numpy())))


def call_unchanged(function: Any, x: Tensor) -> Tensor:
    """torch's own function of x, by the variant that writes where it is told: that one is not replaced."""
    own = x.is_floating_point() or x.is_complex()  # of integers it is a number all the same
    result: Tensor = function(x, out=torch.empty_like(x, dtype=x.dtype if own else torch.get_default_dtype()))
    return result
