"""Which actions an environment allows in a state: read from it, and kept in the observation.

So whatever keeps, replays or normalises observations has the mask with them, and the policy finds it where it
needs it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from pgrun.envs.faults import Misfit
from pgrun.envs.spaces import observation_encoder
from pgrun.errors import InvalidCommand

KEY, SEEN = "action_mask", "observation"  # keys of a masked observation
OWN = ("gymnasium.envs.classic_control", "gymnasium.envs.mujoco", "gymnasium.envs.box2d", "pgrun.envs")


class MaskedActions(gym.Wrapper[Any, Any, Any, Any]):
    """Observations {observation, action_mask} of an environment that tells its mask in
    ``info["action_mask"]``, or under that key of its own Dict.

    A mask has a 1 for each action that is allowed, of a MultiDiscrete one entry's after the other's. Some
    action must be, unless the episode has ended; then no mask is needed either.
    """

    def __init__(self, env: gym.Env):
        super().__init__(env)
        self.size = count_choices(env.action_space)
        self.in_dict = has_mask_key(env.observation_space)
        mask = spaces.MultiBinary(self.size)
        if not self.in_dict:
            self.observation_space = spaces.Dict({KEY: mask, SEEN: env.observation_space})
        else:
            own: Any = env.observation_space
            plain = isinstance(own[KEY], spaces.MultiBinary | spaces.Box)
            if not plain or own[KEY].shape != (self.size,):  # or several vectors; the order of the keys stays
                self.observation_space = spaces.Dict(OrderedDict({**own.spaces, KEY: mask}))

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        obs, info = self.env.reset(**kwargs)
        return self.join(obs, info, False), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        obs, reward, terminated, truncated, info = self.env.step(action)
        return self.join(obs, info, bool(terminated or truncated)), reward, terminated, truncated, info

    def join(self, obs: Any, info: Mapping[str, Any], ended: bool) -> Any:
        """The observation with its mask. Raises ``Misfit``."""
        given = obs.get(KEY) if self.in_dict and isinstance(obs, Mapping) else info.get(KEY)
        if given is None and not ended:
            where = "its observation" if self.in_dict else "info"
            raise Misfit(f"{where} has no action_mask, and env.action_mask=true asks for one")
        mask = np.ones(self.size, np.int8) if given is None else flatten_mask(given)
        if mask.shape != (self.size,) or not np.isin(mask, (0, 1)).all():
            raise Misfit(f"its action_mask is {given}, and must be {self.size} numbers 0 or 1")
        if not ended and not allows_choice(mask, self.env.action_space):
            raise Misfit(f"its action_mask {mask.tolist()} allows no action")
        return {**obs, KEY: mask} if self.in_dict else {KEY: mask, SEEN: obs}


def flatten_mask(given: Any) -> np.ndarray:
    parts = given if isinstance(given, tuple | list) else [given]
    return np.concatenate([np.asarray(part).ravel() for part in parts]) if len(parts) else np.empty(0)


def allows_choice(mask: np.ndarray, space: spaces.Space[Any]) -> bool:
    """Whether some action is allowed, of a MultiDiscrete in each entry."""
    if isinstance(space, spaces.MultiDiscrete):
        return all(part.any() for part in np.split(mask, np.cumsum(space.nvec)[:-1]))
    return bool(mask.any())


def count_choices(space: spaces.Space[Any]) -> int:
    """Entries of a mask. Raises ``InvalidCommand`` where actions are no choices."""
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    if isinstance(space, spaces.MultiDiscrete) and len(space.shape) == 1:
        return int(space.nvec.sum())
    raise InvalidCommand(
        "env.action_mask",
        "true",
        f"a mask is of Discrete or MultiDiscrete actions, and these are {space}",
        "leave it out",
    )


def has_mask_key(space: spaces.Space[Any]) -> bool:
    return isinstance(space, spaces.Dict) and KEY in space.spaces


def find_mask(space: spaces.Space[Any]) -> slice:
    """Where the mask lies in the flattened observation of a ``MaskedActions``."""
    assert isinstance(space, spaces.Dict)
    at = 0
    for key, part in space.spaces.items():
        size, _ = observation_encoder(part)
        if key == KEY:
            return slice(at, at + size)
        at += size
    raise LookupError(KEY)


def mask_in(envs: Any, wanted: bool) -> slice | None:
    """Where the mask lies in what these environments show, if one is ``wanted``."""
    return find_mask(envs.observation_space) if wanted else None


def with_masks(env: gym.Env, name: str) -> gym.Env:
    """The environment with masks in its observations. Raises ``InvalidCommand`` where it tells none."""
    count_choices(env.action_space)
    if not offers_mask(env):
        raise InvalidCommand(
            "env.action_mask",
            "true",
            f"env={name} tells no mask, neither in info nor under the key action_mask of a Dict observation",
            "leave it out",
        )
    return MaskedActions(env)


def offers_mask(env: gym.Env) -> bool:
    """Whether it tells which actions are allowed; an environment that is to be reset is asked once."""
    if not isinstance(env.action_space, spaces.Discrete | spaces.MultiDiscrete):
        return False
    if has_mask_key(env.observation_space):
        return True
    if type(env.unwrapped).__module__.startswith(OWN):
        return False
    try:
        told = env.reset(seed=0)
        return isinstance(told, tuple) and len(told) == 2 and KEY in told[1]
    except Exception:  # told where it is reset in earnest
        return False


def is_masked(env: Any) -> bool:
    """Whether a ``MaskedActions`` is among its wrappers."""
    while isinstance(env, gym.Wrapper):
        if isinstance(env, MaskedActions):
            return True
        env = env.env
    return False
