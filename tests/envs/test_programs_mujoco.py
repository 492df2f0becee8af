"""MuJoCo's tasks stepped through views of the simulator: gymnasium's numbers to the bit."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mujoco")

from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv
from gymnasium.wrappers import TimeLimit

from pgrun.envs import EnvSettings, make_envs
from pgrun.envs.simulated import SIMULATIONS, Simulated, simulation_of
from pgrun.envs.vector import Loop

pytestmark = pytest.mark.filterwarnings("ignore:.*out of date")
NAMES = [f"{name.split('.')[1].removesuffix('Env')}-v5" for name in SIMULATIONS]
OTHERWISE = {  # arguments that change rewards, ends and observations
    "HalfCheetah-v5": {"exclude_current_positions_from_observation": False, "ctrl_cost_weight": 0.3},
    "Swimmer-v5": {"exclude_current_positions_from_observation": False, "frame_skip": 2},
    "Hopper-v5": {"terminate_when_unhealthy": False, "healthy_reward": 0.7},
    "Walker2d-v5": {"healthy_z_range": (0.5, 3.0), "forward_reward_weight": 2.0},
    "InvertedDoublePendulum-v5": {"healthy_reward": 3.0},
    "Reacher-v5": {"reward_dist_weight": 2.0},
    "Pusher-v5": {"reward_near_weight": 2.0},
}


def both(name: str, limit: int | None, **kwargs: Any) -> tuple[Simulated, Loop]:
    ours, theirs = (
        make_envs(EnvSettings(name, 2, limit, kwargs, vector=how), 2)  # type: ignore[arg-type]
        for how in ("auto", "loop")
    )
    assert type(ours) is Simulated
    assert type(theirs) is Loop
    return ours, theirs


def first_difference(ours: Loop, theirs: Loop, steps: int, seed: int) -> str | None:
    rng = np.random.default_rng(seed)
    for t in range(steps):
        action = rng.normal(size=(2, *ours.action_space.shape)).astype(np.float32)  # type: ignore[misc]
        for x, y in zip(ours.step(action), theirs.step(action), strict=True):
            if not np.array_equal(x, y):
                return f"reward or end in step {t}"
        if not np.array_equal(ours.obs, theirs.obs) or not np.array_equal(ours.ended, theirs.ended):
            return f"observation in step {t}"
    return None


@pytest.mark.parametrize("name", NAMES)
def test_bit_equal_to_gymnasium(name: str) -> None:
    """600 steps over falls and time limits, with other arguments too."""
    for limit, kwargs, steps in ((None, {}, 500), (23, OTHERWISE.get(name, {}), 100)):
        ours, theirs = both(name, limit, **kwargs)
        ours.keep_float64()
        theirs.keep_float64()
        for envs in (ours, theirs):
            envs.reset([3, 4])
        assert first_difference(ours, theirs, steps, 0) is None


@pytest.mark.parametrize("name", NAMES)
def test_each_goes_on_where_the_other_stood(name: str) -> None:
    ours, theirs = both(name, 30)
    for envs, seed in ((ours, 3), (theirs, 8)):
        envs.reset([seed, seed + 1])
    first_difference(ours, theirs, 17, 0)
    theirs.load_state_dict(copy.deepcopy(ours.state_dict()))
    assert first_difference(ours, theirs, 40, 1) is None
    assert ours.steps(0) == theirs.steps(0)
    first_difference(ours, theirs, 5, 2)
    ours.load_state_dict(copy.deepcopy(theirs.state_dict()))
    assert first_difference(ours, theirs, 40, 3) is None


def test_a_constant_that_is_changed_is_seen() -> None:
    ours, theirs = both("HalfCheetah-v5", None)
    theirs.envs[1].unwrapped._ctrl_cost_weight *= 1 + 1e-6  # type: ignore[attr-defined]
    for envs in (ours, theirs):
        envs.reset([3, 4])
    assert first_difference(ours, theirs, 20, 0) is not None


def test_other_environments_are_left_alone() -> None:
    class Mine(HalfCheetahEnv):
        pass

    assert simulation_of(TimeLimit(HalfCheetahEnv(), 10)) is not None
    assert simulation_of(TimeLimit(Mine(), 10)) is None
    assert simulation_of(HalfCheetahEnv()) is None
    assert simulation_of(TimeLimit(HalfCheetahEnv(render_mode="rgb_array"), 10)) is None


def test_a_simulator_that_will_change_its_language_is_not_heard(capfd: pytest.CaptureFixture[str]) -> None:
    """Whichever version is installed; afterwards its warnings are told as before."""
    from pgrun.envs.make import make_one

    make_one(EnvSettings("HalfCheetah-v5", 1)).close()
    assert "deprecated" not in "".join(capfd.readouterr())
