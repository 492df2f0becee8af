"""MuJoCo's tasks played by a kernel: the rows that gymnasium's own steps give, to the bit, and nothing left
behind in Python's objects.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("mujoco")

from pgrun.compiled.twins import compile_policy
from pgrun.envs import EnvSettings, make_envs
from pgrun.envs.simulated import Simulated
from pgrun.errors import EnvironmentFault
from pgrun.policies.compiled_actor import CompiledActor
from pgrun.policies.distributions import Gaussian
from pgrun.policies.normalization import NoStateNorm, RunningNorm
from pgrun.policies.policy import Network
from pgrun.rollouts.samplers.base import advance_recorder
from pgrun.rollouts.samplers.episodes import Episodes
from pgrun.rollouts.simulated_player import memory_of, split_columns
from pgrun.rollouts.trajectory import Recorder

pytestmark = pytest.mark.filterwarnings("ignore:.*out of date")
TASKS = {  # with arguments that change observations, rewards and ends
    "HalfCheetah-v5": {"exclude_current_positions_from_observation": False, "ctrl_cost_weight": 0.3},
    "Swimmer-v5": {"frame_skip": 2},
    "Hopper-v5": {"healthy_reward": 0.7},
    "Walker2d-v5": {"healthy_z_range": (0.5, 3.0), "forward_reward_weight": 2.0},
    "InvertedPendulum-v5": {},
}
COLUMNS = 3


def make(name: str, how: str, limit: int | None = 23, **kwargs: Any) -> Any:
    envs = make_envs(EnvSettings(name, COLUMNS, limit, kwargs, vector=how), COLUMNS)  # type: ignore[arg-type]
    return envs


def make_actor(envs: Any, normalised: bool) -> Any:
    normaliser = RunningNorm(envs.obs_size) if normalised else NoStateNorm()
    normaliser.widen_observations(envs)
    envs.reset([5, 6, 7])
    size = envs.action_space.shape[0]
    generator = torch.Generator().manual_seed(0)
    policy = Network((8, 20)).policy(envs.obs_size, Gaussian(size), normaliser, False, generator)
    policy.theta.normal_(generator=torch.Generator().manual_seed(1)).mul_(0.5)
    if normalised:
        normaliser.mean.fill_(0.1)
        normaliser.scale.fill_(1.7)
    return compile_policy(policy).actor()


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("name", TASKS)
def test_bit_equal_to_gymnasium(name: str, normalised: bool) -> None:
    """60 rows of three columns, over falls and time limits; and where every column stands afterwards."""
    ours, theirs = (make(name, how, **TASKS[name]) for how in ("auto", "loop"))
    actors = [make_actor(envs, normalised) for envs in (ours, theirs)]
    assert isinstance(actors[0], CompiledActor)
    noise = torch.randn(60, COLUMNS, *ours.action_space.shape, generator=torch.Generator().manual_seed(2))
    kernel, plain, calls = Recorder(ours, 16), Recorder(theirs, 60), 0
    while kernel.rows < len(noise):
        advance_recorder(kernel, actors[0], ours, noise[kernel.rows :], len(noise) - kernel.rows)
        calls += 1
    for row in noise:
        plain.step(actors[1], theirs, row)
    seen, wanted = kernel.arrays(ours), plain.arrays(theirs)
    for x, y in zip(vars(seen).values(), vars(wanted).values(), strict=True):
        assert np.array_equal(x, y)
    assert seen.terminated.any() == (name in ("Hopper-v5", "Walker2d-v5", "InvertedPendulum-v5"))
    assert calls <= seen.ended.any(1).sum() + 1
    assert str(ours.state_dict()) == str(theirs.state_dict())
    assert [c._elapsed_steps for c in ours.clocks] == [noted.steps for noted in ours.noted]


def test_inactive_columns_stand_still() -> None:
    """Of whole episodes a column has its share; the others wait, and their simulators are not touched."""
    ours, theirs = (make("Hopper-v5", how) for how in ("auto", "loop"))
    for envs in (ours, theirs):
        envs.reset([5, 6, 7])
    actors = [make_actor(envs, False) for envs in (ours, theirs)]
    collected = []
    for envs, actor in zip((ours, theirs), actors, strict=True):
        sampler = Episodes(episodes=4)
        policy: Any = type("P", (), {"actor": lambda self, actor=actor: actor})()
        collected.append(sampler._play(policy, envs, None, np.array([2, 1, 1])).arrays(envs))
    assert all(np.array_equal(x, y) for x, y in zip(*(vars(one).values() for one in collected), strict=True))
    assert str(ours.state_dict()) == str(theirs.state_dict())


def test_a_reset_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = make("Hopper-v5", "auto")
    actor = make_actor(ours, False)
    ours.ended = np.array([False, True, False])

    def fail(**_: Any) -> Any:
        raise RuntimeError("no memory for it")

    monkeypatch.setattr(ours.envs[1], "reset", fail)
    with pytest.raises(EnvironmentFault, match=r"column 1.*no memory for it"):
        advance_recorder(Recorder(ours, 4), actor, ours, None, 4)


@pytest.mark.parametrize("name", ["Reacher-v5", "InvertedDoublePendulum-v5", "Pusher-v5"])
def test_tasks_whose_formulas_are_numpys_are_not_played(name: str) -> None:
    """NumPy's sines are its own, and not to be had in a kernel."""
    ours = make(name, "auto")
    assert isinstance(ours, Simulated)
    assert memory_of(ours) is None


def test_a_mujoco_that_hides_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps are then taken one by one, as before."""
    monkeypatch.setattr("pgrun.envs.simulator_memory.find_functions", lambda: None)
    ours = make("Hopper-v5", "auto")
    actor = make_actor(ours, False)
    track = Recorder(ours, 4)
    assert advance_recorder(track, actor, ours, None, 4) == 1
    assert track.rows == 1


@pytest.mark.parametrize("name", ["HalfCheetah-v5", "Hopper-v5"])
def test_the_number_of_cores_moves_no_bit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each column by itself, two and one of them, and all three on one core."""
    played = []
    for number in (1, 2, 3):
        monkeypatch.setattr("pgrun.rollouts.simulated_player.count_usable_cores", lambda n=number: n)
        assert len(split_columns(np.ones(COLUMNS, bool))) == number
        ours = make(name, "auto")
        actor, track = make_actor(ours, True), Recorder(ours, 64)
        noise = torch.randn(64, COLUMNS, *ours.action_space.shape, generator=torch.Generator().manual_seed(2))
        assert advance_recorder(track, actor, ours, noise, 64) == 64
        played.append((vars(track.arrays(ours)), str(ours.state_dict())))
    for arrays, state in played[1:]:
        assert state == played[0][1]
        assert all(np.array_equal(x, played[0][0][key]) for key, x in arrays.items())


def test_columns_are_split_by_what_there_is_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgrun.rollouts.simulated_player.count_usable_cores", lambda: 2)
    assert split_columns(np.array([True, False, False, True, True, True])) == [(0, 4), (4, 6)]
    assert split_columns(np.array([False, True, False])) == [(1, 2)]
    assert split_columns(np.zeros(3, bool)) == [(0, 0)]
