"""The samplers against a plain reading of what the environments wrote down themselves."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch

from pgrun.envs import EnvSettings, make_envs
from pgrun.errors import EnvironmentFault
from pgrun.policies.normalization import NoRewardScale
from pgrun.policies.policy import NumpyActor, TorchActor
from pgrun.rollouts.samplers.episodes import Episodes
from pgrun.rollouts.samplers.steps import Steps
from pgrun.training.loop import train_run
from pgrun.types import Rollout
from tests.campaigns import probes
from tests.helpers.support_pipeline import Script, built, draw, loop, small_policy, started, trained
from tests.helpers.support_record import Recorded, Row, episodes, rows


def same(rollout: Rollout, t: int, n: int, row: Row) -> None:
    """Row t of column n is what the record says."""
    assert rollout.raw_obs[t, n].tolist() == row.obs
    assert bool(rollout.mask[t, n]) == (row.action is not None)
    assert rollout.reward[t, n] == rollout.raw_reward[t, n] == row.reward
    assert bool(rollout.terminated[t, n]) == row.terminated
    assert bool(rollout.ended[t, n]) == row.ended
    if row.action is not None:
        assert rollout.action[t, n] == row.action
        assert rollout.time[t, n] == row.time
        assert rollout.raw_obs[t + 1, n].tolist() == row.next, "obs[t+1] is the true successor"


@pytest.mark.parametrize(("steps", "columns"), [(1, 1), (1, 4), (2, 3), (7, 3), (40, 2)])
def test_steps_goes_on_across_rollouts_and_masks_the_reset_rows(steps: int, columns: int) -> None:
    originals = [Recorded(seed) for seed in range(columns)]
    envs, policy, noise = started(*originals), small_policy(2, 3), draw()
    rollouts, finished = [], []
    for _ in range(30):
        rollout, ended = Steps(steps).collect(policy, envs, noise, NoRewardScale())
        assert rollout.count == steps * columns
        assert not rollout.whole_episodes
        rollouts.append(rollout)
        finished += ended
    for n, env in enumerate(originals):
        wanted = rows(env.record)
        assert len(wanted) == 30 * steps
        for k, row in enumerate(wanted):
            same(rollouts[k // steps], k % steps, n, row)
    lengths = [(sum(r.reward for r in e), len(e)) for env in originals for e in episodes(env.record)]
    assert sorted(finished) == sorted(lengths)
    assert envs.episodes.tolist() == [len(episodes(env.record)) for env in originals]


@pytest.mark.parametrize("steps", [1, 3, 50])
def test_a_huge_reward_costs_later_episodes_no_digits(steps: int) -> None:
    """The returns that are reported are of each episode's own rewards, over one rollout or several."""
    small = [(0.1, 0.0), (0.2, 0.0), (0.3, 0.0)]
    script = Script([0.0], [small, [(1e17, 0.0)], small], ["terminated"] * 3)
    envs, finished = started(script), []
    while len(finished) < 3:
        finished += Steps(steps).collect(small_policy(1, 2), envs, draw(), NoRewardScale())[1]
    assert finished[:3] == [(0.1 + 0.2 + 0.3, 3), (1e17, 1), (0.1 + 0.2 + 0.3, 3)]


@pytest.mark.parametrize(("wanted", "columns"), [(1, 1), (5, 5), (7, 3), (2, 4), (12, 4)])
def test_episodes_gives_each_column_one_whole_episode(wanted: int, columns: int) -> None:
    originals = [Recorded(seed) for seed in range(columns)]
    rollout, finished = Episodes(wanted).collect(
        small_policy(2, 3), loop(*originals), draw(), NoRewardScale()
    )
    played = [e for env in originals for e in episodes(env.record)]
    assert rollout.mask.shape[1] == len(played) == wanted == rollout.count
    assert rollout.whole_episodes
    shares = [len(episodes(env.record)) for env in originals]
    assert max(shares) - min(shares) <= 1, "each environment plays a fixed share"
    for n, episode in enumerate(played):
        for t, row in enumerate(episode):
            same(rollout, t, n, row)
        assert rollout.mask[:, n].sum() == len(episode)
        assert rollout.ended[:, n].sum() == 1
        assert finished[n] == (sum(row.reward for row in episode), len(episode))
        assert not rollout.reward[len(episode) :, n].any(), "padding earns nothing"


