"""Normalisers against NumPy and plain loops, over many consecutive rollouts of the real samplers."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from safetensors.torch import load_file

from pgrun.envs.vector import Loop
from pgrun.errors import EnvironmentFault
from pgrun.policies.normalization import NoRewardScale, NoStateNorm, RewardScale, RunningNorm
from pgrun.policies.policy import NumpyActor, TorchActor
from pgrun.rollouts.samplers.episodes import Episodes
from pgrun.rollouts.samplers.replay import Replay
from pgrun.rollouts.samplers.steps import Steps
from pgrun.storage.saved_policy import Saved
from pgrun.tools.play.options import PlayOptions
from pgrun.tools.play.play import load_role, play_unseen
from pgrun.training.loop import evaluate_policy
from tests.helpers.support_pipeline import built, draw, loop, small_policy, trained
from tests.helpers.support_record import Recorded, episodes, rows

GAMMA = 0.9
SAMPLERS = {"steps": Steps(5), "steps of one row": Steps(1), "many steps": Steps(33), "episodes": Episodes(5)}
each_sampler = pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)


def played(sampler, norm, scale, rollouts: int = 12, columns: int = 2):
    """(environments, rollouts) with both normalisers updated after each rollout, as training does."""
    originals = [Recorded(seed) for seed in range(columns)]
    envs, policy, noise = loop(*originals), small_policy(2, 3, norm), draw()
    if isinstance(sampler, Steps):
        envs.reset()
    collected = []
    for _ in range(rollouts):
        rollout, _ = sampler.collect(policy, envs, noise, scale)
        norm.update(rollout)
        scale.update(rollout)
        collected.append(rollout)
    return originals, collected


@each_sampler
def test_state_statistics_are_those_of_every_observation_once(sampler) -> None:
    """Each observation acted on, and the last one of each episode; the one that a cut
    leaves pending comes later.
    """
    norm = RunningNorm(2)
    originals, _ = played(sampler, norm, NoRewardScale())
    seen = []
    for env in originals:
        for row in rows(env.record):
            if row.action is not None:
                seen += [row.obs] + [row.next] * row.ended
    seen = np.array(seen)
    assert norm.moments.count == len(seen) == len(np.unique(seen[:, 0])), "every observation is unique here"
    np.testing.assert_allclose(norm.moments.mean, seen.mean(0), rtol=1e-12)
    np.testing.assert_allclose(norm.moments.std, seen.std(0), rtol=1e-12)


@each_sampler
def test_reward_scale_is_the_deviation_of_the_running_discounted_return(sampler) -> None:
    """R ← γR + r within an episode, across rollouts; a new episode starts at 0."""
    scale = RewardScale(GAMMA, 2)
    originals, _ = played(sampler, NoStateNorm(), scale)
    returns, unbroken = [], []
    for env in originals:
        running = wrong = 0.0
        for row in rows(env.record):
            if row.action is None:
                running = 0.0
                continue
            running, wrong = GAMMA * running + row.reward, GAMMA * wrong + row.reward
            returns.append(running)
            unbroken.append(wrong)
    assert scale.moments.count == len(returns)
    assert scale.scale == pytest.approx(np.std(returns), rel=1e-12)
    assert scale.scale != pytest.approx(np.std(unbroken), rel=1e-3), "negative control: no restart"


@each_sampler
def test_statistics_are_frozen_during_a_rollout_and_move_after_it(sampler) -> None:
    """What the networks saw is each rollout's own raw data under the statistics of the rollouts before it."""
    norm, scale = RunningNorm(2), RewardScale(GAMMA, 2)
    _, rollouts = played(sampler, norm, scale, rollouts=6)
    fresh, fresh_scale = RunningNorm(2), RewardScale(GAMMA, 2)
    for rollout in rollouts:
        assert torch.equal(rollout.obs, fresh(rollout.raw_obs))
        assert torch.equal(rollout.reward, fresh_scale(rollout.raw_reward))
        fresh.update(rollout)
        fresh_scale.update(rollout)
    assert not torch.equal(rollout.reward, rollout.raw_reward)
    assert not torch.equal(rollout.obs, rollout.raw_obs)


