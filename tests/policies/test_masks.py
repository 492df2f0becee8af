"""Masked actions: distributions over the allowed ones alone, and environments that raise at any other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import distributions as td
from torch.autograd import grad

import pgrun
from pgrun.command.compose import Job, compose_jobs
from pgrun.command.notices import find_notices
from pgrun.command.overrides import read_command
from pgrun.command.validate import find_problems
from pgrun.diagnostics.update import policy_change
from pgrun.envs import EnvSettings, make_envs
from pgrun.envs.masks import find_mask
from pgrun.errors import EnvironmentFault, InvalidCommand
from pgrun.optimization.natural_gradient import fisher_product
from pgrun.policies.distributions import Categorical
from pgrun.policies.masked import MaskedNet
from pgrun.policies.mlp import Mlp
from pgrun.policies.normalization import NoStateNorm, RunningNorm
from pgrun.policies.policy import Policy
from pgrun.training.build import build_run
from pgrun.training.counters import Counters
from pgrun.training.loop import collect_rollout, evaluate_policy, learn_from_rollout, make_batch
from tests.helpers.support_pipeline import built, settings, trained

TINY = {
    "env.num_envs": 3, "network.hidden": [8], "diagnostics.gradient_every": 1, "trainer.total_steps": 200,
    "trainer.eval_episodes": 2, "logger.every": 1, "env.action_mask": True, "env.max_episode_steps": 20,
}  # fmt: skip
CLOSE = {"rtol": 0, "atol": 1e-12}  # float64, values of size 10


IN_DICT = ("dict", "discrete", "nested")


class Strict(gym.Env):
    """State s in 0…4, action k allowed where (s + k) is even: any other one is an error, not a reward."""

    def __init__(self, how: str = "info", fault: str = ""):
        self.how, self.fault, self.at, self.stepped = how, fault, 0, False
        plain = spaces.Box(0, 4, (1,), np.float32)
        self.several = how in ("several", "nested")
        self.action_space = spaces.MultiDiscrete([3, 2]) if self.several else spaces.Discrete(4, start=1)
        nested = spaces.Tuple([spaces.MultiBinary(3), spaces.MultiBinary(2)])
        masks = {"nested": nested, "discrete": spaces.MultiDiscrete([2, 2, 2, 2])}
        mask = masks.get(how, spaces.MultiBinary(4))
        masked = spaces.Dict({"zz": plain, "action_mask": mask, "aa": plain})
        self.observation_space = masked if how in IN_DICT else plain

    def mask(self) -> Any:
        if self.fault == "none":
            return np.zeros(4, np.int8)
        if self.several:
            return np.array([1, self.at % 2, 1 - self.at % 2], np.int8), np.array([self.at % 2, 1], np.int8)
        return np.array([(self.at + k) % 2 == 0 for k in range(4)], np.int8)

    def told(self) -> tuple[Any, dict[str, Any]]:
        obs = np.array([self.at], np.float32)
        if self.how in IN_DICT:
            return {"zz": obs, "action_mask": self.mask(), "aa": obs}, {}
        return obs, {} if self.fault == "missing" and self.stepped else {"action_mask": self.mask()}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.at = int(self.np_random.integers(5))
        return self.told()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if self.several:
            assert all(part[k] for part, k in zip(self.mask(), action, strict=True)), "a forbidden action"
        else:
            assert self.mask()[action - 1], "a forbidden action"
        self.at, self.stepped = int(self.np_random.integers(5)), True
        over = bool(self.np_random.random() < 0.1)
        obs, info = self.told()
        return obs, float(np.sum(action)), over, False, {} if over else info


for kind in ("info", "several", *IN_DICT):
    gym.register(f"Strict{kind.capitalize()}-v0", entry_point=Strict, kwargs={"how": kind})

pytestmark = pytest.mark.usefixtures("differentiable")


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def masked_policy(mask: torch.Tensor, head: int = 1) -> tuple[Policy, torch.Tensor, torch.Tensor]:
    """(a policy, with a value head or none, rows with masks in entries 1…4, outputs before the mask)."""
    net = Mlp([6, 5, 4 + head])
    theta, obs = random(net.size), random(len(mask), 6, seed=1)
    obs[:, 1:5] = mask
    inner = MaskedNet(net, slice(1, 5), head)
    policy = Policy(inner, Categorical(4), theta, NoStateNorm(), value_head=bool(head))
    return policy, obs, net.activations(*net.layers(theta), obs)[-1]


MASKS = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 1], [0, 1, 1, 1]], dtype=torch.float64)


def test_a_masked_policy_is_one_over_the_allowed_actions() -> None:
    """log π, entropy, KL and their gradients, by torch on each row's own list of actions."""
    policy, obs, outputs = masked_policy(MASKS)
    other, before = (
        policy.with_theta(policy.theta + 0.3 * random(policy.net.size, seed=2)),
        policy.params(obs),
    )
    after, dist = other.params(obs), policy.dist
    torch.testing.assert_close(policy.activations(obs)[-1][:, 0], outputs[:, 0], **CLOSE)
    for row, mask in enumerate(MASKS.bool()):
        allowed = mask.nonzero()[:, 0]
        raw = outputs[row, 1:][allowed].clone().requires_grad_()
        theirs, theirs_after = td.Categorical(logits=raw), td.Categorical(logits=after[row][allowed])
        for k, action in enumerate(allowed):
            log_prob = dist.log_prob(before[row], action)
            torch.testing.assert_close(log_prob, theirs.log_prob(torch.tensor(k)), **CLOSE)
            (score,) = grad(theirs.log_prob(torch.tensor(k)), raw, retain_graph=True)
            ours = dist.score(before[row][None], action[None])[0]
            torch.testing.assert_close(ours[allowed], score, **CLOSE)
            assert (ours[~mask] == 0).all()
        torch.testing.assert_close(dist.entropy(before[row]), theirs.entropy(), **CLOSE)
        torch.testing.assert_close(
            dist.kl(before[row], after[row]), td.kl_divergence(theirs, theirs_after), **CLOSE
        )
        (slope,) = grad(theirs.entropy(), raw)
        torch.testing.assert_close(dist.entropy_gradient(before[row])[allowed], slope, **CLOSE)
    for x in (
        dist.entropy_gradient(before),
        dist.kl_gradient(before, after),
        dist.metric(before, before * 0 + 1),
    ):
        assert (x[~MASKS.bool()] == 0).all()
        assert x.isfinite().all()


