"""The policy of a run, for whoever steps an environment of their own: observations in, actions out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from pgrun.envs import Envs, make_envs
from pgrun.envs.faults import Misfit
from pgrun.envs.masks import KEY, SEEN
from pgrun.envs.spaces import action_limits
from pgrun.policies.clipped import ClippedGaussian
from pgrun.policies.continuous import ScaledBeta, StateStdGaussian, TanhGaussian
from pgrun.policies.distributions import Bernoulli, Categorical, Distribution, Gaussian, MultiCategorical
from pgrun.policies.masked import MaskedNet
from pgrun.policies.policy import Policy
from pgrun.rollouts.trajectory import describe_unfit_observation, fits_float32
from pgrun.storage.saved_policy import Saved
from pgrun.tools.play.options import PlayOptions
from pgrun.tools.play.play import import_modules, load_role, make_acting_policy


@dataclass(frozen=True)
class ActionDistribution:
    """π(·|s) at one observation, over actions as the environment takes them.

    Of a Box it is a Gaussian before actions are clipped to the bounds, or what ``policy=squashed`` and
    ``policy=beta`` have within them; mean, std and densities are in the environment's units.
    """

    space: spaces.Space[Any]
    dist: Distribution
    params: Tensor  # [K]
    stretch: tuple[Tensor, Tensor] | None = None  # (middle, half the range) [A] of one within the bounds

    @property
    def probabilities(self) -> Any:
        """Discrete: [n], in the order of its actions.

        MultiDiscrete: one such array an entry. MultiBinary: P(aᵢ = 1) [A].

        None for a Box, which has ``mean`` and ``std``.
        """
        match self.dist:
            case Categorical():
                return self.params.softmax(-1).numpy()
            case MultiCategorical():
                return [part.softmax(-1).numpy() for part in torch.split(self.params, self.dist.counts)]
            case Bernoulli():
                return self.params.sigmoid().numpy()
        return None

    @property
    def mean(self) -> np.ndarray | None:
        """μ, in the shape of the actions; None where actions are choices, or within the bounds."""
        if not isinstance(self.dist, Gaussian) or self.stretch is not None:
            return None
        return self.params[: self.dist.linear].numpy().reshape(self.space.shape)

    @property
    def std(self) -> np.ndarray | None:
        """σ, in the shape of the actions; None where actions are choices, or within the bounds."""
        if not isinstance(self.dist, Gaussian) or self.stretch is not None:
            return None
        return self.params[self.dist.linear :].exp().numpy().reshape(self.space.shape)

    @property
    def entropy(self) -> float:
        """The entropy in nats; of a Box the differential entropy, an estimate with ``policy=squashed``."""
        return float(self.dist.entropy(self.params)) + self.log_volume

    def log_prob(self, action: Any) -> float:
        """log π(a|s) of an action that the environment takes; of a Box the log density, also out of bounds.

        Raises ``ValueError`` where it is none.
        """
        numbers = self.check_action(action)
        if isinstance(self.space, spaces.Discrete | spaces.MultiDiscrete):
            numbers = (numbers - self.space.start).astype(np.int64)
        shape = () if isinstance(self.space, spaces.Discrete) else (-1,)
        given = torch.as_tensor(numbers.reshape(shape))
        if self.stretch is not None:
            assert isinstance(self.dist, TanhGaussian | ScaledBeta)
            given = self.dist.recover((given.double() - self.stretch[0]) / self.stretch[1])
        return float(self.dist.log_prob(self.params, given)) - self.log_volume

    def check_action(self, action: Any) -> np.ndarray:
        """The action's numbers. Raises ``ValueError`` where they are too many, too few, or no choice."""
        numbers = np.asarray(action)
        fits = numbers.dtype.kind in "biuf" and numbers.size == math.prod(self.space.shape or ())
        fits = fits and bool(np.isfinite(numbers).all())
        if fits and not isinstance(self.space, spaces.Box):
            whole = numbers.astype(np.int64).reshape(self.space.shape).astype(self.space.dtype)
            fits = bool((whole.ravel() == numbers.ravel()).all()) and self.space.contains(whole[()])
        if not fits:
            raise ValueError(f"{action!r} is no action of {self.space}")
        return numbers

    @property
    def log_volume(self) -> float:
        """log of how much wider the environment's units are."""
        return 0.0 if self.stretch is None else float(self.stretch[1].log().sum())


