"""The compiled twin of ``pgrun.policies.mlp.Mlp``: the same network on the same θ, each product one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pgrun.kernels import mlp as mlp_kernels
from pgrun.kernels.arrays import is_plain, to_rows
from pgrun.policies.mlp import Factors, Mlp

if TYPE_CHECKING:
    from torch import Tensor

ACTIVATION = {"tanh": mlp_kernels.TANH, "relu": mlp_kernels.RELU}


class FlatLayers(list[Any]):
    """The layers' views of θ, and θ itself as the kernels take it; None where they cannot."""

    flat: np.ndarray | None = None


class Activations(list["Tensor"]):
    """[x, h₁, …, y] of rows, and the array that holds them all but x."""

    flat: np.ndarray | None = None


class CompiledMlp(Mlp):
    """An ``Mlp`` whose passes are one kernel call each.

    Where tensors are not float32 on the CPU (the float64 twin of a line search), or differentiated by torch,
    it is ``Mlp`` itself. Every result is newly allocated: whoever holds one may keep it.
    """

    def __init__(self, net: Mlp):
        sizes = [net.inputs, *(out for out, _ in net.shapes)]
        super().__init__(sizes, net.activation, net.free, net.bias)
        self.sizes = np.array(sizes, np.int64)
        self.code, self.outputs = ACTIVATION[net.activation], sum(sizes[1:])

    def layers(self, theta: Tensor) -> tuple[Any, Tensor]:
        views, free = super().layers(theta)
        layers = FlatLayers(views)
        if is_plain(theta) and theta.is_contiguous():
            layers.flat = theta.numpy()
        return layers, free

    def pack_net(self, theta: np.ndarray) -> tuple[Any, ...]:
        """The kernels' ``net``: (θ, sizes, activation, bias)."""
        return theta, self.sizes, self.code, self.bias

    def activations(self, layers: Any, free: Tensor, x: Tensor) -> list[Tensor]:
        flat = getattr(layers, "flat", None)
        if flat is None or not is_plain(x) or not x.numel():
            return super().activations(layers, free, x)
        rows = to_rows(x)
        held = np.empty(len(rows) * self.outputs, np.float32)
        mlp_kernels.fill_activations(self.pack_net(flat), rows, held)
        kept = Activations([x])
        kept.flat = held
        at = 0
        for out, _ in self.shapes:
            size = len(rows) * out
            kept.append(torch.from_numpy(held[at : at + size]).view(*x.shape[:-1], out))
            at += size
        y = kept[-1]  # a copy goes out, so that who keeps the outputs does not keep all activations
        kept[-1] = torch.cat([y, free.expand(*x.shape[:-1], self.free)], -1) if self.free else y.clone()
        return kept

    def linear_delta(self, delta: Tensor) -> np.ndarray:
        """∂L/∂y of the outputs that a layer makes, in the last part of an array for all layers' δ."""
        last = self.shapes[-1][0]
        deltas = np.empty(len(delta) * self.outputs, np.float32)
        deltas[len(deltas) - len(delta) * last :].reshape(-1, last)[:] = delta.numpy()[:, :last]
        return deltas

    def gradient(self, layers: Any, kept: list[Tensor], delta: Tensor) -> Tensor:
        flat, held = getattr(layers, "flat", None), getattr(kept, "flat", None)
        if flat is None or held is None or not is_plain(delta) or kept[0].dim() != 2:
            return super().gradient(layers, kept, delta)
        gradient = np.empty(self.size, np.float32)
        mlp_kernels.backpropagate_rows(
            self.pack_net(flat), to_rows(kept[0]), held, self.linear_delta(delta), gradient
        )
        if self.free:
            gradient[self.size - self.free :] = delta.numpy()[:, self.shapes[-1][0] :].sum(0)
        return torch.from_numpy(gradient)

    def backpropagate(self, layers: Any, kept: list[Tensor], delta: Tensor) -> Factors:
        flat, held = getattr(layers, "flat", None), getattr(kept, "flat", None)
        if flat is None or held is None or not is_plain(delta) or kept[0].dim() != 2:
            return super().backpropagate(layers, kept, delta)
        deltas = self.linear_delta(delta)
        mlp_kernels.fill_deltas(self.pack_net(flat), len(delta), held, deltas)
        back, at = [], 0
        for out, _ in self.shapes:
            size = len(delta) * out
            back.append(torch.from_numpy(deltas[at : at + size]).view(-1, out))
            at += size
        return Factors(back, kept[:-1], delta[:, self.shapes[-1][0] :], self.bias)

    def tangent(self, change: tuple[Any, Tensor], layers: Any, kept: list[Tensor]) -> Tensor:
        flat, held = getattr(layers, "flat", None), getattr(kept, "flat", None)
        step = getattr(change[0], "flat", None)
        if flat is None or held is None or step is None or kept[0].dim() != 2:
            return super().tangent(change, layers, kept)
        rows, last = len(kept[0]), self.shapes[-1][0]
        moved = np.empty(rows * self.outputs, np.float32)
        spare = np.empty(rows * max(out for out, _ in self.shapes), np.float32)
        mlp_kernels.fill_tangent(self.pack_net(flat), step, to_rows(kept[0]), held, moved, spare)
        out = torch.from_numpy(moved[len(moved) - rows * last :]).view(rows, last)
        return torch.cat([out, change[1].expand(rows, -1)], 1) if self.free else out
