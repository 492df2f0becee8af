"""Some of the campaign in tests/campaigns/malice.py, which tries every attack on every command; and a run
directory to stand in.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "campaigns" / "malice.py"
BIN = Path(sys.executable).parent
EVERY = {
    "resume": 9,
    "play": 14,
    "compare": 18,
    "study": 60,
    "explain": 60,
    "auto": 23,
    "doctor": 23,
    "sweep": 10,
}  # each N-th attack


LONG = ("study", "explain", "doctor")  # they read a run as compare and play do


@pytest.mark.parametrize("long", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_no_code_runs_and_nothing_outside_is_written(long: bool) -> None:
    """One process for all commands: each attack is tried in a fork of it."""
    commands = [name for name in EVERY if (name in LONG) == long]
    words = ["--commands", *commands, "--every", *(str(EVERY[name]) for name in commands)]
    done = subprocess.run([sys.executable, str(SCRIPT), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = re.findall(r"^(\d+) attacks on (\w+)$", done.stdout, re.M)
    assert [name for _, name in counts] == commands
    assert all(int(count) >= 1 for count, _ in counts), done.stdout
    assert sum(int(count) for count, _ in counts) >= 3 * len(commands)


COMMANDS = {
    "resume": "pgrun resume=. trainer.total_steps=96",
    "play": "pgrun-play .",
    "compare": "pgrun-compare . --html page.html",
    "study": (
        "pgrun-study run=. episodes=4 batch=2 critic_episodes=2 reference_episodes=4 repeats=1 "
        "hydra.run.dir=study"
    ),
}
MODULES = (
    *(
        "torch",
        "tensorflow",
        "numpy",
        "yaml",
        "tensorboard",
        "pgrun",
        "hydra_plugins",
        "sitecustomize",
        "matplotlib",
    ),
    *("mujoco", "pygame", "evil", "google_crc32c", "notf"),
)
RUN = (
    "pgrun algo=ppo env=CartPole-v1 tuned=none network.hidden=[8] env.num_envs=2 sampler.steps=16 "
    "trainer.total_steps=64 trainer.eval_episodes=1 logger.progress=false hydra.run.dir=run"
)


def typed(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    name, *words = line.split()
    command = [str(BIN / name), *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def booby_trapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory with a module for every name that might be looked for in it; each leaves a mark."""
    top = tmp_path_factory.mktemp("trap")
    assert typed(RUN, top).returncode == 0
    for name in MODULES:
        text = f"open({str(top / 'mark')!r}, 'a').write({name!r})\n"
        (top / "run" / f"{name}.py").write_text(text)
        (top / "run" / name).mkdir()
        (top / "run" / name / "evil.py").write_text(text)
    return top


@pytest.mark.parametrize("command", COMMANDS)
def test_the_current_folder_is_no_place_to_import_from(command: str, booby_trapped: Path) -> None:
    done = typed(COMMANDS[command], booby_trapped / "run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (booby_trapped / "mark").exists(), (booby_trapped / "mark").read_text()
