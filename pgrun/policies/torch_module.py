"""Any torch module where an ``Mlp`` could stand: the same products, by torch.func instead of closed forms.

Slower (a graph is built for every call), and general: convolutions, attention, whatever maps [B, D] to [B,
outputs] row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp, vjp, vmap

from pgrun.config.own_code import describe_value, refuse_returned
from pgrun.errors import join_lines

Named = dict[str, Tensor]


@dataclass(frozen=True)
class Rows:
    """The score of each of K rows, written out: [K, P]. Answers what ``nets.Factors`` does."""

    score: Tensor

    def sums(self, weight: Tensor, units: int) -> Tensor:
        return (self.score * weight[:, None]).view(units, -1, self.score.shape[1]).sum(1)

    def units(self, units: int, keep: Tensor) -> Rows:
        return Rows(self.score.view(units, -1, self.score.shape[1])[keep].flatten(0, 1))

    def transposed(self, units: int) -> Rows:
        return Rows(self.score.view(units, -1, self.score.shape[1]).transpose(0, 1).flatten(0, 1))

    def dots(self, vectors: Tensor) -> Tensor:
        return torch.einsum(
            "ukp,up->uk", self.score.view(len(vectors), -1, vectors.shape[1]), vectors
        ).flatten()

    def squared_norms(self) -> Tensor:
        return self.score.square().sum(1)


class TorchModuleNet:
    """y = f_θ(x) of the module that ``make`` makes, on one flat θ; ``free`` more
    outputs are parameters that see no input.

    The module must be without buffers and treat rows apart (no batch normalisation).
    """

    def __init__(self, make: Callable[[], nn.Module], inputs: int, free: int = 0):
        self.make, self.inputs, self.free = make, inputs, free
        self.module = make()
        if any(True for _ in self.module.buffers()):
            raise ValueError(f"{type(self.module).__name__} has buffers, which no parameter vector θ holds")
        self.names = {name: x.shape for name, x in self.module.named_parameters()}
        self.size = sum(x.numel() for x in self.module.parameters()) + free

    def layers(self, theta: Tensor) -> tuple[Named, Tensor]:
        """Views of θ [P]: the module's parameters by name, and the free outputs [F]."""
        parameters, at = {}, 0
        for name, shape in self.names.items():
            parameters[name] = theta[at : at + shape.numel()].view(shape)
            at += shape.numel()
        return parameters, theta[at:]

    def groups(self) -> dict[str, int]:
        sizes = {name: shape.numel() for name, shape in self.names.items()}
        return sizes | ({"log_std": self.free} if self.free else {})

    def init(self, scheme: str, gains: Sequence[float], free: float, generator: torch.Generator) -> Tensor:
        """θ as the module initialises itself, from a seed of the generator;
        ``scheme`` and ``gains`` belong to ``Mlp``.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
            fresh = self.make()
        parts = [x.detach().flatten() for x in fresh.parameters()]
        return torch.cat([*parts, torch.full((self.free,), free)]).double()

    def outputs(self, parameters: Named, free: Tensor, x: Tensor) -> Tensor:
        """[..., D] → [..., out + F]"""
        y = functional_call(self.module, parameters, (x.flatten(0, -2),)).view(*x.shape[:-1], -1)
        return torch.cat([y, free.expand(*y.shape[:-1], self.free)], -1) if self.free else y

    def activations(self, layers: Any, free: Tensor, x: Tensor) -> list[Tensor]:
        """[x, y]: what the products below need."""
        return [x, self.outputs(layers, free, x)]

    def of_theta(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda theta: self.outputs(*self.layers(theta), x)

    def backpropagate(self, layers: Any, kept: list[Tensor], delta: Tensor) -> Rows:
        """Each row's gradient δᵀ∂y/∂θ, by vmap over rows, from δ = ∂L/∂y [K, out + F]."""
        theta = self.flat(layers, kept[1])

        def one(x: Tensor, d: Tensor) -> Tensor:
            gradient: Tensor = vjp(self.of_theta(x[None]), theta)[1](d[None])[0]
            return gradient

        return Rows(vmap(one)(kept[0], delta))

    def gradient(self, layers: Any, kept: list[Tensor], delta: Tensor) -> Tensor:
        """∂L/∂θ [P] from δ = ∂L/∂y [B, out + F]."""
        gradient: Tensor = vjp(self.of_theta(kept[0]), self.flat(layers, kept[1]))[1](delta)[0]
        return gradient

    def tangent(self, change: tuple[Any, Tensor], layers: Any, kept: list[Tensor]) -> Tensor:
        """(∂y/∂θ)v [B, out + F] along v = ``change``."""
        v = torch.cat([*(x.flatten() for x in change[0].values()), change[1]])
        along: Tensor = jvp(self.of_theta(kept[0]), (self.flat(layers, kept[1]),), (v,))[1]
        return along

    def flat(self, layers: Any, y: Tensor) -> Tensor:
        """θ from its views; the free outputs stand at the end of every row of y."""
        free = y.reshape(-1, y.shape[-1])[0, y.shape[-1] - self.free :]
        return torch.cat([*(x.flatten() for x in layers.values()), free])


def check_own_net(method: Callable[..., Any], net: Any, inputs: int, outputs: int) -> None:
    """Refuse what is no ``TorchModuleNet``, or gives anything but [2, outputs] for two rows of zeros."""
    if not isinstance(net, TorchModuleNet):
        raise refuse_returned(method, describe_value(net), f"inputs = {inputs}, outputs = {outputs}")
    rows = torch.zeros(2, inputs)
    try:
        with torch.random.fork_rng(devices=[]):  # what a module draws here is no draw of the run's
            given = describe_value(net.module(rows))
    except Exception as error:  # of the user's module: the sizes of its layers
        given = f"{type(error).__name__}: {join_lines(error)}"
    if given != describe_value(rows.new_zeros(2, outputs)):
        needed = f"a tensor {[2, outputs]} for a tensor {[2, inputs]}"
        raise refuse_returned(method, f"a module that gives {given} for a tensor {[2, inputs]}", needed)