class ActingPolicy:
    """π(a|s) of a finished run. It is not the run's: nothing that is done with it changes anything there."""

    def __init__(self, policy: Policy, envs: Envs):
        self.observation_space, self.action_space = envs.observation_space, envs.action_space
        self.policy, self.actor = policy, policy.actor()
        self.encode, self.decode = envs.encode, envs.decode
        self.row = np.zeros((1, envs.obs_size), envs.obs.dtype)
        self.generator = torch.Generator()
        self.generator.seed()

    def act(self, obs: Any, sample: bool = False, seed: int | None = None, action_mask: Any = None) -> Any:
        """The action at one observation, both as the environment has them.

        ``action_mask``: of a policy that was trained with ``env.action_mask``, where the environment tells
        its mask in ``info`` and not in the observation.

        The most likely one, of a Box the mean, as evaluations take it; with ``sample`` one drawn from π(·|s).
        ``seed`` begins the random stream anew; without it the stream goes on.
        """
        if seed is not None:
            if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or seed < 0:
                raise ValueError(f"seed={seed!r}: must be a whole number ≥ 0")
            self.generator.manual_seed(int(seed))
        theta = self.policy.theta
        noise = self.policy.dist.noise((1,), self.generator, theta.dtype) if sample else None
        action = self.decode(self.actor(self.flatten(obs, action_mask), noise))[0]
        return int(action) if isinstance(self.action_space, spaces.Discrete) else action

    def distribution(self, obs: Any, action_mask: Any = None) -> ActionDistribution:
        """π(·|s) at one observation as the environment gives it; ``action_mask`` as ``act`` has it."""
        policy = self.policy
        normalised = policy.normaliser(torch.from_numpy(self.flatten(obs, action_mask))).to(
            policy.theta.dtype
        )
        params = policy.params(normalised)[0]
        dist, space = policy.dist, self.action_space
        if isinstance(space, spaces.Box) and isinstance(dist, TanhGaussian | ScaledBeta):
            low, high = (torch.from_numpy(x.astype(np.float64).ravel()) for x in (space.low, space.high))
            return ActionDistribution(space, dist, params.double(), ((low + high) / 2, (high - low) / 2))
        if isinstance(dist, StateStdGaussian):
            params, dist = dist.shifted(params), dist.gaussian
        if isinstance(dist, ClippedGaussian):
            dist = Gaussian(dist.linear)
        if isinstance(space, spaces.Box):
            params = to_environment_units(params, space)
        return ActionDistribution(space, dist, params)

    def flatten(self, obs: Any, action_mask: Any = None) -> np.ndarray:
        """[1, D]. Raises ``ValueError`` where it is no observation of the space."""
        row = self.row.copy()
        if action_mask is not None:
            if not isinstance(self.policy.net, MaskedNet):
                raise ValueError("action_mask: the policy was trained without env.action_mask: leave it out")
            obs = {KEY: np.asarray(action_mask), SEEN: obs}
        flat = self.encode(obs)
        if not fits_float32(flat).all():
            raise Misfit(f"its {describe_unfit_observation(flat)}, and must be finite as float32")
        row[0] = flat
        return row


def to_environment_units(params: Tensor, space: spaces.Box) -> Tensor:
    """[μ, log σ] of a Gaussian whose [−1, 1] stands for the bounds, where they are finite."""
    lowest, highest = map(torch.from_numpy, action_limits(space))
    scaled = lowest.isfinite() & highest.isfinite()
    low, high = (torch.from_numpy(x.astype(np.float64).ravel()) for x in (space.low, space.high))
    mean, log_std = params.double().chunk(2, -1)
    mean = torch.where(scaled, low + (mean + 1) * (high - low) / 2, mean)
    return torch.cat([mean, torch.where(scaled, log_std + ((high - low) / 2).log(), log_std)])


def load_policy(saved: Saved, env: str | None, modules: Sequence[str]) -> ActingPolicy:
    """``env`` and ``modules``: the user's own code, which the run may name and only its user may load.

    Raises ``InvalidCommand``.
    """
    wish = PlayOptions(str(saved.folder), env=env if env and ":" in env else None, modules=tuple(modules))
    import_modules(wish.modules)
    role = load_role(saved, wish)
    envs = make_envs(role.env, 1)
    try:
        return ActingPolicy(make_acting_policy(saved, role, envs), envs)
    finally:
        envs.close()
