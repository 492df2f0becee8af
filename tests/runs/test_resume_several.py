"""``resume=FOLDER`` of a sweep, or of several seeds, is the command that started it, with ``resume=auto``."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest
import yaml

from pgrun.errors import InvalidCommand
from pgrun.runs.resume_several import complete_resume
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import QUICK, pgrun

BRIEF = f"{QUICK} network.hidden=[4] env.num_envs=2 algo=a2c"
SWEEP = "outputs/multirun/2026-01-31/X_seed_12-00-00"


def write_sweep(task: list[str], hydra: list[str] | None = None, **more: object) -> Path:
    folder = Path(SWEEP)
    folder.mkdir(parents=True, exist_ok=True)
    content = {"hydra": {"mode": "MULTIRUN", **more, "overrides": {"task": task, "hydra": hydra or []}}}
    (folder / "multirun.yaml").write_text(yaml.safe_dump(content))
    return folder


@pytest.mark.parametrize("typed", ["resume=last", f"resume={SWEEP}", f"resume='{SWEEP}'", "-m resume=last"])
def test_the_command_that_started_it(typed: str, here: Path) -> None:  # noqa: F811
    write_sweep(
        ["algo=a2c,ppo", "seed=0,1", "++env.kwargs.a=1"],
        ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", f"hydra.sweep.dir={SWEEP}"],
    )
    saved = [
        "algo=a2c,ppo",
        "seed=0,1",
        "++env.kwargs.a=1",
        "hydra/launcher=joblib",
        "hydra.launcher.n_jobs=2",
    ]
    assert complete_resume(typed.split()) == ["-m", *saved, "resume=auto", f"hydra.sweep.dir={SWEEP}"]


def test_words_that_are_typed_replace_those_of_the_folder(here: Path) -> None:  # noqa: F811
    write_sweep(["env=X-v0", "seed=0,1", "critic/optimizer=sgd"])
    typed = ["resume=last", "seed=0,1,2", "env.id=Y-v0", "critic.optimizer=adam"]
    whole = [
        "-m",
        "seed=0,1,2",
        "env.id=Y-v0",
        "critic.optimizer=adam",
        "resume=auto",
        f"hydra.sweep.dir={SWEEP}",
    ]
    assert complete_resume(typed) == whole


def test_a_sweep_of_studies_is_named_as_one(here: Path) -> None:  # noqa: F811
    folder = write_sweep(["episodes=10,20", "seed=0,1"])
    (folder / "sweep.json").write_text('{"command": "pgrun-study", "jobs": []}')
    with pytest.raises(InvalidCommand) as refused:
        complete_resume([f"resume={SWEEP}"])
    line = f"pgrun-study -m … resume=auto hydra.sweep.dir={SWEEP}"
    assert f"resume={SWEEP}: is a sweep of pgrun-study: " in str(refused.value)
    assert str(refused.value).endswith(line)


@pytest.mark.parametrize(
    "word",
    [
        "modules=[my_mod]",
        "env=my_mod:Line-v0",
        "env.id=my_mod:Line-v0",
        "env=CartPole-v1,my_mod:Line-v0",
        "env.wrappers=[my_mod:Mine]",
        "env.wrappers=[{name:my_mod:Mine,a:1}]",
        "env.wrappers=[ClipReward],[my_mod:Mine]",
        "env.wrappers.0=my_mod:Mine",
        "logger.project=${oc.env:HOME}",
        "hydra.launcher._target_=subprocess.Popen",
        "hydra/launcher=../mine",
        "hydra.searchpath=[file:///tmp]",
        "hydra.sweeper.storage=postgresql://elsewhere",
    ],
)
def test_nothing_in_a_folder_decides_what_is_executed(word: str, here: Path) -> None:  # noqa: F811
    own = word.startswith("hydra")
    folder = write_sweep([] if own else [word, "seed=0,1"], [word] if own else [])
    with pytest.raises(InvalidCommand) as refused:
        complete_resume(["resume=last"])
    assert str(refused.value).endswith(f"add {shlex.quote(word)}")
    again = complete_resume(["resume=last", word])
    assert again[-3:] == [word, "resume=auto", f"hydra.sweep.dir={folder}"]


def test_wrappers_of_gymnasium_are_no_code_of_the_user(here: Path) -> None:  # noqa: F811
    word = "env.wrappers=[{name:ClipReward,min_reward:-1,max_reward:1}]"
    write_sweep([word])
    assert word in complete_resume(["resume=last"])


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[",
        "hydra: 3",
        "{hydra: {mode: MULTIRUN, overrides: {task: [3], hydra: []}}}",
        "{hydra: {mode: MULTIRUN, overrides: {task: ['--config-dir=/tmp'], hydra: []}}}",
    ],
)
def test_a_damaged_folder_is_answered_with_what_to_type(content: str, here: Path) -> None:  # noqa: F811
    folder = write_sweep([])
    (folder / "multirun.yaml").write_text(content)
    answer = pgrun(f"resume={SWEEP}")
    assert answer.code == 2
    assert answer.err.endswith(f"with resume=auto hydra.sweep.dir={SWEEP}\n")


def test_a_sweep_that_kept_one_jobs_words_is_not_gone_on_with_in_part(here: Path) -> None:  # noqa: F811
    basic = {
        part: {"_target_": f"hydra._internal.core_plugins.basic_{part}.X"} for part in ("launcher", "sweeper")
    }
    write_sweep(["algo=a2c", "seed=0"], mode=None, **basic)
    answer = pgrun("resume=last")
    assert (answer.code, "the words of one job" in answer.err) == (2, True)
    write_sweep(
        ["algo=a2c", "seed=0"], mode=None, launcher={"_target_": "hydra_plugins.joblib.X"}, sweeper={}
    )
    assert complete_resume(["resume=last"])[0] == "-m"  # Hydra's own wrote the whole sweep's


@pytest.mark.parametrize("typed", ["resume=auto", "resume=outputs/run", "seed=3", "resume=last"])
def test_other_commands_stay(typed: str, here: Path) -> None:  # noqa: F811
    run = Path("outputs/run")
    run.mkdir(parents=True)
    (run / "job.json").write_text("{}")
    assert complete_resume([typed]) == [typed]


def test_a_sweep_goes_on_and_grows(here: Path) -> None:  # noqa: F811
    assert pgrun(f"-m {BRIEF} seed=0,1").code == 0
    (sweep,) = Path("outputs/multirun").glob("*/*")
    first, second = sorted(sweep.glob("*_seed=*")) or sorted(
        path for path in sweep.iterdir() if path.is_dir()
    )
    theta = (second / "policy.safetensors").read_bytes()
    before = (first / "policy.safetensors").stat().st_mtime_ns
    shutil.rmtree(second)
    answer = pgrun("resume=last")
    assert answer.code == 0, answer
    assert "is a sweep; all of it goes on" in answer.out
    assert "resume=auto: 1 finished, 1 not run" in answer.out
    assert (second / "policy.safetensors").read_bytes() == theta
    assert (first / "policy.safetensors").stat().st_mtime_ns == before
    grown = pgrun(f"resume={sweep} seed=0,1,2")
    assert "resume=auto: 2 finished, 1 not run" in grown.out, grown


def test_all_seeds_of_a_run_go_on(here: Path) -> None:  # noqa: F811
    assert pgrun(f"{BRIEF} seeds=[0,1]").code == 0
    (run,) = Path("outputs").glob("2*/*")
    theta = (run / "1" / "policy.safetensors").read_bytes()
    shutil.rmtree(run / "1")
    (run / "summary.json").unlink()
    answer = pgrun("resume=last")
    assert answer.code == 0, answer
    assert "is several seeds; all of it goes on" in answer.out
    assert (run / "1" / "policy.safetensors").read_bytes() == theta
