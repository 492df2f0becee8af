"""Numbers that an update made and that are not finite: named before anything is done with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pgrun.errors import Diverged
from pgrun.optimization.optimizers import Optimizer
from pgrun.storage.checkpoint import Checkpoints
from pgrun.training import nonfinite
from pgrun.training.build import Run
from pgrun.training.counters import Clock, Counters
from pgrun.training.loop import train_run
from pgrun.training.saver import Saver
from tests.helpers.support_pipeline import built, trained

TINY = [
    "env=ProbeMatch-v0",
    "env.num_envs=2",
    "sampler.steps=8",
    "network.hidden=[4]",
    "trainer.total_steps=64",
]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("size", [1, 2, 15, 64, 4610])
def test_one_number_among_many_is_found(size: int, bad: float) -> None:
    random = np.random.default_rng(size)
    for dtype in (torch.float32, torch.float64):
        x = torch.from_numpy(random.normal(size=size)).to(dtype) * 1e30
        assert nonfinite.is_finite(x)
        for at in {0, size - 1, int(random.integers(size))}:
            y = x.clone()
            y[at] = bad
            assert not nonfinite.is_finite(y)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "algo=a2c optimizer=rmsprop optimizer.lr=1e38",
            "the policy's parameters θ: .*smaller optimizer.lr or optimizer.max_grad_norm=0.5",
        ),
        ("algo=a2c optimizer=adam optimizer.lr=3e38", "parameters θ"),
        (
            "algo=a2c critic/optimizer=sgd critic.optimizer.lr=3e38",
            "(value/loss|critic's).*take a smaller critic.optimizer.lr",
        ),
        ("algo=a2c network=shared optimizer=sgd optimizer.lr=1e38", "smaller optimizer.lr"),
    ],
)
def test_steps_too_large_stop_the_run_in_that_update(words: str, said: str, tmp_path: Path) -> None:
    run = built(
        *words.split(), *TINY, **{"critic.optimizer.max_grad_norm": None, "optimizer.max_grad_norm": None}
    )
    with pytest.raises(Diverged, match=rf"^update [1-4], environment step \d+: .*{said}"):
        train_run(run, tmp_path)
    state, _ = Checkpoints(tmp_path / "checkpoints").load()
    assert torch.isfinite(state["run"]["policy"]["theta"]).all()


def said_at_rewards_of(size: float, run: Run, folder: Path, since: int = 0) -> str:
    """``since``: environment steps that pay what they should before."""
    real, taken = run.envs.step, [0]

    def step(action):
        reward, *ends = real(action)
        taken[0] += 1
        return reward + size * (taken[0] > since), *ends

    run.envs.step = step
    with pytest.raises(Diverged) as raised:
        train_run(run, folder)
    return str(raised.value)


@pytest.mark.parametrize("scaling", ["true", "false"])
@pytest.mark.parametrize(
    ("algo", "size"),
    [
        ("a2c", 3e38),
        ("a2c", 1e30),
        ("ppo", 1e18),
        ("trpo", 1e30),
        ("a2c network=shared", 1e30),
        ("npg", 1e30),
    ],
)
def test_rewards_that_overflow_are_named(algo: str, size: float, scaling: str, tmp_path: Path) -> None:
    """In the first update, which no statistics scale yet, and whichever number
    overflows first; the critic is not to blame.
    """
    tiny = [
        "env=CartPole-v1",
        "env.vector=loop",
        "tuned=none",
        "sampler.steps=128",
        "network.hidden=[4]",
        f"reward_scaling={scaling}",
    ]
    said = said_at_rewards_of(size, built(*f"algo={algo}".split(), *tiny, "trainer.total_steps=64"), tmp_path)
    assert f"the rewards reach {size:.0e}" in said
    assert "divide them in the environment" in said
    assert "reward_scaling" not in said
    assert ".lr" not in said


def test_a_price_that_overflows_is_named(tmp_path: Path) -> None:
    """Of the distance from a reference policy: neither the critic nor the environment is to blame."""
    run = built("algo=a2c", *TINY, "reference.policy=start", "reference.beta=1e30")
    with pytest.raises(Diverged) as stop:
        train_run(run, tmp_path)
    assert "take a smaller reference.beta" in str(stop.value)
    assert ".lr" not in str(stop.value)


@pytest.mark.parametrize("scaling", ["true", "false"])
def test_rewards_that_overflow_later_may_be_scaled(scaling: str, tmp_path: Path) -> None:
    """Advised only where it is not on already."""
    run = built("algo=a2c", f"reward_scaling={scaling}", *TINY)
    said = said_at_rewards_of(1e32, run, tmp_path, since=8)
    assert "the rewards reach 1e+3" in said
    assert ("reward_scaling=true" in said) == (scaling == "false")


@pytest.mark.parametrize("log_std", [-200.0, -60.0, 200.0])
def test_a_sigma_out_of_range_is_named(log_std: float, tmp_path: Path) -> None:
    """log π is NaN, and neither the rewards nor the critic have to do with it."""
    run = built("algo=ppo", "env=Pendulum-v1", "tuned=none", *TINY[1:])
    run.policy.free.fill_(log_std)
    with pytest.raises(Diverged) as raised:
        train_run(run, tmp_path)
    said = str(raised.value)
    assert f"the policy's log σ is {log_std:.0f}" in said
    assert "network.log_std nearer to 0, or a smaller optimizer.lr" in said
    assert "reward" not in said
    assert "critic" not in said


def test_observations_that_overflow_are_named(tmp_path: Path) -> None:
    run = built(
        "algo=a2c", "network.activation=relu", "env=Pendulum-v1", "env.vector=loop", "tuned=none", *TINY[1:]
    )
    encode = run.envs.encode
    run.envs.encode = lambda obs: encode(obs) * 1e37
    with pytest.raises(Diverged, match=r"the observations reach \de\+3[78]: take state_norm=true"):
        train_run(run, tmp_path)


@pytest.mark.parametrize("algo", ["trpo", "npg", "npg algo.solver=dense", "euclidean_pg", "reinforce", "ppo"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_stops_the_run(
    algo: str, bad: float, tmp_path: Path, monkeypatch
) -> None:
    """Also where the step would be refused, and the parameters stay."""
    run = built(*f"algo={algo} env=ProbeMatch-v0 network.hidden=[4] trainer.total_steps=64".split())
    real = type(run.algorithm).loss_gradient

    def loss_gradient(self, batch, learner):
        gradient = real(self, batch, learner)
        gradient[3] = bad
        return gradient

    monkeypatch.setattr(type(run.algorithm), "loss_gradient", loss_gradient)
    with pytest.raises(Diverged, match=r"^update 1, environment step \d+: "):
        train_run(run, tmp_path)


def test_nothing_that_is_not_finite_is_saved(tmp_path: Path) -> None:
    """Whatever it is: here a moment of the optimizer, which has not reached θ yet."""
    run, _ = trained(tmp_path, "algo=a2c", "optimizer=adam", *TINY)
    before = sorted((tmp_path / "checkpoints").iterdir())
    run.learner.optimizer.state["second"][2] = torch.inf
    with pytest.raises(Diverged, match="optimizer/second: inf in 1 of"):
        Saver(tmp_path, None).save(run, Counters(env_steps=10_000), Clock(), {})
    assert sorted((tmp_path / "checkpoints").iterdir()) == before


def test_large_numbers_alone_are_fine(tmp_path: Path) -> None:
    """Negative control: 1e30 is finite."""
    run = built("algo=a2c", "optimizer=sgd", *TINY)
    Optimizer(run.policy.theta, run.learner.optimizer.settings)
    run.policy.theta.mul_(1e30)
    assert all(nonfinite.is_finite(x) for x in nonfinite.named_parameters(run).values())
