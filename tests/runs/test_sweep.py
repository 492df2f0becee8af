"""Sweeps: every job runs whatever the others do, and the end says what came out."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest
from joblib.externals.loky import get_reusable_executor

from pgrun.command.folder_names import find_job_folder, find_job_folders
from pgrun.command.overrides import CliOverride
from pgrun.runs.sweep import format_sweep_table
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import QUICK, Answer, in_fork, pgrun, shell

LINE = f"env=my_mod:Line-v0 algo=reinforce backend=torch {QUICK}"


def results(folder: Path) -> list[dict]:
    return [
        json.loads((find_job_folder(folder, n) / "summary.json").read_text())
        for n in range(len(jobs(folder)))
    ]


def jobs(folder: Path) -> list[Path]:
    return list(find_job_folders(folder).values())


def test_algorithms_by_seeds(here: Path) -> None:  # noqa: F811
    answer = pgrun(f"-m algo=reinforce,ppo seed='range(0,2)' hydra.sweep.dir=s {QUICK}")
    assert answer.code == 0, answer.err
    actual = results(here / "s")
    assert [(r["algo"], r["seed"]) for r in actual] == [
        (algo, seed) for algo in ("reinforce", "ppo") for seed in (0, 1)
    ]
    for algo in ("reinforce", "ppo"):
        returns = [r["eval"]["return_mean"] for r in actual if r["algo"] == algo]
        row = next(line for line in answer.out.splitlines() if line.startswith(f"algo={algo} "))
        mean, spread = statistics.mean(returns), statistics.stdev(returns)
        assert row.split()[1:5] == ["0,1", f"{mean:.1f}", "±", f"{spread:.1f}"]
    assert "tensorboard --logdir s" in answer.out


def check_failures(answer: Answer, folder: Path) -> None:
    assert answer.code == 1
    assert [r["status"] for r in results(folder)] == ["failed", "failed", "finished"]
    lines = [line for line in answer.err.splitlines() if line.startswith("pgrun: ")]
    assert "job 0 (" in lines[0]
    assert "env.kwargs.trouble=leave" in lines[0]
    assert "sys.exit(0)" in lines[0]
    assert "job 1 (" in lines[1]
    assert "ValueError: the line is cut" in lines[1]
    assert lines[2].startswith("pgrun: 2 of 3 jobs did not finish: 2 failed; ")
    assert "final evaluation" in answer.out


def test_a_job_that_fails_leaves_the_others_running(here: Path) -> None:  # noqa: F811
    answer = pgrun(f"-m {LINE} env.kwargs.trouble=leave,crash,null hydra.sweep.dir=s")
    check_failures(answer, here / "s")
    assert "the line is cut" in (find_job_folder(here / "s", 1) / "pgrun.log").read_text()


def test_the_same_with_joblib(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """In processes of their own: the user's module, options and search path must reach them."""
    monkeypatch.setenv("PYTHONPATH", str(here.parent))
    get_reusable_executor().shutdown(wait=True)
    answer = pgrun(
        f"-m hydra/launcher=joblib hydra.launcher.n_jobs=2 --config-dir ../myconf modules=[my_mod] "
        f"variance=half_return env.kwargs.trouble=leave,crash,null hydra.sweep.dir=s {LINE}"
    )
    get_reusable_executor().shutdown(wait=True)
    check_failures(answer, here / "s")
    assert results(here / "s")[2]["variance"] == "half_return"


@pytest.mark.slow
def test_a_worker_that_is_killed_is_reported(here: Path) -> None:  # noqa: F811
    (here / "deadly.py").write_text(
        "import gymnasium as gym, os, multiprocessing, time\nfrom my_mod import Line\n"
        "class Deadly(Line):\n    def step(self, action):\n"
        "        os.kill(multiprocessing.parent_process().pid, 9)\n        time.sleep(9)\n"
        "gym.register('Deadly-v0', Deadly)\n"
    )
    answer = shell(
        f"-m hydra/launcher=joblib env=deadly:Deadly-v0 seed=0,1 {QUICK}", PYTHONPATH=str(here.parent)
    )
    assert answer.code == 1
    assert "pgrun: the launcher stopped: TerminatedWorkerError" in answer.err
    assert "pgrun: 2 of 2 jobs did not finish" in answer.err
    assert "Traceback" not in answer.err.split("the launcher stopped")[1]


def test_a_signal_reaches_jobs_that_change_their_folder(here: Path) -> None:  # noqa: F811
    (here / "telling.py").write_text(
        "import gymnasium as gym, os, multiprocessing, signal, time\nfrom my_mod import Line\n"
        "class Telling(Line):\n    told = 0\n    def step(self, action):\n"
        "        parent = multiprocessing.parent_process()\n"
        "        if parent is not None:\n            Telling.told += 1\n            time.sleep(0.01)\n"
        "            if Telling.told == 20:\n                os.kill(parent.pid, signal.SIGTERM)\n"
        "        return super().step(action)\n"
        "gym.register('Telling-v0', Telling)\n"
    )
    answer = in_fork(
        f"-m algo=a2c env=telling:Telling-v0 seed=0,1 hydra.job.chdir=true hydra.sweep.dir=s "
        f"{QUICK.replace('=200', '=4000')}"
    )
    assert answer.code == 143, answer
    kept = json.loads((here / "s" / "sweep.json").read_text())["jobs"]
    assert [job["status"] for job in kept] == ["interrupted", "not run"], answer