def test_log_probabilities_and_parameters_are_those_of_the_acting_policy() -> None:
    """Against torch's own distribution, row by row."""
    policy = small_policy(2, 3)
    rollout, _ = Steps(50).collect(policy, started(Recorded(0), Recorded(1)), draw(), NoRewardScale())
    logits = policy.params(rollout.raw_obs[:-1])
    torch.testing.assert_close(rollout.params, logits)
    oracle = torch.distributions.Categorical(logits=logits).log_prob(rollout.action)
    torch.testing.assert_close(rollout.log_prob, oracle)


def test_both_actors_act_alike() -> None:
    """NumPy and torch round differently: scores closer than that to a tie may differ,
    none of these 500 is.
    """
    policy, obs = small_policy(4, 3), np.random.default_rng(0).normal(size=(500, 4)).astype(np.float32)
    noise = policy.dist.noise((500,), draw(), torch.float32)
    assert (NumpyActor(policy)(obs, noise) == TorchActor(policy)(obs, noise)).all()
    assert (NumpyActor(policy)(obs, None) == policy.params(torch.from_numpy(obs)).argmax(-1).numpy()).all()


class LongOrShort(gym.Env):
    """A coin at the start: one step and return 1, or ten steps and return 10. Mean 5.5."""

    observation_space = probes.Probe.observation_space
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = int(self.np_random.choice([1, 10]))
        return np.zeros(1), {}

    def step(self, action):
        self.left -= 1
        return np.zeros(1), 1.0, self.left == 0, False, {}


def test_episodes_is_unbiased_where_the_first_to_finish_are_not() -> None:
    policy, noise, repeats = small_policy(1, 2), draw(), 200

    def mean_and_error(sample: list[float]) -> tuple[float, float]:
        return float(np.mean(sample)), float(np.std(sample) / len(sample) ** 0.5)

    envs = loop(*(LongOrShort() for _ in range(4)))
    envs.reset([1, 2, 3, 4])
    ours, first = [], []
    for _ in range(repeats):
        ours.append(np.mean([r for r, _ in Episodes(4).collect(policy, envs, noise, NoRewardScale())[1]]))
        envs.reset()
        first.append(np.mean([r for r, _ in Steps(12).collect(policy, envs, noise, NoRewardScale())[1][:4]]))
    mean, error = mean_and_error(ours)
    assert abs(mean - 5.5) < 4 * error
    mean, error = mean_and_error(first)
    assert mean < 5.5 - 4 * error, "negative control: the first four to finish favour short episodes"


class Counted(gym.Wrapper):
    steps = 0

    def step(self, action):
        self.steps += 1
        return super().step(action)


@pytest.mark.parametrize(
    "words", ["algo=ppo sampler.steps=16 algo.minibatches=2", "algo=reinforce sampler.episodes=5"]
)
def test_env_steps_are_the_steps_the_environments_took(words: str, tmp_path) -> None:
    run = built(*words.split(), "env=ProbeCounter-v0", "env.num_envs=4", "trainer.total_steps=200")
    run.envs.envs = [Counted(env) for env in run.envs.envs]
    assert train_run(run, tmp_path)["env_steps"] == sum(env.steps for env in run.envs.envs) >= 200


def test_a_rollout_that_only_resets_makes_no_update(tmp_path) -> None:
    """One-step episodes, one row a rollout: every other rollout has no row of mask 1,
    and Adam must not move on it.
    """
    words = "algo=a2c optimizer=adam critic/optimizer=adam env=ProbeMatch-v0 env.num_envs=2 sampler.steps=1"
    run, summary = trained(tmp_path, *words.split(), "trainer.total_steps=20")
    assert summary["env_steps"] == 20
    assert summary["updates"] == 10 == run.learner.optimizer.state["step"]


