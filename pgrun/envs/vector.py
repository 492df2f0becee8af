"""Environments with NEXT_STEP autoreset: the step after an episode's end only resets, its reward is 0.

Both classes hold what continues from one rollout to the next: the current observation [N, D] and which columns
have just ended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv

from pgrun.envs.replay import Replay
from pgrun.envs.spaces import action_decoder, observation_encoder
from pgrun.errors import EnvironmentFault

CONTINUES = ("obs", "ended", "active", "time", "episode_return", "episodes")
Step = tuple[np.ndarray, np.ndarray, np.ndarray]  # reward, terminated, truncated: [N]


class Envs:
    """What samplers see."""

    obs: np.ndarray  # [N, D] current observations, flattened, float32
    ended: np.ndarray  # [N] the episode has ended: the next step resets
    active: np.ndarray  # [N] columns that a sampler still needs; a loop skips the others
    time: np.ndarray  # [N] steps since the episode's start
    episode_return: np.ndarray  # [N] undiscounted, of the episode under way
    episodes: np.ndarray  # [N] that samplers have seen to their end
    state: np.ndarray | None = None  # [N] the row of the transition table, after ``follow_states``

    def __init__(self, num_envs: int, observation: gym.Space, action: gym.Space):
        self.num_envs = num_envs
        self.observation_space, self.action_space = observation, action
        self.obs_size, self.encode = observation_encoder(observation)
        self.decode = action_decoder(action)
        self.obs = np.zeros((num_envs, self.obs_size), np.float32)
        self.episodes = np.zeros(num_envs, np.int64)

    def reset(self, seeds: Sequence[int] | None = None) -> None:
        """Start every column anew; without seeds the environments' own random streams go on."""
        self.ended = np.zeros(self.num_envs, bool)
        self.active = np.ones(self.num_envs, bool)
        self.time = np.zeros(self.num_envs, np.int64)
        self.episode_return = np.zeros(self.num_envs)
        self._reset(seeds)

    def step(self, action: np.ndarray) -> Step:
        """Act in every column, and reset those that have ended; ``obs`` and ``ended`` are renewed."""
        reward, terminated, truncated = self._step(self.decode(action))
        self.ended = terminated | truncated
        return reward, terminated, truncated

    def state_dict(self) -> dict[str, Any]:
        """Where every column stands, as arrays and plain data."""
        return {name: getattr(self, name).copy() for name in CONTINUES}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Bring every column back to where it stood."""
        for name in CONTINUES:
            setattr(self, name, state[name].copy())

    def follow_states(self) -> None:
        """Fill ``state`` from now on; for environments with a transition table, after a reset."""
        raise NotImplementedError

    def _reset(self, seeds: Sequence[int] | None) -> None:
        raise NotImplementedError

    def _step(self, action: np.ndarray) -> Step:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


def table_row(env: gym.Env) -> int:
    """Where an environment with a transition table stands: gymnasium's keep it in ``s``, ours in ``state``."""
    inner: Any = env.unwrapped
    return int(inner.s if hasattr(inner, "s") else inner.state)


class Loop(Envs):
    """One gymnasium environment a column."""

    def __init__(self, factory: Callable[[], gym.Env], num_envs: int):
        self.envs = [factory() for _ in range(num_envs)]
        self.one = self.envs[0]
        super().__init__(num_envs, self.one.observation_space, self.one.action_space)

    def _reset(self, seeds: Sequence[int] | None) -> None:
        self.replays = [
            Replay.begin(env, None if seeds is None else seeds[i]) for i, env in enumerate(self.envs)
        ]
        for i, env in enumerate(self.envs):
            self._see(i, env.reset(seed=self.replays[i].seed)[0])

    def _see(self, i: int, obs: Any) -> None:
        self.obs[i] = self.encode(obs)
        if self.state is not None:
            self.state[i] = table_row(self.envs[i])

    def follow_states(self) -> None:
        self.state = np.array([table_row(env) for env in self.envs])

    def _step(self, action: np.ndarray) -> Step:
        reward = np.zeros(self.num_envs)
        terminated, truncated = np.zeros(self.num_envs, bool), np.zeros(self.num_envs, bool)
        for i, env in enumerate(self.envs):
            if not self.active[i]:
                continue
            if self.ended[i]:
                self.replays[i] = Replay.begin(env, None)
                obs = env.reset()[0]
            else:
                self.replays[i].actions.append(action[i])
                obs, reward[i], terminated[i], truncated[i], _ = env.step(action[i])
            self._see(i, obs)
        return reward, terminated, truncated

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "replays": [replay.state_dict() for replay in self.replays]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Each column replays its episode under way. Raises ``EnvironmentFault`` where that does not lead to the same observation."""
        super().load_state_dict(state)
        self.replays = [Replay(**replay) for replay in state["replays"]]
        for i, (env, replay) in enumerate(zip(self.envs, self.replays, strict=True)):
            obs = self.encode(replay.again(env, self.action_space.dtype)).astype(self.obs.dtype)
            if not np.array_equal(obs, self.obs[i]):
                raise EnvironmentFault(f"column {i} cannot be replayed: {env.unwrapped} is not deterministic")
        if self.state is not None:
            self.follow_states()

    def close(self) -> None:
        for env in self.envs:
            env.close()


class Native(Envs):
    """A vector environment of gymnasium's own (CartPole-v1): all columns in one array program, one random stream."""

    INNER = ("state", "steps", "prev_done")

    def __init__(self, envs: VectorEnv):
        self.envs = envs
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)
        envs.action_space = Trusted()

    def _reset(self, seeds: Sequence[int] | None) -> None:
        self.obs[:] = self.envs.reset(seed=None if seeds is None else seeds[0])[0]

    def _step(self, action: np.ndarray) -> Step:
        self.obs[:], reward, terminated, truncated, _ = self.envs.step(action)
        return reward, terminated, truncated

    def state_dict(self) -> dict[str, Any]:
        inner = {name: np.copy(getattr(self.envs, name)) for name in self.INNER}
        return {**super().state_dict(), **inner, "generator": self.envs.np_random.bit_generator.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        for name in self.INNER:
            setattr(self.envs, name, state[name].copy())
        self.envs.np_random.bit_generator.state = state["generator"]

    def close(self) -> None:
        self.envs.close()


class Trusted(gym.Space):
    """Takes any action: the policy's are valid by construction, and the check takes a quarter of CartPole's step."""

    def contains(self, x: object) -> bool:
        return True
