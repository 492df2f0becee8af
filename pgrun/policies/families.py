"""The options of ``policy=``: how real actions are distributed. Those that are choices have one way alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from pgrun.config.schema import PositiveInt, Range
from pgrun.envs.spaces import box_bounds
from pgrun.errors import Mistake
from pgrun.policies import distributions
from pgrun.policies.clipped import ClippedGaussian
from pgrun.policies.continuous import ScaledBeta, StateStdGaussian, TanhGaussian
from pgrun.policies.distributions import Distribution
from pgrun.policies.gsde import GsdeGaussian

if TYPE_CHECKING:
    from pgrun.envs import Envs


LogStd = Annotated[float, Range(-20, 20)]  # σ from 2e-9 to 5e8: far inside of what float32 squares
WITH_FEATURES = ("separate", "shared", "joint")  # networks whose last hidden layer is φ
# What multiplies the ratios of an episode's actions, goes on with noise of its own, or replays single rows.
NEEDS_OWN_NOISE = ("off_policy_pg", "off_policy_ac", "storm_pg", "vine")


@dataclass(frozen=True)
class Family:
    """A distribution for actions of a Box."""

    bounded: ClassVar[bool] = False  # takes actions within finite bounds alone
    log_std_setting: ClassVar[str | None] = "network.log_std"  # where its log σ starts; None: it has none
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
    """A Beta(α(s), β(s)) stretched over the bounds, α and β above 1 (Chou, Maturana & Scherer 2017).

    KL and entropy are exact. Nothing is clipped, and there is no σ: ``network.log_std`` is not read.
    """

    bounded: ClassVar[bool] = True
    log_std_setting: ClassVar[str | None] = None
    draws_on_host: ClassVar[bool] = True

    def distribution(self, dims: int, log_std: float) -> Distribution:
        return ScaledBeta(dims)


@dataclass(frozen=True)
class Gsde(Family):
    """μ(s) + φ(s)ᵀE, φ the last hidden layer, E ~ N(0, σ²) one matrix for many steps (Raffin et al. 2021).

    ``sample_freq``: steps with the same E; null: all of a rollout, or with ``sampler=episodes`` of an
    episode. ``learn_features``: whether σ(s) moves φ too; false is what Stable-Baselines3 does. KL and
    entropy are exact, those of one step. log σ of E's entries starts at ``log_std``, so that σ(s) starts as
    e^log_std times the norm of φ.
    """

    sample_freq: PositiveInt | None = None
    learn_features: bool = False
    log_std: LogStd = -0.5
    log_std_setting: ClassVar[str | None] = "policy.log_std"

    @classmethod
    def misfits(cls, settings: Mapping[str, Any], env: gym.Env | None) -> Iterator[Mistake]:
        yield from super().misfits(settings, env)
        network, algo = settings["network"], settings["algo"]["name"]
        if (name := network["name"]) not in WITH_FEATURES:
            yield Mistake(
                "policy",
                "gsde",
                f"needs the last hidden layer of a perceptron, and network={name} has none",
                f"take network={' or '.join(WITH_FEATURES)}",
            )
        if network.get("logit_scale", 1.0) != 1.0:
            yield Mistake("policy", "gsde", "knows no network.logit_scale", "leave it at 1")
        critic = (settings.get("critic") or {}).get("name")
        if settings["policy"]["sample_freq"] == 1:
            return
        for setting, chosen in (("algo", algo), ("critic", critic)):
            if chosen in NEEDS_OWN_NOISE:
                yield Mistake(
                    "policy",
                    "gsde",
                    f"holds its noise for many steps, and {setting}={chosen} needs actions drawn one by one",
                    "set policy.sample_freq=1",
                )

    def distribution(self, dims: int, log_std: float) -> Distribution:
        return GsdeGaussian(dims, self.sample_freq, self.learn_features, self.log_std)


def connect_actions(dist: Distribution, envs: Envs) -> None:
    """Have the environments take what this distribution draws, where that is not the action itself."""
    if isinstance(dist, TanhGaussian):
        envs.take_draws(dist.emit, dist.encode)
