"""Environments with NEXT_STEP autoreset: the step after an episode's end only resets, its reward is 0.

Both classes hold what continues from one rollout to the next: the current observation [N, D] and which
columns have just ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv

from pgrun.envs.faults import (
    ColumnFault,
    Unrepeatable,
    check_flags,
    check_rewards,
    close_all,
    describe_reason,
    format_place,
    observation_from_reset,
    silence_numpy_warnings,
    to_misfit,
    values_from_step,
)
from pgrun.envs.replay import BUDGET, ByReplay
from pgrun.envs.snapshot import ByState, can_be_read, read_state
from pgrun.envs.spaces import action_decoder, observation_encoder
from pgrun.errors import EnvironmentFault

CONTINUES = ("obs", "ended", "active", "time", "episode_return", "episodes")
Step = tuple[np.ndarray, np.ndarray, np.ndarray]  # reward, terminated, truncated: [N]


class Envs:
    """What samplers see."""

    obs: np.ndarray  # [N, D] current observations, flattened, float32; float64 after ``keep_float64``
    ended: np.ndarray  # [N] the episode has ended: the next step resets
    active: np.ndarray  # [N] columns that a sampler still needs; a loop skips the others
    time: np.ndarray  # [N] steps since the episode's start
    episode_return: np.ndarray  # [N] undiscounted, of the episode under way
    episodes: np.ndarray  # [N] that samplers have seen to their end
    state: np.ndarray | None = None  # [N] the row of the transition table, after ``follow_states``
    is_program: ClassVar[bool] = False  # one of our own kernels steps all columns
    on_device: ClassVar[bool] = False  # columns are tensors on the policy's device
    replays: bool = False  # a column is saved as its actions, and played again
    name = "the environment"  # in messages
    continued: int = 0  # steps of continuations that nobody has counted yet
    limit: float = np.inf  # steps after which an episode is truncated

    def __init__(self, num_envs: int, observation: gym.Space[Any], action: gym.Space[Any]):
        self.num_envs = num_envs
        self.observation_space, self.action_space = observation, action
        self.obs_size, self.encode = observation_encoder(observation)
        self.decode = action_decoder(action)
        self.obs = np.zeros((num_envs, self.obs_size), np.float32)
        self.episodes = np.zeros(num_envs, np.int64)
        silence_numpy_warnings()

    def reset(self, seeds: Sequence[int] | None = None) -> None:
        """Start every column anew; without seeds the environments' own random streams go on.

        Raises ``EnvironmentFault``.
        """
        self.ended = np.zeros(self.num_envs, bool)
        self.active = np.ones(self.num_envs, bool)
        self.time = np.zeros(self.num_envs, np.int64)
        self.episode_return = np.zeros(self.num_envs)
        try:
            self._reset(seeds)
        except ColumnFault as fault:
            raise self.fault(fault, int(self.episodes[fault.column])) from fault.__cause__

    def reset_alike(self, seeds: Sequence[int], noise_too: bool) -> None:
        """Start every column anew, columns of the same seed alike; ``noise_too``: and let them draw the same
        from then on. Without it only where the environment is its table.
        """
        if not noise_too:
            raise NotImplementedError
        self.reset(seeds)

    def step(self, action: np.ndarray) -> Step:
        """Act in every column, and reset those that have ended; ``obs`` and ``ended`` are renewed.

        Raises ``ColumnFault``.
        """
        reward, terminated, truncated = self._step(self.decode(action))
        self.ended = terminated | truncated
        return reward, terminated, truncated

    def keep_float64(self) -> None:
        """Before a reset: leave observations the digits that the environment gives them."""
        self.obs = self.obs.astype(np.float64)

    def take_draws(self, emit: Callable[[np.ndarray], np.ndarray], emit_tensor: Callable[[Any], Any]) -> None:
        """Let actions be what these functions, of arrays and of tensors, make of what is drawn."""
        decode = self.decode
        self.decode = lambda drawn: decode(emit(drawn))

    def cut(self, columns: np.ndarray) -> None:
        """End the episodes of these columns [N] here: their next step resets."""
        self.ended = self.ended | columns

    def fault(self, fault: ColumnFault, episode: int) -> EnvironmentFault:
        return EnvironmentFault(
            f"{format_place(self.name, fault.column, episode, fault.step)}: {fault.reason}"
        )

    def state_dict(self) -> dict[str, Any]:
        """The state of every column, as arrays and plain data."""
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
    """The state of an environment with a transition table: gymnasium's keep it in
    ``s``, ours in ``state``.
    """
    inner: Any = env.unwrapped
    return int(inner.s if hasattr(inner, "s") else inner.state)


class Loop(Envs):
    """One gymnasium environment a column.

    Each is saved by its state where that can be read, and is played again where not.
    """

    first = 0  # the first column's number in the run
    in_all: int | None = None  # columns of the run, where others are elsewhere

    def __init__(self, factory: Callable[[], gym.Env], num_envs: int):
        self.factory, self.envs = factory, [factory() for _ in range(num_envs)]
        self.one = self.envs[0]
        self.pool: list[gym.Env] = []  # that continuations are played in
        self.replays = not can_be_read(self.one)
        super().__init__(num_envs, self.one.observation_space, self.one.action_space)
        self.limit = getattr(self.one.spec, "max_episode_steps", None) or np.inf
        self.snapshots: dict[int, dict[str, Any]] | None = None  # by number, after ``keep_snapshots``
        self.noted_states = 0
        self.noted: list[ByState | ByReplay] = [self.note(i) for i in range(num_envs)]

    def note(self, i: int) -> ByState | ByReplay:
        """What brings a column back to where it stood."""
        if not self.replays:
            return ByState()
        room = BUDGET // (self.in_all or self.num_envs)
        return ByReplay(room, lambda: f"{self.name}: column {self.first + i}")

    def _reset(self, seeds: Sequence[int] | None) -> None:
        i = 0
        try:
            for i, env in enumerate(self.envs):
                seed = None if seeds is None else seeds[i]
                self.noted[i].begin(env, seed)
                self.see(i, observation_from_reset(env.reset(seed=seed)))
        except (Exception, SystemExit) as error:
            raise ColumnFault(i, 0, describe_reason(error, "reset")) from error

    def see(self, i: int, obs: Any) -> None:
        try:
            self.obs[i] = self.encode(obs)
        except (TypeError, ValueError, OverflowError) as error:
            raise to_misfit(error) from error
        if self.state is not None:
            self.state[i] = self.number_state(i)

    def follow_states(self) -> None:
        self.state = np.array([self.number_state(i) for i in range(self.num_envs)])

    def keep_snapshots(self) -> None:
        """Let ``state`` be the number of a snapshot of where the column stands, from now on."""
        self.snapshots = {}
        self.follow_states()

    def forget_snapshots(self, keep: Iterable[int]) -> None:
        """All but these, and those of where the columns stand now."""
        assert self.snapshots is not None
        assert self.state is not None
        kept = {*keep, *self.state.tolist()}
        self.snapshots = {number: x for number, x in self.snapshots.items() if number in kept}

    def number_state(self, i: int) -> int:
        """The row of the transition table where column i stands, or the number of a new snapshot."""
        if self.snapshots is None:
            return table_row(self.envs[i])
        self.noted_states += 1
        self.snapshots[self.noted_states] = read_state(self.envs[i])
        return self.noted_states

    def _step(self, action: np.ndarray) -> Step:
        reward: list[Any] = [0.0] * self.num_envs
        terminated: list[Any] = [False] * self.num_envs
        truncated: list[Any] = [False] * self.num_envs
        i = 0
        try:
            for i, env in enumerate(self.envs):
                if not self.active[i]:
                    continue
                if self.ended[i]:
                    self.noted[i].begin(env, None)
                    obs = observation_from_reset(env.reset())
                else:
                    self.noted[i].act(action[i])
                    obs, reward[i], terminated[i], truncated[i], _ = values_from_step(env.step(action[i]))
                self.see(i, obs)
        except (Exception, SystemExit) as error:
            raise ColumnFault(
                i, self.steps(i), describe_reason(error, "reset" if self.ended[i] else "step")
            ) from error
        try:
            checked = (
                check_rewards(reward),
                check_flags(terminated, "terminated"),
                check_flags(truncated, "truncated"),
            )
        except ColumnFault as fault:
            fault.step = self.steps(fault.column)
            raise
        for i, noted in enumerate(self.noted):
            if self.active[i] and not self.ended[i]:
                noted.came(reward[i], terminated[i], truncated[i])
        return checked

    def steps(self, i: int) -> int:
        """Steps of the episode under way, with the one that failed; 0 in its reset."""
        return self.noted[i].steps

    def state_dict(self) -> dict[str, Any]:
        columns = [noted.state_dict(env) for noted, env in zip(self.noted, self.envs, strict=True)]
        return {**super().state_dict(), "columns": columns}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises ``Unrepeatable`` where an episode that is played again is another one."""
        super().load_state_dict(state)
        for i, column in zip(range(self.num_envs), state["columns"], strict=True):
            try:
                self.bring_back(i, column)
            except Unrepeatable as error:
                raise Unrepeatable(f"column {self.first + i} cannot be resumed: {error}") from error
        if self.state is not None:
            self.follow_states()

    def bring_back(self, i: int, column: dict[str, Any]) -> None:
        noted, env = self.noted[i], self.envs[i]
        if isinstance(noted, ByState):
            noted.bring_back(env, column)
            return
        noted.take(column)
        try:
            obs = self.encode(noted.play(env)).astype(self.obs.dtype)
        except Unrepeatable:
            raise
        except (Exception, SystemExit) as error:
            raise Unrepeatable(describe_reason(error, "step")) from error
        if not np.array_equal(obs, self.obs[i]):
            raise Unrepeatable(f"played again, {env.unwrapped} gives another observation")

    def close(self) -> None:
        close_all([*self.envs, *self.pool], self.name)


