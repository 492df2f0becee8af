"""gymnasium's MuJoCo tasks, stepped through views into the simulator's memory.

The numbers are gymnasium's own to the bit, in two thirds of the time: a step of gymnasium's makes a dozen
arrays and texts anew, and looks each of them up. One environment a column stays as it is: it is reset by
gymnasium, and saved by its state, which is all in the simulator.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import TimeLimit

from pgrun.envs.faults import ColumnFault, describe_reason, observation_from_reset
from pgrun.envs.snapshot import can_be_read, list_wrappers
from pgrun.envs.vector import Loop, Step


class Simulation:
    """A task's simulator, and what every one of them does in a step."""

    def __init__(self, env: Any):
        import mujoco

        self.env, self.model, self.data = env, env.model, env.data
        self.qpos: np.ndarray = env.data.qpos
        self.qvel: np.ndarray = env.data.qvel
        self.ctrl: np.ndarray = env.data.ctrl
        self.frames, self.dt = env.frame_skip, env.dt
        self.simulate, self.finish = mujoco.mj_step, mujoco.mj_rnePostConstraint

    def move(self, action: np.ndarray) -> None:
        self.ctrl[:] = action
        self.simulate(self.model, self.data, nstep=self.frames)
        self.finish(self.model, self.data)

    def act(self, action: np.ndarray, obs: np.ndarray) -> tuple[float, bool]:
        """One step: (reward, terminated), and the observation into the row ``obs``."""
        raise NotImplementedError


class Runner(Simulation):
    """HalfCheetah; with other numbers, Swimmer, and with a health, Hopper and Walker2d."""

    HIDDEN = 1  # positions that are not observed

    def __init__(self, env: Any):
        super().__init__(env)
        self.hidden = self.HIDDEN * env._exclude_current_positions_from_observation
        self.forward, self.cost = env._forward_reward_weight, env._ctrl_cost_weight

    def act(self, action: np.ndarray, obs: np.ndarray) -> tuple[float, bool]:
        before = self.qpos[0]
        self.move(action)
        speed = (self.qpos[0] - before) / self.dt
        seen = len(self.qpos) - self.hidden
        obs[:seen], obs[seen:] = self.qpos[self.hidden :], self.velocities()
        alive, terminated = self.health()
        return self.forward * speed + alive - self.cost * np.add.reduce(action * action), terminated

    def velocities(self) -> np.ndarray:
        return self.qvel

    def health(self) -> tuple[float, bool]:
        """What being healthy earns, and whether the episode is over."""
        return 0.0, False


class Swimmer(Runner):
    HIDDEN = 2


class Walker(Runner):
    """Walker2d."""

    def __init__(self, env: Any):
        super().__init__(env)
        self.earns, self.ends = env._healthy_reward, env._terminate_when_unhealthy
        self.low_z, self.high_z = env._healthy_z_range
        self.low_angle, self.high_angle = env._healthy_angle_range

    def velocities(self) -> np.ndarray:
        return self.qvel.clip(-10, 10)

    def health(self) -> tuple[float, bool]:
        healthy = self.is_healthy()
        return healthy * self.earns, not healthy and self.ends

    def is_healthy(self) -> bool:
        inside = self.low_z < self.qpos[1] < self.high_z
        return bool(inside and self.low_angle < self.qpos[2] < self.high_angle)


class Hopper(Walker):
    def __init__(self, env: Any):
        super().__init__(env)
        self.low, self.high = env._healthy_state_range

    def is_healthy(self) -> bool:
        numbers = np.concatenate((self.qpos[2:], self.qvel))
        return super().is_healthy() and bool(((self.low < numbers) & (numbers < self.high)).all())


class Pendulum(Simulation):
    """InvertedPendulum."""

    def act(self, action: np.ndarray, obs: np.ndarray) -> tuple[float, bool]:
        self.move(action)
        numbers = np.concatenate((self.qpos, self.qvel))
        obs[:] = numbers
        terminated = bool(not np.isfinite(numbers).all() or abs(numbers[1]) > 0.2)
        return float(not terminated), terminated


class DoublePendulum(Simulation):
    """InvertedDoublePendulum."""

    def __init__(self, env: Any):
        super().__init__(env)
        self.tip, self.forces, self.earns = (
            env.data.site_xpos[0],
            env.data.qfrc_constraint,
            env._healthy_reward,
        )

    def act(self, action: np.ndarray, obs: np.ndarray) -> tuple[float, bool]:
        self.move(action)
        angles = self.qpos[1:]
        obs[0], obs[1:3], obs[3:5] = self.qpos[0], np.sin(angles), np.cos(angles)
        obs[5:8], obs[8] = self.qvel.clip(-10, 10), min(max(self.forces[0], -10), 10)
        (x, _, y), (v1, v2) = self.tip, self.qvel[1:3]
        terminated = bool(y <= 1)
        distance = 0.01 * x**2 + (y - 2) ** 2
        speed = 1e-3 * v1**2 + 5e-3 * v2**2
        return self.earns * int(not terminated) - distance - speed, terminated