# --- environments -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [None, 20])
def test_native_cartpole_is_the_single_one(limit: int | None) -> None:
    """Given its states and actions, step by step, over terminations, truncations (500, or 20) and resets.

    1e-6: the two sum float64 in another order, and the observation is float32.
    """
    native = make_envs(EnvSettings("CartPole-v1", 6, limit), 6)
    extra = {"max_episode_steps": limit} if limit else {}
    singles = started(*(gym.make("CartPole-v1", **extra) for _ in range(6)))
    assert type(native) is not type(singles)
    native.reset([3])
    random, ends = np.random.default_rng(0), []
    for t in range(1100):
        for n, env in enumerate(singles.envs):
            env.unwrapped.state = (
                native.place[n] if hasattr(native, "place") else native.envs.state[:, n]
            ).copy()
        singles.obs[:] = native.obs
        steady = (native.obs[:, 2] + 0.3 * native.obs[:, 3] + 0.02 * native.obs[:, 0] > 0) * 1
        action = np.where(np.arange(6) < 3, steady, random.integers(2, size=6))
        resets = native.ended.copy()
        ours, theirs = native.step(action), singles.step(action)
        for a, b in zip(ours, theirs, strict=True):
            assert (a == b).all(), t
        np.testing.assert_allclose(native.obs[~resets], singles.obs[~resets], rtol=1e-6, atol=1e-6)
        assert (np.abs(native.obs[resets]) <= 0.05).all()
        assert (native.ended == singles.ended).all()
        ends += [(bool(ours[1][n]), bool(ours[2][n])) for n in np.flatnonzero(native.ended)]
    assert (False, True) in ends, "a truncation was seen"
    assert limit or (True, False) in ends, "a termination was seen"


def test_an_environment_that_never_ends_is_an_error_not_a_hang() -> None:
    with pytest.raises(
        EnvironmentFault, match=r"column 0, episode 0, step 50: the episode is still going: set env\.max_"
    ):
        Episodes(2, max_steps=50).collect(
            small_policy(8, 1), loop(probes.Ring(), probes.Ring()), draw(), NoRewardScale()
        )


def test_an_episode_may_last_exactly_max_steps() -> None:
    long = [(1.0, 0.0)] * 50
    script = Script([0.0] * 3, [long, long, long], ["terminated"] * 3)
    _, finished = Episodes(2, max_steps=50).collect(small_policy(1, 2), loop(script), draw(), NoRewardScale())
    assert finished == [(50.0, 50)] * 2
    script = Script([0.0] * 3, [long, [*long, (1.0, 0.0)]], ["terminated"] * 2)
    with pytest.raises(EnvironmentFault, match="column 0, episode 1, step 50:"):
        Episodes(3, max_steps=50).collect(small_policy(1, 2), loop(script), draw(), NoRewardScale())


# --- faults -------------------------------------------------------------------------------------------------

GOOD = [(1.0, 0.5)] * 4


def faulty(kind: str, bad: float) -> Script:
    """Episode 1 goes wrong at its step 3, or at its reset."""
    row = {"reward": (bad, 0.5), "observation": (1.0, bad), "reset": (1.0, 0.5)}[kind]
    starts = [0.0, bad if kind == "reset" else 0.0]
    return Script(starts, [GOOD, [*GOOD[:2], row, *GOOD]], ["truncated", "terminated"])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("kind", "step"), [("reward", 3), ("observation", 3), ("reset", 0)])
@pytest.mark.parametrize("sampler", [Episodes(4), Steps(20), Steps(3), Steps(1)], ids=str)
def test_nan_and_infinity_are_named_not_learned_from(sampler, kind: str, step: int, bad: float) -> None:
    fine = Script([0.0], [GOOD] * 9, ["terminated"] * 9)
    envs = loop(fine, faulty(kind, bad))
    if isinstance(sampler, Steps):
        envs.reset()

    def collect(times: int) -> None:
        for _ in range(times):
            sampler.collect(small_policy(1, 2), envs, draw(), NoRewardScale())

    what = "reward" if kind == "reward" else "observation"
    with pytest.raises(EnvironmentFault, match=f"column 1, episode 1, step {step}: {what} is {bad}$"):
        collect(20)


def test_a_fault_ends_training_with_finite_parameters(tmp_path) -> None:
    run = built(*["algo=ppo", "env=ProbeMatch-v0", "env.num_envs=1", "sampler.steps=8", "algo.minibatches=1"])
    run.envs.envs = [faulty("reward", np.nan)]
    run.envs.reset()
    before = run.policy.theta.clone()
    with pytest.raises(EnvironmentFault):
        train_run(run, tmp_path)
    assert torch.equal(run.policy.theta, before)
