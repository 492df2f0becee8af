"""A policy as an ONNX graph: the same outputs as the policy's own, and what is refused."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

import pgrun
from pgrun.errors import InvalidCommand
from pgrun.policies.normalization import RunningNorm
from pgrun.tools.play import cli
from pgrun.tools.play.cli import read_play_options
from pgrun.tools.play.export_onnx import write_onnx
from pgrun.tools.play.play import export_policy
from tests.helpers.support_pipeline import built, trained

SHORT = ("algo=ppo", "trainer.total_steps=64", "env.num_envs=2", "sampler.steps=32", "backend=torch")
CASES = [
    ("CartPole-v1", ("state_norm=true",)),
    ("CartPole-v1", ("network=shared", "network.activation=silu", "network.logit_scale=2")),
    ("Pendulum-v1", ("network=joint", "state_norm=true", "network.activation=gelu")),
    ("Pendulum-v1", ("network=shared", "network.activation=elu", "network.bias=false")),
    ("MountainCarContinuous-v0", ("network.hidden=[]",)),
]


@pytest.mark.parametrize(("env", "words"), CASES)
def test_the_graph_gives_what_the_policy_gives(env: str, words: tuple[str, ...], tmp_path: Path) -> None:
    run = built(*SHORT, f"env={env}", *words)
    run.policy.theta.normal_(generator=torch.Generator().manual_seed(1)).mul_(0.3)
    if isinstance(norm := run.policy.normaliser, RunningNorm):
        norm.mean += 1.5
        norm.scale *= 0.2
    file = tmp_path / "policy.onnx"
    write_onnx(file, run.policy, run.envs)
    rows = np.random.default_rng(0).normal(size=(50, run.envs.obs_size)) * 20
    session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    params, action = session.run(["params", "action"], {"obs": rows})
    given = rows if "state_norm=true" in words else rows.astype(np.float32)
    wanted = run.policy.params(run.policy.normaliser(torch.from_numpy(given).clone()))
    np.testing.assert_allclose(params, wanted.numpy(), rtol=1e-4, atol=1e-4)  # float32 sums in another order
    taken = run.envs.decode(run.policy.dist.act(wanted, None).numpy())
    assert (action.shape, action.dtype) == (taken.shape, taken.dtype)
    np.testing.assert_allclose(action, taken, rtol=1e-4, atol=1e-4)


def export(words: str) -> str:
    return export_policy(read_play_options(shlex.split(words)))


def test_a_run_is_exported_and_acts_alike(tmp_path: Path) -> None:
    trained(tmp_path, *SHORT, "env=CartPole-v1", "state_norm=true")
    said = export(f"{tmp_path} --export {tmp_path / 'p.onnx'}")
    assert said.endswith("p.onnx: obs [batch, 4] double, params [batch, 2] float, action [batch] int64")
    session = onnxruntime.InferenceSession((tmp_path / "p.onnx").read_bytes())
    policy = pgrun.load(tmp_path).policy
    for row in np.random.default_rng(1).normal(size=(20, 4)).astype(np.float32):
        (action,) = session.run(["action"], {"obs": row[None].astype(np.float64)})
        assert action[0] == policy.act(row)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--export p.onnx --episodes 3 --stochastic", "leave out --episodes, --stochastic"),
        ("--export p.pt", "a file that ends in .onnx"),
    ],
)
def test_wrong_words_are_refused(words: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidCommand, match=said):
        read_play_options(["run", *shlex.split(words)])


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "find_spec", lambda name: None)
    with pytest.raises(InvalidCommand, match=r'the extra "onnx": pip install "pgrun\[onnx\]"'):
        read_play_options(["run", "--export", "p.onnx"])


@pytest.mark.parametrize(
    ("words", "said"),
    [("env=Pendulum-v1 policy=beta", "ScaledBeta"), ("env=Taxi-v4 env.action_mask=true", "MaskedNet")],
)
def test_policies_without_a_graph_are_refused(words: str, said: str, tmp_path: Path) -> None:
    trained(tmp_path, *SHORT, *words.split())
    with pytest.raises(InvalidCommand, match=said):
        export(f"{tmp_path} --export {tmp_path / 'p.onnx'}")
    assert not (tmp_path / "p.onnx").exists()
