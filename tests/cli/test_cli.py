"""What the command line shows, what it imports for that, and a run from end to end."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl

from pgrun import __version__
from pgrun.cli import compatibility_table
from pgrun.cli.main import main
from pgrun.config.paths import conf_dir
from tests.helpers.fixtures_cli import here, sweep_pages  # noqa: F401
from tests.helpers.support_cli import QUICK, pgrun, shell
from tests.helpers.support_fork import ForkedCommand

TORCH = "torch._C"  # there once torch is loaded; the name torch is bound before
HEAVY = (TORCH, "numpy", "gymnasium", "matplotlib", "tensorboard")


def test_help_shows_groups_and_three_examples(here: Path) -> None:  # noqa: F811
    out = pgrun("--help").out
    assert len([line for line in out.splitlines() if line.startswith("  pgrun ")]) == 3
    groups = "algo env variance optimizer network critic sampler trainer diagnostics logger experiment tuned"
    for group in groups.split():
        assert f"\n  {group} " in out
    assert "a2c" in out
    assert "reward_to_go" in out
    assert "half_return" not in out
    assert "half_return" in pgrun("--config-dir ../myconf --help").out


@pytest.mark.parametrize(
    "command", [line.split("pgrun ")[1] for line in pgrun("--help").out.splitlines()[2:5]]
)
def test_the_examples_of_help_are_right(command: str, here: Path) -> None:  # noqa: F811
    assert (
        pgrun(f"{command} {QUICK} sampler=nothing").err.splitlines()[0].startswith("pgrun: sampler=nothing")
    )
    assert "problems" not in pgrun(f"{command} sampler=nothing").err


def test_version(here: Path) -> None:  # noqa: F811
    assert pgrun("--version").out == f"pgrun {__version__}\n"


SCRIPTS = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["scripts"]
MODULES = {"pgrun": "pgrun"} | {script.partition(":")[0]: name for name, script in SCRIPTS.items()}


@pytest.mark.parametrize("module", MODULES)
def test_every_command_as_a_module(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == (f"{MODULES[module]} {__version__}\n", "")


def test_the_list_is_as_wide_as_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setattr(compatibility_table, "terminal_width", lambda: 80)
    algos, schemes = ["a2c", "off_policy_ac", "ppo", "reinforce", "trpo"], ["gae", "none"]
    text = compatibility_table.format_fit_matrix(conf_dir(), algos, schemes)
    assert max(map(len, text.splitlines())) <= 80
    assert re.sub(r"\s+", " ", text).count("gae ") == 2, "two tables"
    assert all(algo in text for algo in algos)


def test_list(here: Path) -> None:  # noqa: F811
    answer = pgrun("--list")
    lines = answer.out.splitlines()
    assert lines, answer.err
    header = next(line for line in lines if line.strip().startswith("a2c") and "trpo" in line)
    row = next(line for line in lines if line.startswith("  gae ") and "*" in line)
    at = header.index("reinforce")
    assert row[at : at + 3].strip() == "E"  # reinforce takes whole episodes alone
    assert row[header.index("ppo  ") :].startswith("E S *")
    tuned = next(line for line in lines if line.startswith("  algo=ppo "))
    assert "env=Acrobot-v1, BipedalWalker-v3, CartPole-v1, " in tuned
    assert len(lines) < 90, "and not a line a pair"
    assert max(map(len, lines)) < 200
    described = [line for line in lines if re.match(r"  \w+ {2,}\S.* ", line)]
    assert [x for x in described if x.endswith((":", ";", ",")) or x.count("(") != x.count(")")] == [], (
        "whole sentences"
    )
    assert any(line.endswith("θ ← θ + αδ∇log π(a|s)") for line in described)
    assert any(line.endswith("  The constant of least variance.") for line in described)


def test_cfg_job(here: Path) -> None:  # noqa: F811
    answer = pgrun("--cfg job algo=a2c seed=5")
    assert answer.code == 0
    assert "seed: 5" in answer.out
    assert "name: a2c" in answer.out
    assert "num_envs: 8" in answer.out
    assert "${" not in answer.out, "values, and not where they come from"
    assert answer.out == pgrun("--cfg job algo=a2c seed=5 --resolve").out
    assert not list(here.iterdir())


@pytest.mark.parametrize(
    ("command", "free_of"),
    [
        ("--help", (*HEAVY, "hydra")),
        ("--version", (*HEAVY, "hydra")),
        ("--cfg job", HEAVY),
        ("algo=npg network=shared gamma=2 algo.clp=1", (TORCH, "matplotlib", "tensorboard")),
    ],
)
def test_what_is_not_imported(command: str, free_of: tuple[str, ...], here: Path) -> None:  # noqa: F811
    watch = "import atexit; atexit.register(lambda: print('IMPORTED', *sys.modules))"
    answer = shell(command, python=watch)
    imported = answer.out.split("IMPORTED ")[1].split()
    assert "pgrun.cli.main" in imported
    assert [name for name in free_of if name in imported] == []


def test_help_is_quick(here: Path) -> None:  # noqa: F811
    """The best of three, because others may use the machine; it takes 0.07 s where nobody does."""
    seconds = []
    for _ in range(3):
        begun = time.perf_counter()
        shell("--help")
        seconds.append(time.perf_counter() - begun)
    assert min(seconds) < 1


@pytest.mark.parametrize(
    ("line", "offered"),
    [("pgrun algo=", "algo=ppo"), ("pgrun algo.c", "algo.clip="), ("pgrun var", "variance=")],
)
def test_tab_completion(line: str, offered: str, here: Path) -> None:  # noqa: F811
    answer = shell("-sc query=bash", COMP_LINE=line)
    assert offered in answer.out.split()


def test_tab_completion_is_installed(here: Path) -> None:  # noqa: F811
    script = shell("-sc install=bash", python="sys.argv[0] = 'pgrun'").out
    done = subprocess.run(
        ["bash", "-c", f"{script}\ncomplete -p pgrun"], capture_output=True, text=True, check=True
    )
    assert "hydra_bash_completion pgrun" in done.stdout


def test_a_run(here: Path) -> None:  # noqa: F811
    answer = pgrun(f"seed=3 hydra.run.dir=r {QUICK}")
    assert answer.code == 0
    assert "evaluation" in answer.out
    assert "tensorboard --logdir r" in answer.out
    summary = json.loads((here / "r" / "summary.json").read_text())
    assert (summary["status"], summary["seed"], summary["algo"]) == ("finished", 3, "ppo")
    files = {path.name for path in (here / "r").iterdir()}
    assert {".hydra", "metrics.csv", "policy.safetensors", "policy.json"} <= files


def test_flags_and_settings_in_any_order(
    here: Path,  # noqa: F811
    sweep_pages: None,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And a sweep composes once what differs by its seed alone; each job keeps its own configuration."""
    composed, compose = [], ConfigLoaderImpl.load_configuration
    monkeypatch.setattr(
        ConfigLoaderImpl, "load_configuration", lambda *a, **k: (composed.append(a), compose(*a, **k))[1]
    )
    answer = pgrun(f"seed=0,1 --multirun algo=a2c hydra.sweep.dir=s {QUICK}")
    assert answer.code == 0, answer.err
    assert len(composed) == 1
    for seed in (0, 1):
        kept = here / "s" / f"{seed}_seed={seed}" / ".hydra"
        assert yaml.safe_load((kept / "config.yaml").read_text())["seed"] == seed
        assert yaml.safe_load((kept / "overrides.yaml").read_text())[0] == f"seed={seed}"
        hydra = yaml.safe_load((kept / "hydra.yaml").read_text())["hydra"]
        assert (hydra["mode"], hydra["job"]["num"], hydra["job"]["id"]) == ("MULTIRUN", seed, str(seed))
    assert {path.name for path in (here / "s").iterdir()} == {
        "0_seed=0",
        "1_seed=1",
        "multirun.yaml",
        "events.out.tfevents.0.sweep",
        "compare.html",
        "sweep.json",
        ".lock",
    }