def test_gradients_through_a_masked_network() -> None:
    """∇_θ of Σ log π(a|s) and Fv, beside torch's own differentiation through the mask."""
    policy, obs, _ = masked_policy(MASKS)
    action = torch.tensor([1, 2, 3, 1])
    scores = policy.scores(obs, action).sums(torch.ones(4, dtype=torch.float64), 1)[0]

    def total(theta: torch.Tensor) -> torch.Tensor:
        return policy.dist.log_prob(policy.with_theta(theta).params(obs), action).sum()

    (expected,) = grad(total(theta := policy.theta.clone().requires_grad_()), theta)
    torch.testing.assert_close(scores, expected, **CLOSE)
    policy, obs, _ = masked_policy(MASKS, head=0)  # natural steps have none
    v = random(policy.net.size, seed=4)
    old = policy.params(obs)

    def mean_kl(theta: torch.Tensor) -> torch.Tensor:
        return policy.dist.kl(old, policy.with_theta(theta).params(obs)).mean()

    hessian = torch.autograd.functional.hvp(mean_kl, policy.theta, v)[1]

    rows = SimpleNamespace(obs=obs, mask=torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(fisher_product(policy, rows, 0.0)(v), hessian, rtol=0, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_forbidden_action_is_never_drawn(dtype: torch.dtype) -> None:
    """Of 10⁵ draws in each row, allowed ones have their probabilities; and the mode is an allowed one."""
    policy, obs, _ = masked_policy(MASKS)
    params = policy.params(obs).to(dtype)
    noise = policy.dist.noise((100_000, 4), torch.Generator().manual_seed(0), dtype)
    drawn = policy.dist.act(params, noise)
    for row, mask in enumerate(MASKS):
        counts = torch.bincount(drawn[:, row], minlength=4)
        assert (counts[mask == 0] == 0).all()
        torch.testing.assert_close(
            counts / 1e5, params[row].softmax(-1).float(), rtol=0, atol=0.008
        )  # five standard errors of the largest
        assert mask[policy.dist.act(params[row], None)] == 1


LINES = {
    "ppo": ("algo=ppo", {"sampler.steps": 16}),
    "reinforce": ("algo=reinforce", {"sampler.episodes": 4}),
    "trpo": ("algo=trpo", {"sampler.steps": 16}),
    "off_policy_ac": ("algo=off_policy_ac", {"sampler.warmup": 8, "sampler.batch": 8}),
}


@pytest.mark.parametrize("algo", LINES)
@pytest.mark.parametrize("kind", ["Info", "Dict", "Discrete", "Several", "Nested"])
def test_runs_keep_to_the_mask_and_resume(algo: str, kind: str) -> None:
    """The environment raises at a forbidden action; a run that goes on from its state never stopped."""
    line, own = LINES[algo]
    given = TINY | own | {"env.id": f"Strict{kind}-v0"}
    one, other = build_run(settings(line, **given)), build_run(settings(line, **given))
    assert one.backend == "torch"
    assert isinstance(one.policy.net, MaskedNet)
    for _ in range(3):
        update(one)
    assert np.isfinite(evaluate_policy(one)[0]).all()
    other.load_state_dict(one.state_dict())
    update(one)
    update(other)
    assert torch.equal(one.policy.theta, other.policy.theta)
    assert one.policy.theta.isfinite().all()


def update(run) -> None:
    rollout, _ = run.sampler.collect(run.policy, run.envs, run.noise, run.scale)
    if (recalled := run.sampler.recall(rollout, run.policy, run.scale, run.noise)) is not None:
        learn_from_rollout(run, recalled, Counters(next_eval=0))
    run.policy.normaliser.update(rollout)


def test_taxi_trains_is_saved_and_is_played(tmp_path: Path) -> None:
    given = TINY | {"env.id": "Taxi-v4" if "Taxi-v4" in gym.registry else "Taxi-v3", "sampler.steps": 16}
    run, _ = trained(tmp_path, "algo=ppo", **given)
    rollout, _ = run.sampler.collect(run.policy, run.envs, run.noise, run.scale)
    where = find_mask(run.envs.observation_space)
    allowed = rollout.obs[:-1][..., where].gather(-1, rollout.action[..., None])[..., 0]
    assert allowed[rollout.mask.bool()].all()
    assert not rollout.obs[..., where].bool().all()
    policy, env = pgrun.load(tmp_path).policy, gym.make(given["env.id"])
    obs, info = env.reset(seed=3)
    for k in range(20):
        action = policy.act(obs, sample=True, seed=k, action_mask=info["action_mask"])
        assert info["action_mask"][action]
        chances = policy.distribution(obs, action_mask=info["action_mask"]).probabilities
        assert (chances[info["action_mask"] == 0] == 0).all()
        obs, _, _, _, info = env.step(action)


def test_a_normaliser_leaves_the_mask_alone() -> None:
    norm = RunningNorm(6, left_alone=slice(1, 5))
    norm.moments.update(3 + 2 * torch.randn(100, 6), torch.ones(100))
    norm._refresh()
    rows = torch.cat([torch.full((4, 1), 7.0), MASKS.float(), torch.full((4, 1), 7.0)], 1)
    assert torch.equal(norm(rows)[:, 1:5], MASKS.float())
    assert (norm(rows)[:, 0] < 4).all()


@pytest.mark.parametrize(
    ("fault", "said"), [("none", "allows no action"), ("missing", "info has no action_mask")]
)
def test_masks_that_are_none(fault: str, said: str) -> None:
    env = EnvSettings("StrictInfo-v0", 2, kwargs={"fault": fault}, action_mask=True)
    envs = make_envs(env, 2)
    with pytest.raises(EnvironmentFault, match=said):  # noqa: PT012
        envs.reset([0, 1])
        for _ in range(20):
            try:
                envs.step(np.array([np.argmax(row[:4]) for row in envs.obs]))
            except Exception as error:
                raise EnvironmentFault(str(error)) from error


def job(line: str) -> Job:
    return compose_jobs(read_command(line.split())).composed[0]


def test_refusals_and_the_notice() -> None:
    with pytest.raises(InvalidCommand, match="tells no mask"):
        make_envs(EnvSettings("CartPole-v1", 1, action_mask=True), 1)
    with pytest.raises(InvalidCommand, match="Discrete or MultiDiscrete"):
        make_envs(EnvSettings("Pendulum-v1", 1, action_mask=True), 1)
    taxi = "Taxi-v4" if "Taxi-v4" in gym.registry else "Taxi-v3"
    (exact,) = find_problems(job(f"algo=a2c critic=exact env={taxi} env.action_mask=true"))
    assert "knows no mask" in exact.sentence()
    (compiled,) = find_problems(job(f"env={taxi} env.action_mask=true backend=compiled"))
    assert "env.action_mask=true has no kernels" in compiled.sentence()
    plain = job(f"env={taxi}")
    line = f"env={taxi} tells which actions are allowed: env.action_mask=true forbids the others"
    assert find_problems(plain) == []
    assert line in find_notices([plain, plain])
    asked = replace(plain, settings={**plain.settings, "env": plain.settings["env"] | {"action_mask": True}})
    assert line not in find_notices([asked])


def test_ratios_of_forbidden_actions_are_none() -> None:
    """A row for every action, also of those that the mask forbids: log π is −1e8 there, in steps of 8."""
    words = ["algo=off_policy_ac", "algo.baseline=expectation", "env=Taxi-v4", "env.action_mask=true"]
    run = built(*words, "sampler.warmup=1", "sampler.batch=32", "tuned=none", "backend=torch")
    rollout, _ = collect_rollout(run)
    recalled = run.sampler.recall(rollout, run.policy, run.scale, run.noise)
    batch = make_batch(run, recalled)[2]
    assert (batch.log_prob < -1e7).any()
    before = run.policy.with_theta(run.policy.theta.clone())
    outputs = run.policy.layers[-1][1]  # the biases of the logits: all alike, so that π stays what it is
    for shift in (4.01, -8.02):
        outputs += shift
        told = policy_change(before, run.policy, batch, run.algorithm)
        assert float(told["kl/max"]) < 1e-6
        assert float(told["ratio/ess"]) == pytest.approx(1, abs=1e-5)
        assert float(told["ratio/max"]) == pytest.approx(1, abs=1e-4)
