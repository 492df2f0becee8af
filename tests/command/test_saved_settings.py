"""``from=RUN_DIR`` and ``--config FILE`` compose what was saved, then the command line, and nothing else."""

from __future__ import annotations

import json
import shlex
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

from pgrun.command.compose import compose_jobs
from pgrun.command.overrides import read_command
from pgrun.command.preflight import compose_and_check
from pgrun.command.saved_settings import expand_saved_settings
from pgrun.errors import InvalidCommand
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import QUICK, pgrun

ASIDE = ("tuned", "ablate", "usual")  # what they did is in the values
COMMANDS = [
    "algo=ppo",
    "algo=ppo env=Pendulum-v1 seed=3 algo.clip=0.15 'network.hidden=[32,16]' state_norm=true",
    "algo=trpo env=Pendulum-v1",
    "algo=reinforce variance=optimal_baseline variance.kind=per_step variance.returns=reward_to_go gamma=1",
    "algo=off_policy_ac env=CartPole-v1",
    "algo=a2c network=shared critic.coef=0.25 optimizer=rmsprop optimizer.lr=7e-5",
    "algo=npg env=pgrun/SmallMDP-v0 critic/optimizer=sgd network.hidden=[] advantage_norm=true",
    "algo=reinforce env=FrozenLake-v1 env.kwargs.is_slippery=false env.kwargs.map_name=4x4 seeds=[0,1]",
    "algo=online_ac trainer.total_steps=1e6 trainer.stop_at_return=475",
    "experiment=recipe_ppo_4x128",
]


def settings_of(argv: list[str]) -> dict[str, Any]:
    """Of a command that is allowed."""
    return compose_and_check(read_command(argv))[0].settings


def save(folder: Path, settings: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "job.json").write_text(json.dumps({"settings": settings}))
    return folder


def without(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in ASIDE}


@pytest.mark.parametrize("line", COMMANDS)
def test_the_same_settings_come_out(line: str, here: Path) -> None:  # noqa: F811
    before = settings_of(shlex.split(line))
    words = expand_saved_settings([f"from={save(here / 'r', before)}"])
    assert without(settings_of(words)) == without(before)
    assert len(words) < 25, "only what differs is typed"


def test_the_command_line_wins(here: Path) -> None:  # noqa: F811
    save(
        here / "r",
        settings_of(shlex.split("algo=ppo algo.clip=0.15 optimizer.lr=3e-4 seeds=[0,1] gamma=0.9")),
    )
    settings = settings_of(expand_saved_settings(["from=r", "seed=7", "algo.clip=0.1", "optimizer.lr=1e-3"]))
    assert (settings["seed"], settings["seeds"], settings["gamma"]) == (7, None, 0.9)
    assert (settings["algo"]["clip"], settings["optimizer"]["lr"]) == (0.1, 1e-3)


def test_an_option_that_is_typed_comes_with_its_own_values(here: Path) -> None:  # noqa: F811
    save(
        here / "r", settings_of(shlex.split("algo=ppo env=Pendulum-v1 optimizer=sgd optimizer.momentum=0.5"))
    )
    settings = settings_of(expand_saved_settings(["from=r", "optimizer=adam", "env=CartPole-v1"]))
    assert (settings["optimizer"]["name"], "momentum" in settings["optimizer"]) == ("adam", False)
    assert (settings["env"]["id"], settings["tuned"]) == ("CartPole-v1", None)


def test_a_sweep_begins_there_too(here: Path) -> None:  # noqa: F811
    save(here / "r", settings_of(["algo=a2c", "gamma=0.9"]))
    jobs = compose_jobs(read_command(expand_saved_settings(["-m", "from=r", "seed=0,1"])))
    assert [(j.settings["seed"], j.settings["gamma"], j.folder.name) for j in jobs.composed] == [
        (0, 0.9, "0_seed=0"),
        (1, 0.9, "1_seed=1"),
    ]


SHORT = """
algo: ppo
algo.clip: 0.1
critic/optimizer: sgd
env: {id: CartPole-v1, num_envs: 4}
optimizer:
  lr: 0.0005
seed: 3
"""


def test_a_file_of_ones_own(here: Path) -> None:  # noqa: F811
    (here / "my.yaml").write_text(SHORT.replace("algo.clip: 0.1\n", ""))
    for words in (["--config", "my.yaml"], ["--config=my.yaml"]):
        settings = settings_of(expand_saved_settings([*words, "algo.clip=0.1"]))
        assert (settings["algo"]["clip"], settings["critic"]["optimizer"]["name"]) == (0.1, "sgd")
        assert (settings["env"]["num_envs"], settings["optimizer"]["lr"], settings["seed"]) == (4, 5e-4, 3)