def test_the_users_own_method_and_environments(here: Path) -> None:  # noqa: F811
    """One class, one YAML, and environments of a module in the path."""
    command = f"--config-dir ../myconf modules=[my_mod] algo=reinforce variance=half_return {QUICK}"
    envs = ("env=my_mod:Line-v0", "env.id=my_mod:Line-v0", "env=my_mod:space/Line-v0")
    for number, env in enumerate(envs):
        assert pgrun(f"{command} {env} hydra.run.dir=r/{number}").code == 0
    summary = json.loads((here / "r" / "0" / "summary.json").read_text())
    assert (summary["variance"], summary["env"]) == ("half_return", "my_mod:Line-v0")


def test_a_module_in_the_current_folder_is_found(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """The installed script has no current folder in its path."""
    (here / "own.py").write_text((here.parent / "my_mod.py").read_text())
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place not in ("", str(here))])
    answer = pgrun(f"env=own:Line-v0 modules=[own] {QUICK}")
    del sys.modules["own"]
    assert answer.code == 0, answer.err


def test_the_users_file_wins_over_the_registry(here: Path) -> None:  # noqa: F811
    assert "max_episode_steps: 7" in pgrun("--config-dir ../myconf env=Pendulum-v1 --cfg job").out
    assert "max_episode_steps: null" in pgrun("env=Pendulum-v1 --cfg job").out


