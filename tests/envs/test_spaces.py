"""Every kind of space trains end to end, and every environment of gymnasium that can be made is stepped."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

from pgrun.envs import EnvSettings, make_envs, make_probed_env
from pgrun.envs.spaces import action_decoder, action_limits, check_action_space, observation_encoder
from pgrun.errors import InvalidCommand
from pgrun.policies.normalization import NoRewardScale, NoStateNorm
from pgrun.policies.policy import Separate, distribution_for
from pgrun.rollouts.samplers.steps import Steps
from pgrun.training.build import build_run
from pgrun.training.loop import train_run
from tests.helpers.support_pipeline import draw, settings

INF = np.inf


class AnySpaces(gym.Env):
    """Random observations of one space, strict about actions of the other; the reward is drawn too."""

    def __init__(self, observation: spaces.Space, action: spaces.Space):
        self.observation_space, self.action_space = observation, action

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        given = np.asarray(action)
        if isinstance(self.action_space, spaces.Discrete):
            assert self.action_space.contains(action), action
        else:
            assert given.shape == self.action_space.shape
            assert given.dtype == self.action_space.dtype
            assert self.action_space.contains(given), action
        self.t += 1
        ended = self.np_random.random() < 0.2
        return (
            self.observation_space.sample(),
            float(self.np_random.normal()),
            ended,
            self.t == 9 and not ended,
            {},
        )


gym.register("AnySpaces-v0", AnySpaces)

OBSERVATIONS = {
    "float32": (spaces.Box(-1, 1, (3,), np.float32), 3),
    "float64": (spaces.Box(-1, 1, (3,), np.float64), 3),
    "uint8 image": (spaces.Box(0, 255, (2, 3, 1), np.uint8), 6),
    "scalar": (spaces.Box(-1, 1, (), np.float64), 1),
    "unbounded": (spaces.Box(-INF, INF, (2,), np.float32), 2),
    "discrete": (spaces.Discrete(4), 4),
    "discrete from 5": (spaces.Discrete(4, start=5), 4),
    "discrete from -2": (spaces.Discrete(4, start=-2), 4),
    "multi-discrete": (spaces.MultiDiscrete([2, 3]), 5),
    "multi-binary": (spaces.MultiBinary(4), 4),
    "tuple": (spaces.Tuple((spaces.Discrete(2, start=1), spaces.Box(0, 1, (2,), np.float64))), 4),
    "dict": (spaces.Dict({"b": spaces.Discrete(3), "a": spaces.Box(0, 1, (1, 2), np.float32)}), 5),
}
ACTIONS = {
    "discrete": spaces.Discrete(3),
    "discrete from 1": spaces.Discrete(3, start=1),
    "discrete from -1": spaces.Discrete(3, start=-1),
    "multi-discrete": spaces.MultiDiscrete([2, 3]),
    "multi-discrete from 1": spaces.MultiDiscrete([2, 3], start=[1, -1]),
    "multi-binary": spaces.MultiBinary(3),
    "box": spaces.Box(-2, 4, (2,), np.float32),
    "box of float64": spaces.Box(-2, 4, (2,), np.float64),
    "uneven box": spaces.Box(np.array([-1.0, 0.0]), np.array([1.0, 10.0]), dtype=np.float64),
    "unbounded box": spaces.Box(-INF, INF, (2,), np.float32),
    "half-infinite box": spaces.Box(0, INF, (2,), np.float32),
    "box of shape ()": spaces.Box(-1, 1, (), np.float32),
    "box of shape (2, 3)": spaces.Box(-1, 3, (2, 3), np.float32),
}
ALGOS = {
    "ppo": "algo=ppo env.num_envs=2 sampler.steps=12 algo.epochs=2 algo.minibatches=2 state_norm=true",
    "reinforce": "algo=reinforce env.num_envs=2 sampler.episodes=3",
}


def short_run(observation: spaces.Space, action: spaces.Space, algo: str, folder) -> dict:
    words = f"env=ProbeMatch-v0 {ALGOS[algo]} network.hidden=[8] trainer.total_steps=60".split()
    changes = {"env.id": "AnySpaces-v0", "env.kwargs": {"observation": observation, "action": action}}
    own = settings(*words, **changes)
    run = build_run(own)
    before = run.policy.theta.clone()
    run.settings = settings(*words)  # spaces are no settings that a file could hold
    summary = train_run(run, folder)
    assert torch.isfinite(run.policy.theta).all()
    assert not torch.equal(run.policy.theta, before)
    return summary


@pytest.mark.parametrize("name", OBSERVATIONS)
def test_observations_train(name: str, tmp_path) -> None:
    assert short_run(OBSERVATIONS[name][0], spaces.Discrete(2), "ppo", tmp_path)["env_steps"] >= 60


@pytest.mark.parametrize("algo", ALGOS)
@pytest.mark.parametrize("name", ACTIONS)
def test_actions_train(name: str, algo: str, tmp_path) -> None:
    summary = short_run(OBSERVATIONS["float32"][0], ACTIONS[name], algo, tmp_path)
    assert np.isfinite(summary["eval"]["return_mean"])


@pytest.mark.parametrize("name", OBSERVATIONS)
def test_observations_become_vectors_one_to_one(name: str) -> None:
    """Flattened as gymnasium does it, entry for entry."""
    space, size = OBSERVATIONS[name]
    actual, encode = observation_encoder(space)
    space.seed(0)
    for _ in range(20):
        obs = space.sample()
        assert actual == size == len(encode(obs))
        np.testing.assert_array_equal(encode(obs), spaces.flatten(space, obs))


def test_one_hot_of_a_shifted_discrete_by_hand() -> None:
    _, encode = observation_encoder(spaces.Discrete(3, start=5))
    assert [encode(x).tolist() for x in (5, np.int64(6), 7)] == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_actions_are_scaled_to_finite_bounds_and_clipped_on_the_way_in() -> None:
    decode = action_decoder(spaces.Box(-2, 4, (1,), np.float64))
    assert decode(np.array([[-1.0], [0.0], [0.5], [1.0]])).ravel().tolist() == [-2, 1, 2.5, 4]
    assert decode(np.array([[-7.0], [1.5]])).ravel().tolist() == [-2, 4]
    half = action_decoder(spaces.Box(np.array([0, -INF]), np.array([INF, 3.0]), dtype=np.float64))
    assert half(np.array([[-1.0, -5.0], [2.5, 9.0]])).tolist() == [[0, -5], [2.5, 3]], (
        "as it is, only clipped"
    )


VAST = float(np.finfo(np.float32).max)


@pytest.mark.parametrize("bound", [VAST, 3.4e38, 1.7e308, INF])
def test_the_largest_number_is_no_bound(bound: float) -> None:
    """Actions are not scaled by it: a policy's 0.5 would be 1.7e38."""
    box = spaces.Box(-bound, bound, (2,), np.float32 if bound <= VAST or bound == INF else np.float64)
    assert action_decoder(box)(np.array([[0.5, -7.0]])).tolist() == [[0.5, -7.0]]
    assert np.stack(action_limits(box)).tolist() == [[-INF, -INF], [INF, INF]]
    half = spaces.Box(np.array([0.0, -bound]), np.array([bound, 3.0]), dtype=np.float64)
    assert action_decoder(half)(np.array([[-1.0, -5.0], [2.5, 9.0]])).tolist() == [[0, -5], [2.5, 3]]
    assert np.stack(action_limits(half)).tolist() == [[0, -INF], [INF, 3]]