def test_clipped_to_ten_deviations_and_alike_in_numpy() -> None:
    norm = RunningNorm(2)
    played(Steps(20), norm, NoRewardScale())
    obs = np.array([[1e9, -1e9], [3.0, -0.5]], np.float32)
    ours = norm(torch.from_numpy(obs))
    assert ours[0].tolist() == [10, -10]
    np.testing.assert_allclose(norm.in_numpy()(obs), ours, rtol=1e-6)  # two libraries, float32


def test_a_constant_observation_stays_finite() -> None:
    run = built(*["algo=ppo", "env=ProbeTwoActions-v0", "state_norm=true", "reward_scaling=true"])
    for _ in range(2):
        rollout, _ = run.sampler.collect(run.policy, run.envs, run.noise, run.scale)
        run.policy.normaliser.update(rollout)
    assert torch.isfinite(rollout.obs).all()


def test_large_offsets_lose_no_precision() -> None:
    """10⁶ ± 1: E[x²] − E[x]² in float32 would be noise; merged moments keep ten digits."""
    norm = RunningNorm(1)
    x = np.random.default_rng(0).normal(size=(50, 200, 1)) + 1e6
    for rows_ in torch.from_numpy(x):
        norm.moments.update(rows_, torch.ones(len(rows_)))
    assert norm.moments.std.item() == pytest.approx(x.std(), rel=1e-9)


NORMALISED = (
    "algo=ppo env=Pendulum-v1 env.num_envs=2 sampler.steps=32 trainer.total_steps=256 state_norm=true"
)


def test_evaluation_moves_nothing_and_the_statistics_are_saved_with_the_policy(tmp_path) -> None:
    run, _ = trained(tmp_path, *NORMALISED.split(), "reward_scaling=true")
    before = {k: v.clone() for k, v in run.policy.state_dict().items()}
    evaluate_policy(run)
    after = run.policy.state_dict()
    assert before.keys() == after.keys() == {"theta", "obs_count", "obs_mean", "obs_squares"}
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert before["obs_count"] == 256


def test_state_dicts_restore_both() -> None:
    norm, scale = RunningNorm(2), RewardScale(GAMMA, 2)
    originals, rollouts = played(Steps(7), norm, scale)
    assert episodes(originals[0].record)
    again, again_scale = RunningNorm(2), RewardScale(GAMMA, 2)
    again.load_state_dict(norm.state_dict())
    again_scale.load_state_dict({k: v.clone() for k, v in scale.state_dict().items()})
    for one, other in ((norm, again), (scale, again_scale)):
        one.update(rollouts[0])
        other.update(rollouts[0])
    assert torch.equal(norm(rollouts[0].raw_obs), again(rollouts[0].raw_obs))
    assert scale.scale == again_scale.scale


FAR = np.array([1e8, -1e8])


class Far(gym.Env):
    """Observations of 1e8 ± 1 in float64: in float32 they are multiples of 8.

    Each is new, as a clock's would be.
    """

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.look(), {}

    def look(self) -> np.ndarray:
        return self.np_random.standard_normal(2) + FAR

    def step(self, action):
        self.t += 1
        return self.look(), float(action), False, self.t == 10, {}


def far(norm: RunningNorm) -> Loop:
    columns = loop(Far(), Far())
    norm.widen_observations(columns)
    columns.reset([0, 1])
    return columns


