"""What is given from Python: settings become the command's words, and what is no run is refused as the
command refuses it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pgrun
from pgrun.api.words import build_command
from pgrun.command.overrides import CliOverride
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import pgrun as typed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("-m seed=0,1", "is several runs: .*pgrun.load_runs"),
        ("seeds=[0,1]", "is several runs"),
        ("seed=0,1", "several values are a sweep"),
        ("--cfg job", "prints something and runs nothing"),
        ("--help", "prints something and runs nothing"),
        ("algo='ppo", "quotes come in pairs"),
        (["algo=ppo seed=1"], "algo=ppo seed=1"),
    ],
)
def test_what_is_no_run_is_refused(words: Any, said: str, here: Path) -> None:  # noqa: F811
    with pytest.raises(pgrun.InvalidCommand, match=said):
        pgrun.train(words)
    assert list(here.iterdir()) == []


def test_the_sentence_is_the_command_s(here: Path) -> None:  # noqa: F811
    line = "algo=pp seed=-1 network.hiden=[8]"
    with pytest.raises(pgrun.InvalidCommand) as refused:
        pgrun.train(line)
    answer = typed(line)
    assert (answer.code, answer.err) == (2, f"pgrun: {refused.value}\n")
    assert list(here.iterdir()) == []


def test_settings_of_any_kind_become_words() -> None:
    given = {
        "env": "my_module:Space/Own-v0",
        "trainer.eval_every": None,
        "state_norm": True,
        "seed": np.int64(3),
        "optimizer.lr": 1e-5,
        "network.hidden": (32, 16),
        "modules": ["a.b"],
        "tuned": "none",
        "a": "true",
        "b": "1e3",
        "c": "x, 'y' \\",
        "d": "[1]",
        "env.kwargs": {"is_slippery": False, "map_name": "8x8", "deep": {"x": [1.5, "2"]}},
    }
    argv = build_command(["algo=ppo 'x=a b'"], given, Path("/tmp/my runs"), "my conf")
    assert argv[:2] == ["algo=ppo", "x=a b"]
    assert argv[2:9] == [
        "env=my_module:Space/Own-v0",
        "trainer.eval_every=null",
        "state_norm=true",
        "seed=3",
        "optimizer.lr=1e-05",
        "network.hidden=[32,16]",
        "modules=[a.b]",
    ]
    assert argv[-2:] == ["hydra.run.dir=/tmp/my runs", "--config-dir=my conf"]
    for word, (key, value) in zip(argv[2:], given.items(), strict=False):
        read = CliOverride.read(word)
        assert (read.key, read.value) == (key, list(value) if isinstance(value, tuple) else value)
    with pytest.raises(pgrun.InvalidCommand, match="seed: is a set: a setting is a number"):
        build_command([], {"seed": {1}}, None, None)


def test_a_section_may_be_given_whole() -> None:
    """Its option by its name, then its own settings; a dictionary that is a setting's value stays one."""
    settings = {
        "algo": "a2c",
        "env": {"num_envs": 4, "id": "my_mod:Line-v0", "kwargs": {"trouble": None}},
        "network": {"hidden": [8, 8]},
        "trainer": {"total_steps": 1000},
        "env.kwargs": {"trouble": "no"},
    }
    assert build_command([], settings, None, None) == [
        "algo=a2c",
        *("env=my_mod:Line-v0", "env.num_envs=4", "env.kwargs={trouble:null}"),
        *("network.hidden=[8,8]", "trainer.total_steps=1000", "env.kwargs={trouble:no}"),
    ]


def test_words_in_several_texts_are_words() -> None:
    """Also those that other tools' functions take, which the command answers."""
    argv = build_command(["algo=ppo env=CartPole-v1", ["seed=1", "gamma=1"], "seed=2"], {}, None, None)
    assert argv == ["algo=ppo", "env=CartPole-v1", "seed=1", "gamma=1", "seed=2"]
    with pytest.raises(pgrun.InvalidCommand, match="here: algo=ppo env=CartPole-v1"):
        pgrun.train("ppo", "CartPole-v1")