def test_an_environment_that_raises_what_ctrl_c_does_ends_its_own_job(here: Path) -> None:  # noqa: F811
    answer = pgrun(f"-m {LINE} env.kwargs.trouble=interrupt,null hydra.sweep.dir=s")
    assert answer.code == 1
    assert "interrupted: stopped by Ctrl-C" in answer.err
    assert "final evaluation" in answer.out


def test_the_users_own_in_a_sweep(here: Path) -> None:  # noqa: F811
    answer = pgrun(
        f"-m --config-dir ../myconf modules=[my_mod] algo=reinforce variance=half_return,none "
        f"env.id=my_mod:Line-v0,my_mod:space/Line-v0 hydra.sweep.dir=s {QUICK}"
    )
    assert answer.code == 0, answer.err
    assert [(r["variance"], r["env"]) for r in results(here / "s")] == [
        (variance, f"my_mod:{env}")
        for variance in ("half_return", "none")
        for env in ("Line-v0", "space/Line-v0")
    ]
    assert "variance=half_return env=my_mod:space/Line-v0" in answer.out


def test_sweeps_written_in_an_experiment_file(here: Path) -> None:  # noqa: F811
    """``hydra.sweeper.params`` are jobs like any others: checked first, reported last."""
    path = here.parent / "myconf" / "experiment" / "both.yaml"
    path.parent.mkdir()
    path.write_text("# @package _global_\nhydra: {sweeper: {params: {gamma: '0.9,1.5'}}}\n")
    command = f"-m --config-dir ../myconf experiment=both hydra.sweep.dir=s {QUICK}"
    assert "gamma=1.5: must be in [0, 1]" in pgrun(command).err
    assert not list(here.iterdir())
    path.write_text(path.read_text().replace("1.5", "0.5"))
    answer = pgrun(command)
    assert answer.code == 0
    assert len(jobs(here / "s")) == 2


def test_two_runs_within_a_second_have_their_own_folders(here: Path) -> None:  # noqa: F811
    for _ in range(2):
        assert pgrun(QUICK).code == 0
        assert pgrun(f"-m seed=0 {QUICK}").code == 0
    folders = {path.parent for path in here.rglob("summary.json")}
    assert len(folders) == 4


@pytest.mark.parametrize("subdir", ["'${hydra.job.override_dirname}'", "'${algo.name}/${seed}'"])
def test_jobs_in_folders_of_the_users_naming(subdir: str, here: Path) -> None:  # noqa: F811
    exclude = (
        "hydra.job.config.override_dirname.exclude_keys=[env,algo,trainer.total_steps,trainer.eval_every]"
    )
    answer = pgrun(f"-m {LINE} seed=0,1 hydra.sweep.dir=s hydra.sweep.subdir={subdir} {exclude}")
    assert answer.code == 0, answer.err
    assert "0,1 " in answer.out


def test_the_table_groups_by_everything_but_the_seed() -> None:
    typed = ("algo={}", "gamma=0.9", "seed={}", "hydra.sweep.dir=s")  # where a sweep lies is no setting
    jobs = [
        {
            "words": [CliOverride.read(text.format(seed if "seed" in text else algo)) for text in typed],
            "seed": seed,
            "eval": {"return_mean": value},
        }
        for algo, values in (("a2c", [1.0, 3.0]), ("ppo", [5.0, 5.0, 5.0, 5.0, 5.0, 11.0]), ("trpo", [7.0]))
        for seed, value in enumerate(values)
    ]
    rows = [line.split() for line in format_sweep_table(jobs).splitlines()]
    assert rows[0] == ["all:", "gamma=0.9"]
    assert rows[1][:4] == ["final", "evaluation", "of", "each"]
    assert [row[:n] for row, n in zip(rows[3:6], (5, 6, 3), strict=True)] == [
        ["algo=a2c", "0,1", "2.0", "±", "1.4"],
        ["algo=ppo", "6", "seeds", "6.0", "±", "2.4"],
        ["algo=trpo", "0", "7.0"],
    ]


def test_a_sweep_over_environments_has_the_decimals_of_each() -> None:
    jobs = [
        {"words": [CliOverride.read(f"env={env}")], "env": env, "seed": 0, "eval": {"return_mean": value}}
        for env, value in (("CartPole-v1", 489.0), ("FrozenLake-v1", 0.0625))
    ]
    rows = {line.split()[0]: line.split() for line in format_sweep_table(jobs).splitlines() if line}
    assert rows["env=CartPole-v1"][2] == "489.0"
    assert rows["env=FrozenLake-v1"][2] == "0.062"


def test_a_setting_that_only_the_swept_algorithms_have(here: Path) -> None:  # noqa: F811
    """Hydra composes the base of the sweep with the default algorithm, which has no ``delta``."""
    answer = pgrun(f"-m env=my_mod:Line-v0 {QUICK} algo=npg,trpo algo.delta=0.05 hydra.sweep.dir=s")
    assert answer.code == 0, answer.err
    for job in (0, 1):
        settings = json.loads((find_job_folder(here / "s", job) / "policy.json").read_text())["config"]
        assert settings["algo"]["delta"] == 0.05