def test_a_large_bound_is_one() -> None:
    assert action_decoder(spaces.Box(-1e30, 1e30, (1,), np.float64))(np.array([[0.5]])).item() == 5e29


IMAGES = {
    "colours": spaces.Box(0, 255, (8, 8, 3), np.uint8),
    "a stack of frames": spaces.Box(0, 255, (4, 16, 16, 1), np.uint8),
    "grey": spaces.Box(0, 255, (40, 40), np.uint8),
    "in a dict": spaces.Dict({"a": spaces.Discrete(2), "b": spaces.Box(0, 255, (2, 2, 3), np.uint8)}),
    "in a tuple": spaces.Tuple((spaces.Discrete(2), spaces.Box(0, 255, (2, 2, 3), np.uint8))),
}
NO_IMAGES = {
    "a board": spaces.Box(0, 2, (6, 7), np.uint8),
    "bytes": spaces.Box(0, 255, (128,), np.uint8),
    "a grid of floats": spaces.Box(0, 1, (40, 40), np.float32),
    "boards": spaces.Dict({"a": spaces.Box(0, 2, (6, 7), np.uint8)}),
}


def seeing(space: spaces.Space, **given: bool) -> EnvSettings:
    return EnvSettings("AnySpaces-v0", 1, None, {"observation": space, "action": spaces.Discrete(2)}, **given)


@pytest.mark.parametrize("space", IMAGES.values(), ids=IMAGES)
def test_images_are_flattened_where_that_is_wanted_alone(space: spaces.Space) -> None:
    with pytest.raises(
        InvalidCommand,
        match=r"images of .* × .* bytes.* type env\.flatten_images=true for one of [\d,]+ numbers",
    ):
        make_probed_env(seeing(space))
    make_probed_env(seeing(space, flatten_images=True)).close()