class Native(Envs):
    """A vector environment of gymnasium's own (CartPole-v1): all columns in one array
    program, one random stream.
    """

    INNER = ("state", "steps", "prev_done")

    def __init__(self, envs: VectorEnv):
        self.envs = envs
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)
        envs.action_space = Trusted()
        self.limit = getattr(envs.spec, "max_episode_steps", None) or np.inf

    def _reset(self, seeds: Sequence[int] | None) -> None:
        self.obs[:] = self.envs.reset(seed=None if seeds is None else seeds[0])[0]

    def reset_alike(self, seeds: Sequence[int], noise_too: bool) -> None:
        """There is one random stream for all columns, which nothing draws from after the start."""
        super().reset_alike(seeds, noise_too)
        inner: Any = self.envs
        with gym.make(inner.spec.id, disable_env_checker=True) as one:
            for column, seed in enumerate(seeds):
                self.obs[column] = one.reset(seed=seed)[0]
                inner.state[:, column] = one.unwrapped.state  # type: ignore[attr-defined]

    def _step(self, action: np.ndarray) -> Step:
        self.obs[:], reward, terminated, truncated, _ = self.envs.step(action)
        return reward, terminated, truncated

    def cut(self, columns: np.ndarray) -> None:
        super().cut(columns)
        self.envs.prev_done = self.envs.prev_done | columns  # type: ignore[attr-defined]

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


class Trusted(gym.Space[Any]):
    """Takes any action: the policy's are valid by construction, and the check takes a
    quarter of CartPole's step.
    """

    def contains(self, x: object) -> bool:
        return True