def test_keys_with_dots_in_a_file(here: Path) -> None:  # noqa: F811
    (here / "my.yaml").write_text(SHORT)
    assert settings_of(expand_saved_settings(["--config", "my.yaml"]))["algo"]["clip"] == 0.1


def test_what_cfg_job_writes_can_be_read(here: Path) -> None:  # noqa: F811
    (here / "my.yaml").write_text(pgrun("algo=trpo env=Pendulum-v1 gamma=0.9 --cfg job").out)
    settings = settings_of(expand_saved_settings(["--config", "my.yaml"]))
    assert without(settings) == without(settings_of(["algo=trpo", "env=Pendulum-v1", "gamma=0.9"]))


DEEP = {"env": {"kwargs": reduce(lambda inner, _: {"a": inner}, range(9), {"a": 1})}}
HOSTILE: dict[str, tuple[Any, str]] = {
    "code": ({"modules": ["evil"]}, "code of yours has to be named again: add modules=[evil]"),
    "environment": ({"env": {"id": "evil:X-v0"}}, "code of yours has to be named again: add env=evil:X-v0"),
    "variables": ({"algo": {"name": "ppo"}, "seed": "${oc.env:HOME}"}, "write the value itself"),
    "in a list": ({"network": {"hidden": ["${oc.env:HOME}"]}}, "write the value itself"),
    "hydra": ({"hydra": {"run": {"dir": "/tmp/x"}}}, "hydra.run.dir: no such setting"),
    "a path": ({"algo": {"name": "../../etc/x"}}, "no name of an option"),
    "two words": ({"gamma": "1 hydra.run.dir=/tmp/x"}, "gamma"),
    "a sweep": ({"gamma": "0.9,0.99"}, "gamma"),
    "keys": ({"gamma=1 seed": 3}, "no name of a setting"),
    "target": ({"algo": {"_target_": "os.system"}}, "algo._target_: no such setting"),
    "deep": (DEEP, "no name of a setting"),
    "many": ({"env": {"kwargs": {f"x{n}": n for n in range(600)}}}, "more than 500 settings"),
    "unknown": ({"algo": {"name": "ppo", "sneaky": 1}}, "algo.sneaky: no such setting"),
    "no settings": ([1, 2], "no settings of a run in it"),
    "nothing": ({}, "no settings of a run in it"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_folder_is_refused(name: str, here: Path) -> None:  # noqa: F811
    settings, sentence = HOSTILE[name]
    save(here / "r", settings)
    answer = pgrun("from=r")
    assert (answer.code, sentence in answer.err, "Traceback" in answer.err) == (2, True, False), answer
    assert sorted(path.name for path in here.iterdir()) == ["r"]


def test_files_that_cannot_be_read(here: Path) -> None:  # noqa: F811
    (here / "list.yaml").write_text("[1, 2]")
    (here / "broken.yaml").write_text("a: [")
    (here / "python.yaml").write_text("a: !!python/object/apply:os.system [ls]")
    for words, sentence in {
        "--config list.yaml": "holds no settings",
        "--config broken.yaml": "cannot be read",
        "--config python.yaml": "cannot be read",
        "--config absent.yaml": "No such file",
        "--config": "the name of a file is needed",
        "from=absent": "no such folder",
        "from=last": "no run below outputs/",
        "from=. --config list.yaml": "one of them",
    }.items():
        answer = pgrun(words)
        assert (answer.code, sentence in answer.err) == (2, True), (words, answer)


def test_code_that_is_named_again_is_loaded(here: Path) -> None:  # noqa: F811
    save(here / "r", settings_of(["env=my_mod:Line-v0", "algo=a2c", "modules=[my_mod]"]))
    with pytest.raises(InvalidCommand, match="add env=my_mod:Line-v0"):
        expand_saved_settings(["from=r"])
    settings = settings_of(expand_saved_settings(["from=r", "env=my_mod:Line-v0", "modules=[my_mod]"]))
    assert (settings["env"]["id"], settings["algo"]["name"]) == ("my_mod:Line-v0", "a2c")


def test_a_run_from_a_run(here: Path) -> None:  # noqa: F811
    """The last one, in a folder of its own that says all it was made with."""
    assert pgrun(f"env=pgrun/OneState-v0 algo=reinforce gamma=0.5 backend=torch {QUICK}").code == 0
    answer = pgrun("from=last seed=7")
    assert answer.code == 0, answer
    assert (answer.out + answer.err).count("the newest is") == 1
    assert "pgrun: the newest is outputs/" in answer.err
    (first,), (second,) = (
        list(here.glob(f"outputs/*/reinforce_OneState-v0_s{s}_*/job.json")) for s in (0, 7)
    )
    before, after = (json.loads(path.read_text())["settings"] for path in (first, second))
    assert without(after) == without({**before, "seed": 7})