@pytest.mark.parametrize("space", NO_IMAGES.values(), ids=NO_IMAGES)
def test_what_is_no_image_is_taken_as_it_is(space: spaces.Space) -> None:
    make_probed_env(seeing(space)).close()
    with pytest.raises(InvalidCommand, match="gives no images: leave it out"):
        make_probed_env(seeing(space, flatten_images=True))


def test_car_racing_is_refused() -> None:
    with pytest.raises(
        InvalidCommand,
        match=r"CarRacing-v3: its observations are images of 96 × 96 × 3 bytes.* 27,648 numbers",
    ):
        make_probed_env(EnvSettings("CarRacing-v3", 1))


BOXES = {
    "bounded": spaces.Box(-2, 4, (2,), np.float64),
    "half": spaces.Box(np.array([0, -INF]), np.array([INF, 3.0]), dtype=np.float64),
    "unbounded": spaces.Box(-INF, INF, (2,), np.float64),
}


@pytest.mark.parametrize("space", BOXES.values(), ids=BOXES)
def test_a_critic_is_told_of_an_action_what_the_environment_takes(space: spaces.Box) -> None:
    kwargs = {"observation": spaces.Box(-1, 1, (3,), np.float32), "action": space}
    own = settings("algo=off_policy_ac", **{"env.id": "AnySpaces-v0", "env.kwargs": kwargs})
    critic, decode = build_run(own).learner.critic, action_decoder(space)
    action = 5 * torch.randn(1000, 2, generator=draw(0))
    told = critic.inputs(torch.zeros(1000, 3), action)[:, 3:]
    np.testing.assert_array_equal(decode(told.numpy()), decode(action.numpy()))
    at_bound = (decode(action.numpy()) == space.low) | (decode(action.numpy()) == space.high)
    np.testing.assert_array_equal((told != action).numpy(), at_bound)
    assert at_bound.any() == (space is not BOXES["unbounded"])


def test_discrete_actions_are_shifted() -> None:
    assert action_decoder(spaces.Discrete(3, start=-1))(np.array([0, 1, 2])).tolist() == [-1, 0, 1]
    shifted = action_decoder(spaces.MultiDiscrete([2, 3], start=[1, -1]))
    assert shifted(np.array([[0, 0], [1, 2]])).tolist() == [[1, -1], [2, 1]]


def test_what_is_learned_from_is_the_unclipped_gaussian() -> None:
    """σ = e² on [−1, 1]: most actions leave the bounds, the rollout keeps them and
    their density as they were drawn.
    """
    box = spaces.Box(-1, 1, (2,), np.float32)
    envs = make_envs(EnvSettings("AnySpaces-v0", 2, None, {"observation": box, "action": box}), 2)
    envs.reset([0, 1])
    policy = Separate(hidden=(4,), log_std=2.0).policy(2, distribution_for(box), NoStateNorm(), False, draw())
    rollout, _ = Steps(50).collect(policy, envs, draw(1), NoRewardScale())
    assert (rollout.action.abs() > 1).float().mean() > 0.8
    mean, log_std = policy.params(rollout.obs[:-1]).chunk(2, -1)
    oracle = torch.distributions.Normal(mean, log_std.exp()).log_prob(rollout.action).sum(-1)
    torch.testing.assert_close(rollout.log_prob, oracle)


@pytest.mark.parametrize(
    ("space", "reason"),
    [
        (spaces.Box(0, 5, (2,), np.int64), "a Box of integers has no density"),
        (spaces.MultiBinary([2, 2]), "only one axis"),
        (spaces.MultiDiscrete([[2, 2], [3, 3]]), "only one axis"),
        (spaces.Text(5), "is not supported"),
        (spaces.Tuple((spaces.Discrete(2),)), "is not supported"),
    ],
    ids=str,
)
def test_other_actions_are_refused(space: spaces.Space, reason: str) -> None:
    with pytest.raises(InvalidCommand, match=reason):
        check_action_space(space)


@pytest.mark.parametrize(
    "space",
    [spaces.Text(5), spaces.Sequence(spaces.Discrete(2)), spaces.Graph(spaces.Discrete(2), None)],
    ids=str,
)
def test_other_observations_are_refused(space: spaces.Space) -> None:
    with pytest.raises(InvalidCommand, match="is not supported"):
        make_probed_env(
            EnvSettings("AnySpaces-v0", 1, None, {"observation": space, "action": spaces.Discrete(2)})
        )
