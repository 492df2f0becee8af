"""What pgrun-play refuses: no runs, damaged files, words; the user's code is loaded where it is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from pgrun.errors import InvalidCommand
from pgrun.tools.play.cli import main as play
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import in_fork, shell
from tests.helpers.support_play import plays


def got(words: str) -> str:
    """The line of the return."""
    return plays(words).splitlines()[1]


def copy(run: Path, folder: Path, change: Callable[[dict], None] = lambda content: None) -> Path:
    shutil.copytree(run, folder)
    path = folder / "policy.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return folder


def test_the_user_s_code_is_loaded_only_where_the_command_names_it(
    cartpole: Path,
    here: Path,  # noqa: F811
) -> None:
    """``my_mod`` says so when it is imported."""
    Path("own_env.py").write_text(
        "import gymnasium as gym\nfrom gymnasium.envs.classic_control import CartPoleEnv\n"
        "print('IMPORTED')\ngym.register('Own-v0', CartPoleEnv, max_episode_steps=7)\n"
    )
    foreign = copy(cartpole, here / "run", lambda x: x["config"]["env"].update(id="own_env:Own-v0"))
    refused = in_fork("run", play, "pgrun-play")
    assert refused.code == 2
    assert refused.err.strip().endswith("name it again: --env own_env:Own-v0")
    assert "IMPORTED" not in refused.out
    answer = in_fork(f"{foreign} --env own_env:Own-v0", play, "pgrun-play")
    assert answer.code == 0, answer.err
    assert "IMPORTED" in answer.out
    assert "over 3 episodes" in answer.out
    assert "Own-v0" in answer.out
    assert in_fork("run --env other:Thing-v0", play, "pgrun-play").code == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: x.pop("config"), "cannot be read"),
        (lambda x: x["config"].pop("env"), "cannot be read"),
        (lambda x: x["config"]["env"].update(num_envs="many"), "cannot be read"),
        (lambda x: x["config"]["network"].update(name="policy"), "cannot be built|is no network"),
        (lambda x: x["config"]["network"].update(hidden=[3]), "θ has shape"),
        (lambda x: x["config"]["network"].update(name="my_net"), "cannot be built"),
        (lambda x: x["config"]["env"].update(id="Acrobot-v1"), "θ has shape"),
        (lambda x: x["config"]["env"].update(id="CartPol-v1"), "nearest: CartPole-v1"),
    ],
)
def test_a_run_that_is_not_one(change: Callable, said: str, cartpole: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidCommand, match=said):
        plays(str(copy(cartpole, tmp_path / "run", change)))


def test_damaged_files(cartpole: Path, tmp_path: Path) -> None:
    one = copy(cartpole, tmp_path / "one")
    (one / "policy.safetensors").write_bytes((one / "policy.safetensors").read_bytes()[:40])
    with pytest.raises(InvalidCommand, match="cannot be read"):
        plays(str(one))
    two = copy(cartpole, tmp_path / "two")
    tensors = load_file(two / "policy.safetensors")
    save_file({"theta": tensors["theta"]}, two / "policy.safetensors")
    with pytest.raises(InvalidCommand, match="lacks"):
        plays(str(two))
    (two / "policy.json").unlink()
    with pytest.raises(InvalidCommand, match="did not finish; it has a best one"):
        plays(str(two))
    assert "best policy" in plays(f"{two} --policy best")
    (tmp_path / "notes").mkdir()
    with pytest.raises(InvalidCommand, match=r"policy.safetensors\): it is no run's folder$"):
        plays(str(tmp_path / "notes"))
    with pytest.raises(InvalidCommand, match=r"runs below it do: .*one"):
        plays(str(tmp_path))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("nowhere", "no such folder"),
        ("", "name a run directory"),
        ("x --episodes 0", r"must be an integer in \[1, 100000\]"),
        ("x --seed -1", "must be an integer ≥ 0"),
        ("x --format gif", "add --video DIR"),
        ("x --render --video y", "one of them"),
        ("x --policy worst", "invalid choice"),
        ("x --sed 3", "unrecognized arguments"),
    ],
)
def test_words_that_are_refused(words: str, said: str) -> None:
    with pytest.raises(InvalidCommand, match=said):
        plays(words)


def test_help_is_fast_and_a_mistake_one_paragraph() -> None:
    watch = "import atexit; atexit.register(lambda: print('IMPORTED', *sys.modules))"
    code = f"{watch}; from pgrun.tools.play.cli import main; main()"
    answer = shell("--help", python=code)
    imported = answer.out.split("IMPORTED ")[1].split()
    assert not {"torch._C", "numpy", "gymnasium", "hydra", "PIL"} & set(imported)
    assert "--stochastic" in answer.out
    wrong = shell("nowhere", python="from pgrun.tools.play.cli import main; main()")
    assert (wrong.code, wrong.err) == (2, "pgrun-play: nowhere: no such folder\n")
