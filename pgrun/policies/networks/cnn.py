"""Networks for images: convolutions in front of the layers that every network here has."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import torch
from torch import nn

from pgrun.config.schema import Positive, PositiveInt
from pgrun.envs.spaces import observation_encoder
from pgrun.errors import Mistake
from pgrun.policies.policy import Network
from pgrun.policies.torch_module import TorchModuleNet

if TYPE_CHECKING:
    from torch import Tensor

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "gelu": nn.GELU, "elu": nn.ELU, "silu": nn.SiLU}


class ImageNet(TorchModuleNet):
    """A module of convolutions and linear layers, with the first weights that an ``Mlp`` would have."""

    def init(self, scheme: str, gains: Sequence[float], free: float, generator: torch.Generator) -> Tensor:
        """θ with orthogonal or Xavier-uniform filters and rows, zero biases, gain √2 or 1, and ``gains`` per
        row of the last layer; ``torch`` as the module initialises itself.
        """
        theta = super().init(scheme, gains, free, generator)
        if scheme == "torch":
            return theta
        names, _ = self.layers(theta)
        weights = [name for name in names if name.endswith("weight")]
        for name, x in names.items():
            if name not in weights:
                x.zero_()
                continue
            flat = torch.empty(x.flatten(1).shape, dtype=theta.dtype)
            if scheme == "orthogonal":
                nn.init.orthogonal_(flat, generator=generator)
            else:
                nn.init.xavier_uniform_(flat, generator=generator)
            hidden = math.sqrt(2) if scheme == "orthogonal" else 1.0
            gain = list(gains) if name == weights[-1] else [hidden] * len(flat)
            x.copy_((flat * torch.tensor(gain, dtype=theta.dtype)[:, None]).view_as(x))
        return theta


@dataclass(frozen=True)
class Cnn(Network):
    """Two networks of convolutions (``channels``, ``kernels``, ``strides``, without padding) and then
    ``hidden``, each with the activation behind it.

    Pixels are rows × columns × channels, divided by ``divisor``. ``image``: that shape; null: a square of one
    channel. The network is torch's (``pgrun.policies.torch_module``).
    """

    channels: tuple[PositiveInt, ...] = (16, 32)  # of each convolution
    kernels: tuple[PositiveInt, ...] = (3, 3)  # their sizes
    strides: tuple[PositiveInt, ...] = (1, 2)  # their steps
    image: tuple[PositiveInt, PositiveInt, PositiveInt] | None = None  # rows, columns, channels
    divisor: Positive = 255.0  # of pixels; 1 with state_norm=true

    @classmethod
    def misfits(cls, settings: Mapping[str, Any], env: gym.Env | None) -> Iterator[Mistake]:
        given = settings["network"]
        sizes = [given[key] for key in ("channels", "kernels", "strides")]
        if len({len(size) for size in sizes}) > 1:
            yield Mistake("network.channels, kernels and strides", None, "one of each for every convolution")
            return
        if env is None:
            return
        inputs = observation_encoder(env.observation_space)[0]
        shape = given["image"] or find_square(inputs)
        seen = " × ".join(map(str, env.observation_space.shape or (inputs,)))
        name = settings["env"]["id"]
        if shape is None or math.prod(shape) != inputs:
            yield Mistake(
                "network",
                given["name"],
                f"observations of env={name} are {seen}",
                "set network.image=[rows,columns,channels]",
            )
        elif min(sides_after(shape, given["kernels"], given["strides"])) < 1:
            yield Mistake(
                "network.kernels",
                list(given["kernels"]),
                f"nothing is left of {shape[0]} × {shape[1]} pixels",
                "take smaller ones",
            )

    def net(self, inputs: int, outputs: int, free: int = 0) -> ImageNet:
        shape = self.image or find_square(inputs)
        assert shape is not None
        rows, columns, depth = shape

        def make() -> nn.Module:
            between = ACTIVATIONS[self.activation]
            layers: list[nn.Module] = [Pixels(rows, columns, depth, self.divisor)]
            wide = depth
            for out, kernel, stride in zip(self.channels, self.kernels, self.strides, strict=True):
                layers += [nn.Conv2d(wide, out, kernel, stride, bias=self.bias), between()]
                wide = out
            layers.append(nn.Flatten())
            size = wide * math.prod(sides_after(shape, self.kernels, self.strides))
            for out in self.hidden:
                layers += [nn.Linear(size, out, bias=self.bias), between()]
                size = out
            return nn.Sequential(*layers, nn.Linear(size, outputs, bias=self.bias))

        return ImageNet(make, inputs, free)


class Pixels(nn.Module):
    """[B, rows·columns·channels] → [B, channels, rows, columns], divided by a number."""

    def __init__(self, rows: int, columns: int, channels: int, divisor: float):
        super().__init__()
        self.shape, self.divisor = (rows, columns, channels), divisor

    def forward(self, x: Tensor) -> Tensor:
        return x.view(-1, *self.shape).movedim(-1, 1) / self.divisor


def find_square(inputs: int) -> tuple[int, int, int] | None:
    """Of one channel; None where there is none."""
    side = math.isqrt(inputs)
    return (side, side, 1) if side * side == inputs else None


def sides_after(shape: Sequence[int], kernels: Sequence[int], strides: Sequence[int]) -> tuple[int, int]:
    """(rows, columns) behind convolutions without padding: ⌊(n − k)/s⌋ + 1 of each."""
    rows, columns = shape[:2]
    for kernel, stride in zip(kernels, strides, strict=True):
        rows, columns = ((n - kernel) // stride + 1 for n in (rows, columns))
    return rows, columns
