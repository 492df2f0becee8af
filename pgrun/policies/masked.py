"""A policy over the actions that the observation's mask allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from pgrun.policies.mlp import WrappedNet

if TYPE_CHECKING:
    from torch import Tensor

    from pgrun.policies.mlp import Net, Scores

FORBIDDEN = -1e8  # a logit whose probability is 0 to the last bit, and 0·log 0 a number


class MaskedNet(WrappedNet):
    """A network whose logits are ``FORBIDDEN`` where the mask in its input is 0 (Huang & Ontañón 2022).

    π(a|s) of such an action is exactly 0, so it is never drawn. The distribution's score, entropy gradient,
    KL gradient and metric all have the factor π(a|s) and are exactly 0 in that entry: what comes back to the
    network needs no mask. Sums over actions are those over the allowed ones, and KL compares equal masks,
    because the mask belongs to the state.
    """

    def __init__(self, net: Net, mask: slice, first: int):
        super().__init__(net)
        self.mask, self.first = mask, first  # first: 1 with V in front

    def activations(self, layers: Any, free: Tensor, x: Tensor) -> list[Tensor]:
        kept = self.net.activations(layers, free, x)
        value, logits = kept[-1][..., : self.first], kept[-1][..., self.first :]
        masked = logits.masked_fill(x[..., self.mask] == 0, FORBIDDEN)
        kept[-1] = torch.cat([value, masked], -1)
        return kept

    def backpropagate(self, layers: Any, kept: list[Tensor], delta: Tensor) -> Scores:
        return self.net.backpropagate(layers, kept, delta)

    def tangent(self, change: tuple[Any, Tensor], layers: Any, kept: list[Tensor]) -> Tensor:
        return self.net.tangent(change, layers, kept)

    def gradient(self, layers: Any, kept: list[Tensor], delta: Tensor) -> Tensor:
        return self.net.gradient(layers, kept, delta)
