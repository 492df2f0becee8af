"""Some of the campaign in tests/campaigns/malice.py, which tries every attack on every command; and a run
directory to stand in.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.campaigns import malice
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import pgrun
from tests.helpers.support_fork import in_campaign

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


# study, explain and doctor read a run as compare and play do
FEW = {"resume": 24, "play": 40, "compare": 60, "auto": 60, "sweep": 10}


@pytest.mark.parametrize("every", [FEW, pytest.param(EVERY, marks=pytest.mark.slow)], ids=["few", "many"])
def test_no_code_runs_and_nothing_outside_is_written(every: dict[str, int]) -> None:
    """Each attack is tried in a fork."""
    commands = list(every)
    told = in_campaign(malice, "--commands", *commands, "--every", *map(str, every.values()))
    counts = re.findall(r"^(\d+) attacks on (\w+): \d+ s$", told, re.M)
    assert [name for _, name in counts] == commands
    assert all(int(count) >= 1 for count, _ in counts), told
    assert sum(int(count) for count, _ in counts) >= 3 * len(commands)


COMMANDS = (
    "pgrun resume=. trainer.total_steps=96",
    "pgrun-play .",
    "pgrun-compare . --html page.html",
    "pgrun-study run=. episodes=4 batch=2 critic_episodes=2 reference_episodes=4 repeats=1 hydra.run.dir=own",
)
ALL = f"""
import runpy, sys
for line in {COMMANDS!r}:
    name, *sys.argv[1:] = line.split()
    before = [*sys.path]
    try:
        runpy.run_path(f"{BIN}/{{name}}", run_name="__main__")
    except SystemExit as left:
        if left.code:
            raise
    assert sys.path == before, (line, sys.path)
"""
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
    "algo=ppo env=CartPole-v1 tuned=none network.hidden=[8] env.num_envs=2 sampler.steps=16 "
    "trainer.total_steps=64 trainer.eval_episodes=1 logger.progress=false hydra.run.dir=run"
)


def test_the_current_folder_is_no_place_to_import_from(here: Path) -> None:  # noqa: F811
    """In a run directory with a module for every name that might be looked for in it; each leaves a mark. The
    installed scripts, one after the other in one process, which begins in a folder of its own as theirs do.
    """
    top = here
    assert pgrun(RUN).code == 0
    for name in MODULES:
        text = f"open({str(top / 'mark')!r}, 'a').write({name!r})\n"
        (top / "run" / f"{name}.py").write_text(text)
        (top / "run" / name).mkdir()
        (top / "run" / name / "evil.py").write_text(text)
    (top.parent / "bin").mkdir()
    (top.parent / "bin" / "all.py").write_text(ALL)
    done = subprocess.run(
        [sys.executable, top.parent / "bin" / "all.py"],
        cwd=top / "run",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (top / "mark").exists(), (top / "mark").read_text()
    assert (top / "run" / "page.html").exists()
    assert (top / "run" / "own" / "study.json").exists()
