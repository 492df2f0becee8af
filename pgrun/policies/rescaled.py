"""The same policies in another representation: outputs of a network times a constant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pgrun.policies.mlp import WrappedNet

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from pgrun.policies.mlp import Net, Scores


class Rescaled(WrappedNet):
    """y = c·f_θ(x), c for each output (a log σ keeps 1): what every product of the
    network gets on its way in or out.
    """

    def __init__(self, net: Net, scale: Tensor):
        super().__init__(net)
        self.scale = scale  # [out + F]

    def init(self, scheme: str, gains: Sequence[float], free: float, generator: torch.Generator) -> Tensor:
        """Gains are those of y: rows of the last layer start c times smaller, so that
        f starts as the same function.
        """
        linear = self.scale[: len(gains)].tolist()
        return self.net.init(scheme, [g / c for g, c in zip(gains, linear, strict=True)], free, generator)

    def activations(self, layers: Any, free: Tensor, x: Tensor) -> list[Tensor]:
        *kept, y = self.net.activations(layers, free, x)
        return [*kept, y * self.scale.to(y)]

    def backpropagate(self, layers: Any, kept: list[Tensor], delta: Tensor) -> Scores:
        return self.net.backpropagate(layers, kept, delta * self.scale.to(delta))

    def tangent(self, change: tuple[Any, Tensor], layers: Any, kept: list[Tensor]) -> Tensor:
        moved = self.net.tangent(change, layers, kept)
        return moved * self.scale.to(moved)

    def gradient(self, layers: Any, kept: list[Tensor], delta: Tensor) -> Tensor:
        return self.net.gradient(layers, kept, delta * self.scale.to(delta))
