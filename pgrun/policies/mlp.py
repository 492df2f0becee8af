"""Multi-layer perceptrons on one flat parameter vector, differentiated in closed form.

Small networks are bound by the number of operations, not by arithmetic: the closed form does in about a dozen
what automatic differentiation does in several dozen. A row's gradient is the product of what goes in and what
comes back, ∂L/∂W_l = δ_l a_{l−1}ᵀ, so the same two factors yield the gradient of a batch, of every unit of
it, or of any weighted sum of rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch

from pgrun.policies.activations import BACKWARD, BACKWARD_FROM_INPUT, FORWARD

if TYPE_CHECKING:
    from torch import Tensor

    Layers = list[tuple[Tensor, Tensor | None]]  # (W [out, in], b [out] or None), views of θ


class Scores(Protocol):
    """The scores ∇log π(a|s) of K rows, in whatever form."""

    def sums(self, weight: Tensor, units: int) -> Tensor:
        """Σ of weight·score over each of ``units`` equal runs of rows; weight [K] → [units, P]."""

    def units(self, units: int, keep: Tensor) -> Scores:
        """The rows of some of ``units`` equal runs (indices [M'])."""

    def transposed(self, units: int) -> Scores:
        """Rows in the order of time first, from the order of units first."""

    def dots(self, vectors: Tensor) -> Tensor:
        """⟨score of row k, the vector of its unit⟩ [K]; vectors [units, P], rows in equal runs."""

    def squared_norms(self) -> Tensor:
        """‖score of row k‖² [K]."""


class Net(Protocol):
    """A network on one flat θ, with the products that training needs: ``Mlp`` in closed form,
    ``torch_module.TorchModuleNet`` in general.
    """

    inputs: int
    free: int
    size: int

    def layers(self, theta: Tensor) -> tuple[Any, Tensor]:
        """Views of θ [P]: the layers, and the free outputs [F]."""

    def groups(self) -> dict[str, int]:
        """Sizes of the groups of parameters, in their order in θ."""

    def init(self, scheme: str, gains: Sequence[float], free: float, generator: torch.Generator) -> Tensor:
        """A first θ [P], in float64."""

    def activations(self, layers: Any, free: Tensor, x: Tensor) -> list[Tensor]:
        """[x, …, y]: what the products below need, with the outputs y [B, out + F] last."""

    def backpropagate(self, layers: Any, kept: list[Tensor], delta: Tensor) -> Scores:
        """Each row's gradient, from δ = ∂L/∂y [K, out + F]."""

    def tangent(self, change: tuple[Any, Tensor], layers: Any, kept: list[Tensor]) -> Tensor:
        """(∂y/∂θ)v [B, out + F] along v = ``change``."""

    def gradient(self, layers: Any, kept: list[Tensor], delta: Tensor) -> Tensor:
        """∂L/∂θ [P] from δ = ∂L/∂y [B, out + F]."""


class WrappedNet:
    """What a network around another one has of it: its parameters, and what goes in."""

    def __init__(self, net: Net):
        self.net = net
        self.inputs, self.free, self.size = net.inputs, net.free, net.size

    def layers(self, theta: Tensor) -> tuple[Any, Tensor]:
        return self.net.layers(theta)

    def groups(self) -> dict[str, int]:
        return self.net.groups()

    def init(self, scheme: str, gains: Sequence[float], free: float, generator: torch.Generator) -> Tensor:
        return self.net.init(scheme, gains, free, generator)


@dataclass(frozen=True)
class Factors:
    """The score of each of K rows, kept as its factors: per layer δ [K, out] and its input a [K, in]."""

    delta: list[Tensor]
    inputs: list[Tensor]
    free: Tensor  # [K, F]
    bias: bool

    def sums(self, weight: Tensor, units: int) -> Tensor:
        """Σ of weight·score over each of ``units`` equal runs of rows; weight [K] → [units, P]."""
        shape = (units, len(weight) // units, -1)
        parts: list[Tensor] = []
        for delta, a in zip(self.delta, self.inputs, strict=True):
            weighted = (delta * weight[:, None]).view(shape)
            parts.append(torch.bmm(weighted.mT, a.reshape(shape)).flatten(1))
            if self.bias:
                parts.append(weighted.sum(1))
        if self.free.shape[1]:
            parts.append((self.free * weight[:, None]).view(shape).sum(1))
        return torch.cat(parts, 1)

    def total(self) -> Tensor:
        """The sum over all rows [P]."""
        parts: list[Tensor] = []
        for d, a in zip(self.delta, self.inputs, strict=True):
            parts.append((d.mT @ a).flatten())
            if self.bias:
                parts.append(d.sum(0))
        return torch.cat([*parts, self.free.sum(0)])

    def units(self, units: int, keep: Tensor) -> Factors:
        """The rows of some of ``units`` equal runs (indices [M'])."""

        def chosen(x: Tensor) -> Tensor:
            return x.reshape(units, -1, x.shape[-1] or 1)[keep].flatten(0, 1) if x.shape[-1] else x

        deltas, inputs = [chosen(x) for x in self.delta], [chosen(x) for x in self.inputs]
        return Factors(deltas, inputs, chosen(self.free), self.bias)

    def transposed(self, units: int) -> Factors:
        """Rows in the order of time first, from the order of units first."""

        def swap(x: Tensor) -> Tensor:
            return x.view(units, len(x) // units, -1).transpose(0, 1).flatten(0, 1) if x.shape[-1] else x

        inputs = [swap(x) for x in self.inputs]
        return Factors([swap(x) for x in self.delta], inputs, swap(self.free), self.bias)

    def dots(self, vectors: Tensor) -> Tensor:
        """⟨score of row k, the vector of its unit⟩ [K]; vectors [units, P], rows in equal runs."""
        units, at = len(vectors), 0
        shape = (units, len(self.delta[0]) // units, -1)
        total = torch.zeros(shape[:2], dtype=vectors.dtype, device=vectors.device)
        for delta, a in zip(self.delta, self.inputs, strict=True):
            out, size = delta.shape[1], a.shape[1]
            weight = vectors[:, at : at + out * size].view(units, out, size)
            at += out * size
            along = torch.bmm(a.reshape(shape), weight.mT)
            if self.bias:
                along = along + vectors[:, None, at : at + out]
                at += out
            total = total + (delta.view(shape) * along).sum(-1)
        if self.free.shape[1]:
            total = total + (self.free.view(shape) * vectors[:, None, at:]).sum(-1)
        return total.flatten()

    def squared_norms(self) -> Tensor:
        """‖score of row k‖² [K] = Σ_layers ‖δ‖²(‖a‖² + 1), without forming a score (Goodfellow 2015)."""
        total = self.free.square().sum(1)
        for delta, a in zip(self.delta, self.inputs, strict=True):
            total = total + delta.square().sum(1) * (a.square().sum(1) + self.bias)
        return total


class Mlp:
    """sizes = [in, hidden…, out]; ``free`` more outputs are parameters that see no input (a log σ)."""

    def __init__(self, sizes: Sequence[int], activation: str = "tanh", free: int = 0, bias: bool = True):
        self.inputs = sizes[0]
        self.shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
        self.activation, self.free, self.bias = activation, free, bias
        self.forward_ = FORWARD[activation]
        self.size = sum(o * i + o * bias for o, i in self.shapes) + free

    def layers(self, theta: Tensor) -> tuple[Layers, Tensor]:
        """Views of θ [P]: the layers, and the free outputs [F]."""
        layers: Layers = []
        at = 0
        for out, size in self.shapes:
            weight = theta[at : at + out * size].view(out, size)
            at += out * size
            layers.append((weight, theta[at : at + out] if self.bias else None))
            at += out * self.bias
        return layers, theta[at:]

    def pull_back(self, grad: Tensor, kept: list[Tensor], layers: Layers, k: int) -> Tensor:
        """∂L/∂z of layer k from ∂L/∂h, h = kept[k + 1]; z is computed anew where h does not tell it."""
        if self.activation in BACKWARD:
            return BACKWARD[self.activation](grad, kept[k + 1])
        z = torch.nn.functional.linear(kept[k], *layers[k])
        return BACKWARD_FROM_INPUT[self.activation](grad, z)

    def groups(self) -> dict[str, int]:
        sizes = {f"layer_{k}": o * i + o * self.bias for k, (o, i) in enumerate(self.shapes, 1)}
        return sizes | ({"log_std": self.free} if self.free else {})

    def init(self, scheme: str, gains: Sequence[float], free: float, generator: torch.Generator) -> Tensor:
        """θ with orthogonal or Xavier-uniform rows and zero biases; ``gains`` per row of the last layer.

        Saxe et al. 2014; Glorot & Bengio 2010. Hidden layers take gain √2 when orthogonal, 1 when Xavier.
        ``torch`` is what torch.nn.Linear does: weights and biases uniform in ±1/√in.
        """
        theta = torch.zeros(self.size, dtype=torch.float64)
        (layers, constants) = self.layers(theta)
        hidden = math.sqrt(2) if scheme == "orthogonal" else 1.0
        for index, (weight, bias) in enumerate(layers):
            last = index == len(layers) - 1
            if scheme == "torch":
                self.draw_uniform(weight, bias, gains if last else [1.0] * len(weight), generator)
                continue
            if scheme == "orthogonal":
                fresh = torch.nn.init.orthogonal_(torch.empty_like(weight), generator=generator)
            else:
                fresh = torch.nn.init.xavier_uniform_(torch.empty_like(weight), generator=generator)
            gain = torch.tensor(list(gains) if last else [hidden] * len(weight), dtype=theta.dtype)
            weight.copy_(fresh * gain[:, None])
        constants.fill_(free)
        return theta

    def draw_uniform(
        self, weight: Tensor, bias: Tensor | None, gains: Sequence[float], generator: torch.Generator
    ) -> None:
        bound = 1 / math.sqrt(weight.shape[1])
        gain = torch.tensor(list(gains), dtype=weight.dtype)
        weight.uniform_(-bound, bound, generator=generator).mul_(gain[:, None])
        if bias is not None:
            bias.uniform_(-bound, bound, generator=generator).mul_(gain)

    def activations(self, layers: Layers, free: Tensor, x: Tensor) -> list[Tensor]:
        """[x, h₁, …, y]: what goes into each layer, and the output y [B, out + F] last."""
        kept = [x]
        for weight, bias in layers[:-1]:
            kept.append(self.forward_(torch.nn.functional.linear(kept[-1], weight, bias)))
        out = torch.nn.functional.linear(kept[-1], *layers[-1])
        if self.free:
            out = torch.cat([out, free.expand(*out.shape[:-1], self.free)], -1)
        return [*kept, out]

    def backpropagate(self, layers: Layers, kept: list[Tensor], delta: Tensor) -> Factors:
        """The factors of each row's gradient, from δ = ∂L/∂y [K, out + F]."""
        return self.backpropagate_features(layers, kept, delta, None)

    def backpropagate_features(
        self, layers: Layers, kept: list[Tensor], delta: Tensor, of_features: Tensor | None
    ) -> Factors:
        """``backpropagate``; ``of_features``: what ∂L/∂h of the last hidden layer has beside what comes
        through y.
        """
        linear_outputs = delta.shape[1] - self.free
        back = [delta[:, :linear_outputs]]
        for k in range(len(layers) - 2, -1, -1):
            grad = back[-1] @ layers[k + 1][0]
            if of_features is not None and len(back) == 1:
                grad = grad + of_features
            back.append(self.pull_back(grad, kept, layers, k))
        return Factors(back[::-1], kept[:-1], delta[:, linear_outputs:], self.bias)

    def tangent(self, change: tuple[Layers, Tensor], layers: Layers, kept: list[Tensor]) -> Tensor:
        """(∂y/∂θ)v [B, out + F] along v = ``change``, at the activations ``kept``."""
        moved, free = self.differentials(change, layers, kept)[-1], change[1]
        return torch.cat([moved, free.expand(len(moved), -1)], 1) if self.free else moved

    def differentials(
        self, change: tuple[Layers, Tensor], layers: Layers, kept: list[Tensor]
    ) -> list[Tensor]:
        """[dh₁, …, dy] along v = ``change``, without the free outputs: one forward pass of differentials."""
        moved: list[Tensor] = []
        for index, ((weight, _), (step, shift)) in enumerate(zip(layers, change[0], strict=True)):
            out = torch.nn.functional.linear(kept[index], step, shift)
            if moved:
                out.addmm_(moved[-1], weight.mT)
            last = index == len(layers) - 1
            moved.append(out if last else self.pull_back(out, kept, layers, index))
        return moved

    def gradient(self, layers: Layers, kept: list[Tensor], delta: Tensor) -> Tensor:
        """∂L/∂θ [P] from δ = ∂L/∂y [B, out + F]."""
        return self.backpropagate(layers, kept, delta).total()