class Reacher(Simulation):
    def __init__(self, env: Any):
        super().__init__(env)
        self.finger, self.target = (env.data.body(name).xpos for name in ("fingertip", "target"))
        self.near, self.cost = env._reward_dist_weight, env._reward_control_weight

    def act(self, action: np.ndarray, obs: np.ndarray) -> tuple[float, bool]:
        self.move(action)
        angles, gap = self.qpos[:2], self.finger - self.target
        obs[:2], obs[2:4], obs[4:6] = np.cos(angles), np.sin(angles), self.qpos[2:]
        obs[6:8], obs[8:] = self.qvel[:2], gap[:2]
        distance = -np.linalg.norm(gap) * self.near
        return distance + -np.add.reduce(action * action) * self.cost, False


class Pusher(Simulation):
    def __init__(self, env: Any):
        super().__init__(env)
        names = ("tips_arm", "object", "goal")
        self.arm, self.pushed, self.goal = (env.data.body(name).xpos for name in names)
        self.near, self.far, self.cost = (
            env._reward_near_weight,
            env._reward_dist_weight,
            env._reward_control_weight,
        )

    def act(self, action: np.ndarray, obs: np.ndarray) -> tuple[float, bool]:
        self.move(action)
        obs[:7], obs[7:14] = self.qpos[:7], self.qvel[:7]
        obs[14:17], obs[17:20], obs[20:] = self.arm, self.pushed, self.goal
        near = -np.linalg.norm(self.pushed - self.arm) * self.near
        distance = -np.linalg.norm(self.pushed - self.goal) * self.far
        return distance + -np.add.reduce(action * action) * self.cost + near, False


SIMULATIONS: dict[str, type[Simulation]] = {
    "half_cheetah_v5.HalfCheetahEnv": Runner,
    "swimmer_v5.SwimmerEnv": Swimmer,
    "walker2d_v5.Walker2dEnv": Walker,
    "hopper_v5.HopperEnv": Hopper,
    "inverted_pendulum_v5.InvertedPendulumEnv": Pendulum,
    "inverted_double_pendulum_v5.InvertedDoublePendulumEnv": DoublePendulum,
    "reacher_v5.ReacherEnv": Reacher,
    "pusher_v5.PusherEnv": Pusher,
}


def simulation_of(env: gym.Env) -> type[Simulation] | None:
    """By exact class, with a time limit around it and no wrapper of the user's."""
    *wrappers, inner = list_wrappers(env)
    if not can_be_read(env) or TimeLimit not in map(type, wrappers):
        return None
    return SIMULATIONS.get(
        f"{type(inner).__module__}.{type(inner).__name__}".removeprefix("gymnasium.envs.mujoco.")
    )


class Simulated(Loop):
    """``Loop`` over environments that ``simulation_of`` knows."""

    def __init__(self, factory: Callable[[], gym.Env], num_envs: int):
        super().__init__(factory, num_envs)
        kind = simulation_of(self.one)
        assert kind is not None
        self.memory: Any = None  # what a kernel plays it with, once ``memory_read``
        self.memory_read = False
        self.simulations = [kind(env.unwrapped) for env in self.envs]
        self.clocks: list[Any] = [
            next(x for x in list_wrappers(env) if type(x) is TimeLimit) for env in self.envs
        ]

    def _step(self, action: np.ndarray) -> Step:
        reward = np.zeros(self.num_envs)
        terminated, truncated = np.zeros((2, self.num_envs), bool)
        i = 0
        try:
            for i, simulation in enumerate(self.simulations):
                if not self.active[i]:
                    continue
                if self.ended[i]:
                    self.reset_column(i)
                    continue
                self.noted[i].act(action[i])
                reward[i], terminated[i] = simulation.act(action[i], self.obs[i])
                clock = self.clocks[i]
                clock._elapsed_steps += 1
                truncated[i] = clock._elapsed_steps >= clock._max_episode_steps
        except ColumnFault:
            raise
        except Exception as error:
            raise ColumnFault(i, self.steps(i), describe_reason(error, "step")) from error
        return reward, terminated, truncated

    def reset_column(self, i: int) -> None:
        """Begin an episode in column i."""
        try:
            self.noted[i].begin(self.envs[i], None)
            self.see(i, observation_from_reset(self.envs[i].reset()))
        except Exception as error:
            raise ColumnFault(i, self.steps(i), describe_reason(error, "reset")) from error