@pytest.mark.parametrize("sampler", [Steps(50), Episodes(6), Replay(steps=50, warmup=1, batch=64)], ids=str)
def test_an_offset_takes_no_digits_from_what_the_networks_see(sampler) -> None:
    """(s − mean)/std of the second rollout against NumPy on the observations as they
    were, to float32's rounding.
    """
    norm, noise = RunningNorm(2), draw()
    columns, policy = far(norm), small_policy(2, 3, norm)
    first, _ = sampler.collect(policy, columns, noise, NoRewardScale())
    norm.update(first)
    second, _ = sampler.collect(policy, columns, noise, NoRewardScale())
    raw = second.raw_obs.numpy()
    rows = first.raw_obs[:-1][first.mask.bool()]
    assert 0.7 < float(norm.moments.std.min()) <= float(norm.moments.std.max()) < 1.4
    assert norm.moments.std.tolist() != rows.float().double().std(0).tolist(), (
        "negative control: the digits count"
    )
    expected = (raw - norm.moments.mean.numpy()) / np.sqrt(norm.moments.std.numpy() ** 2 + 1e-8)
    live = second.mask.bool()
    np.testing.assert_allclose(second.obs[:-1][live], expected[:-1][live], rtol=1e-6, atol=1e-6)
    assert second.obs.dtype == second.params.dtype == torch.float32
    learned = sampler.recall(second, policy, NoRewardScale(), noise)
    assert 0.8 < float(learned.obs.std()) < 1.2
    assert len(learned.obs.unique()) > 40, "not a handful of steps of 8"


def test_an_actor_sees_past_an_offset_as_the_update_does() -> None:
    """Both actors, NumPy's and torch's, choose in float64 what ``to_rollout`` evaluates:
    log π of the actions agrees.
    """
    norm, noise = RunningNorm(2), draw()
    columns, policy = far(norm), small_policy(2, 3, norm)
    norm.update(Steps(50).collect(policy, columns, noise, NoRewardScale())[0])
    raw = columns.obs.copy()
    assert raw.dtype == np.float64
    expected = policy.params(norm(torch.from_numpy(raw))).argmax(-1).tolist()
    many = np.random.default_rng(0).standard_normal((400, 2)) + FAR
    ours, theirs = NumpyActor(policy)(many, None), TorchActor(policy)(many, None)
    assert NumpyActor(policy)(raw, None).tolist() == expected
    assert (ours == theirs).mean() > 0.99, "but for ties"
    assert (NumpyActor(policy)(many.astype(np.float32), None) != ours).mean() > 0.05, "negative control"


def test_a_run_trains_evaluates_and_plays_with_the_digits(tmp_path) -> None:
    """A reward that hangs on the sign of s − 1e8 is learned: in float32 no policy could see it."""
    gym.register("Sign-v0", Sign, max_episode_steps=20)
    try:
        words = (
            "algo=ppo env=Sign-v0 env.num_envs=4 sampler.steps=64 trainer.total_steps=3000 state_norm=true"
        )
        run, summary = trained(tmp_path, *words.split(), "network.hidden=[8]", "optimizer.lr=0.02")
        assert summary["eval"]["return_mean"] > 15, "20 is all, 10 is chance"
        assert run.envs.state_dict()["obs"].dtype == np.float64
        saved = Saved(tmp_path, dict(run.settings), tensors=load_file(tmp_path / "policy.safetensors"))
        role = load_role(saved, PlayOptions(run=str(tmp_path)))
        finished = play_unseen(saved, role, run.eval_seeds, None)
        assert np.mean([total for total, _ in finished]) == summary["eval"]["return_mean"]
    finally:
        gym.registry.pop("Sign-v0")


class Sign(Far):
    """Earns 1 where the action is the sign of the first entry's distance from 1e8."""

    action_space = spaces.Discrete(2)

    def look(self) -> np.ndarray:
        self.seen = super().look()
        return self.seen

    def step(self, action):
        right = float(action == (self.seen[0] > 1e8))
        return self.look(), right, False, False, {}


def test_without_normalisation_observations_stay_float32() -> None:
    run = built("algo=a2c", "env=Pendulum-v1")
    assert run.envs.obs.dtype == run.eval_envs.obs.dtype == np.float32


def test_what_only_float64_holds_is_still_a_fault() -> None:
    """1e39 is no observation for float32 networks, kept in float64 or not."""
    norm = RunningNorm(2)
    columns = far(norm)
    columns.envs[1].look = lambda: np.array([0, 1e39])
    with pytest.raises(
        EnvironmentFault, match=r"column 1, episode 0, step 1: observation is 1e\+39 in its entry 1 of 2"
    ):
        Steps(5).collect(small_policy(2, 3, norm), columns, draw(), NoRewardScale())