def test_tuned_settings_are_taken_and_can_be_refused(here: Path) -> None:  # noqa: F811
    assert "schedule: linear" in pgrun("env=CartPole-v1 --cfg job --resolve").out
    assert "schedule: linear" in pgrun("env.id=CartPole-v1 --cfg job --resolve").out
    assert "schedule: linear" not in pgrun("tuned=none --cfg job --resolve").out
    assert "lr: 0.02" in pgrun("optimizer.lr=0.02 --cfg job --resolve").out


@pytest.mark.parametrize(
    ("trouble", "status", "error"),
    [
        ("crash", "failed", "ValueError: the line is cut"),
        ("leave", "failed", "sys.exit(0)"),
        ("interrupt", "interrupted", "Ctrl-C"),
    ],
)
def test_a_run_that_dies_says_so(trouble: str, status: str, error: str, here: Path) -> None:  # noqa: F811
    command = f"env=my_mod:Line-v0 env.kwargs.trouble={trouble} hydra.run.dir=r {QUICK}"
    if trouble == "interrupt":
        answer = pgrun(command)
        assert (answer.code, answer.err.splitlines()[-1]) == (130, "pgrun: interrupted")
    else:
        answer = pgrun(command)
        assert answer.code == 1
        assert answer.err.startswith("pgrun: env=my_mod:Line-v0: column 0, episode 0, step 1: step ")
        assert error in answer.err
        assert len(answer.err.splitlines()) == 1
    summary = json.loads((here / "r" / "summary.json").read_text())
    assert summary["status"] == status
    assert error in summary["error"]
    assert summary["env"] == "my_mod:Line-v0"


def test_ctrl_c(here: Path) -> None:  # noqa: F811
    """A real signal to a real process."""
    process = ForkedCommand(main, ["hydra.run.dir=r"])
    while not (here / "r" / "metrics.csv").exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(60) == 130
    _, err = process.said()
    assert "Traceback" not in err
    last = err.splitlines()[-1]
    assert re.fullmatch(r"pgrun: interrupted: saved at step \d+ in r; to go on: pgrun resume=r", last)
    assert json.loads((here / "r" / "summary.json").read_text())["status"] == "interrupted"
