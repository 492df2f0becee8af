"""Twelve environments so small that a failure names the broken part (the first five are Andy Jones's).

Registered with gymnasium as ``Probe<Class>-v0``. ``PROBES`` says what each one names when it breaks.
"""

from __future__ import annotations

import gymnasium as gym
import numpy as np
from gymnasium import spaces

INF = np.inf


class Probe(gym.Env):
    """``length`` steps, then termination; subclasses say what is seen, earned, and drawn at the start."""

    observation_space = spaces.Box(-INF, INF, (1,), np.float64)
    action_space = spaces.Discrete(2)
    length: float = 1
    sign = 0.0  # ±1, drawn at the start

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        self.t, self.sign = 0, 2.0 * self.np_random.integers(2) - 1
        return self.seen(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        reward = self.earned(action)
        self.t += 1
        return self.seen(), reward, self.t >= self.length, False, {}

    def seen(self):
        return np.zeros(1)

    def earned(self, action) -> float:
        raise NotImplementedError


class OneAction(Probe):
    """One action, nothing to see, +1."""

    action_space = spaces.Discrete(1)

    def earned(self, action) -> float:
        return 1.0


class Signs(Probe):
    """One action; the observation is ±1 and so is the reward."""

    action_space = spaces.Discrete(1)

    def seen(self):
        return np.array([self.sign])

    def earned(self, action) -> float:
        return self.sign


class TwoSteps(Probe):
    """One action, two steps, +1 at the end."""

    action_space = spaces.Discrete(1)
    length = 2

    def seen(self):
        return np.array([float(self.t)])

    def earned(self, action) -> float:
        return float(self.t == 1)


class TwoActions(Probe):
    """Nothing to see; the action earns +1 or −1."""

    def earned(self, action) -> float:
        return 2.0 * action - 1


class Match(Probe):
    """The right action is the observation's sign."""

    def seen(self):
        return np.array([self.sign])

    def earned(self, action) -> float:
        return self.sign * (2 * action - 1)


class Ring(Probe):
    """Eight places in a ring, +1 for ever; cut after 8 steps by the time limit."""

    observation_space = spaces.Discrete(8)
    action_space = spaces.Discrete(1)
    length = INF

    def seen(self):
        return self.t % 8

    def earned(self, action) -> float:
        return 1.0


class HalfAndHalf(Probe):
    """One step, +1: it terminates where −1 is seen and is truncated where +1 is."""

    action_space = spaces.Discrete(1)

    def seen(self):
        return np.array([self.sign])

    def step(self, action):
        return self.seen(), 1.0, self.sign < 0, self.sign > 0, {}


class LastStep(Probe):
    """Four places in a ring; action 1 in the last one earns +1, and that is the step that is truncated."""

    observation_space = spaces.Discrete(4)
    length = INF

    def seen(self):
        return self.t % 4

    def earned(self, action) -> float:
        return float(self.t % 4 == 3 and action == 1)


class Quadratic(Probe):
    """−(a − 0.7)² for one action a ∈ [−2, 2]."""

    action_space = spaces.Box(-2, 2, (1,), np.float32)

    def earned(self, action) -> float:
        return -float((action[0] - 0.7) ** 2)


class Bound(Probe):
    """The action is the reward, and its best value is the bound 3 of [1, 3]."""

    action_space = spaces.Box(1, 3, (1,), np.float64)

    def earned(self, action) -> float:
        return float(action[0])


class Offset(Match):
    """Match with 10⁴ added to observation and reward."""

    def seen(self):
        return np.array([1e4 + self.sign])

    def earned(self, action) -> float:
        return 1e4 + super().earned(action)


class Counter(Probe):
    """The observation counts the steps; action 0 is right in the first three, action 1 in the last three."""

    length = 6

    def seen(self):
        return np.array([float(self.t)])

    def earned(self, action) -> float:
        return float(action == (self.t >= 3))


PROBES = {
    OneAction: "the value loss or the critic's optimizer",
    Signs: "the critic's way from the observation to the value",
    TwoSteps: "discounting, or bootstrapping inside an episode",
    TwoActions: "the policy's gradient, or the sign of the advantage",
    Match: "the pairing of observations, actions and advantages in a batch",
    Ring: "truncation: a cut episode must bootstrap from its last state",
    HalfAndHalf: "the difference between termination and truncation, column by column",
    LastStep: "the row before a truncation: its reward or its gradient is lost",
    Quadratic: "the Gaussian: its mean, its scaling to the bounds, or the entropy bonus",
    Bound: "clipping of actions, which must not reach the log-probability",
    Offset: "the normalisers of states and rewards",
    Counter: "the alignment of observations with actions and rewards in time",
}
LIMITS = {Ring: 8, LastStep: 4}


def name(probe: type[Probe]) -> str:
    """Its id."""
    return f"Probe{probe.__name__}-v0"


for probe in PROBES:
    gym.register(name(probe), probe, max_episode_steps=LIMITS.get(probe))
