"""The options of ``policy=``: how real actions are distributed. Those that are choices have one way alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from pgrun.envs.spaces import box_bounds
from pgrun.mistake import Mistake
from pgrun.policies import distributions
from pgrun.policies.clipped import ClippedGaussian
from pgrun.policies.continuous import ScaledBeta, StateStdGaussian, TanhGaussian
from pgrun.policies.distributions import Distribution

if TYPE_CHECKING:
    from pgrun.envs import Envs


@dataclass(frozen=True)
class Family:
    """A distribution for actions of a Box."""

    bounded: ClassVar[bool] = False  # takes actions within finite bounds alone
    has_log_std: ClassVar[bool] = True  # ``network.log_std`` is where its log σ starts
    estimated: ClassVar[tuple[str, ...]] = ()  # which of kl and entropy are no closed forms
    draws_on_host: ClassVar[bool] = False  # on a device its actions are made on the CPU all the same

    @classmethod
    def misfits(cls, settings: Mapping[str, Any], env: gym.Env | None) -> Iterator[Mistake]:
        """Why it does not fit the environment's actions."""
        name, space = settings["policy"]["name"], getattr(env, "action_space", None)
        if space is None or name == "gaussian":
            return
        where = f"env={settings['env']['id']}"
        if not isinstance(space, spaces.Box):
            yield Mistake(
                "policy", name, f"is of real actions, and those of {where} are {space}", "leave policy out"
            )
        elif cls.bounded and not np.isfinite(box_bounds(space)).all():
            yield Mistake(
                "policy",
                name,
                f"stays within bounds, and actions of {where} have none",
                "take policy=gaussian or policy=state_std",
            )

    def distribution(self, dims: int, log_std: float) -> Distribution:
        """Of actions with ``dims`` entries; ``log_std``: where log σ starts, if the network adds to it."""
        raise NotImplementedError


@dataclass(frozen=True)
class Gaussian(Family):
    """N(μ(s), σ²), σ independent of the state; actions beyond the bounds are clipped on their way out.

    KL and entropy are exact, and those of the Gaussian before it is clipped.
    """

    def distribution(self, dims: int, log_std: float) -> Distribution:
        return distributions.Gaussian(dims)


@dataclass(frozen=True)
class Clipped(Family):
    """The Gaussian, with the score of the clipped action: unbiased, and of less variance (Fujita & Maeda
    2018).

    log π has a lump at each bound. KL and entropy are exact, and those of the Gaussian before it is clipped:
    an upper bound of the KL of what the environment gets.
    """

    bounded: ClassVar[bool] = True

    def distribution(self, dims: int, log_std: float) -> Distribution:
        return ClippedGaussian(dims)


@dataclass(frozen=True)
class StateStd(Family):
    """N(μ(s), σ(s)²), log σ(s) = ``network.log_std`` plus an output of the network; clipped on its way out.

    KL and entropy are exact.
    """

    def distribution(self, dims: int, log_std: float) -> Distribution:
        return StateStdGaussian(dims, log_std)


@dataclass(frozen=True)
class Squashed(Family):
    """tanh of a Gaussian, within the bounds, σ independent of the state (Haarnoja et al. 2018, appendix C).

    KL is exact, that of the Gaussian: a bijection leaves it as it is. The entropy has no closed form and is
    estimated, by a quadrature of 32 points in each entry. Evaluations take tanh μ.
    """

    bounded: ClassVar[bool] = True
    estimated: ClassVar[tuple[str, ...]] = ("entropy",)

    def distribution(self, dims: int, log_std: float) -> Distribution:
        return TanhGaussian(dims)


@dataclass(frozen=True)
class Beta(Family):
    """Beta(α(s), β(s)) stretched over the bounds, α and β above 1 (Chou, Maturana & Scherer 2017).

    KL and entropy are exact. Nothing is clipped, and there is no σ: ``network.log_std`` is not read.
    """

    bounded: ClassVar[bool] = True
    has_log_std: ClassVar[bool] = False
    draws_on_host: ClassVar[bool] = True

    def distribution(self, dims: int, log_std: float) -> Distribution:
        return ScaledBeta(dims)


def connect_actions(dist: Distribution, envs: Envs) -> None:
    """Have the environments take what this distribution draws, where that is not the action itself."""
    if isinstance(dist, TanhGaussian):
        envs.take_draws(dist.emit, dist.encode)
