"""``seeds=[…]``: runs that are those of ``seed=…``, one summary over them, and nothing run twice."""

from __future__ import annotations

import json
import os
import signal
import statistics
from pathlib import Path

import pytest
import support_faults
from support_faults import EPISODE, Sweep, steps, told

from pgrun.analysis.compare.read_runs import read_runs
from pgrun.command.folder_names import find_job_folder
from pgrun.runs import parallel_seeds, workers
from pgrun.runs.child_process import ChildJob
from pgrun.runs.job_status import write_settings
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import QUICK, pgrun
from tests.helpers.support_slurm import pretend

LINE = f"env=my_mod:Line-v0 algo=reinforce network.hidden=[4] backend=torch {QUICK}"


def summary(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text())


def test_each_run_is_the_one_of_its_seed(here: Path) -> None:  # noqa: F811
    """Also where a setting refers to the seed."""
    line = f"{LINE.replace(' backend=torch', '')} '+env.kwargs.trouble=${{seed}}'"
    answer = pgrun(f"{line} seeds=[5,3] hydra.run.dir=a")
    assert answer.code == 0, answer.err
    assert pgrun(f"{line} seed=3 hydra.run.dir=b").code == 0
    for name in ("policy.safetensors", "metrics.csv"):
        a, b = ((here / folder / name).read_bytes() for folder in ("a/3", "b"))
        assert name == "metrics.csv" or a == b
        assert a.count(b"\n") == b.count(b"\n")
    settings = [json.loads((here / folder / "job.json").read_text()) for folder in ("a/3", "b")]
    assert settings[0] == settings[1]
    assert settings[0]["settings"]["env"]["kwargs"] == {"trouble": 3}
    actual = summary(here / "a")
    returns = [summary(here / "a" / seed)["eval"]["return_mean"] for seed in "53"]
    assert [run["return_mean"] for run in actual["runs"]] == returns
    assert actual["eval"] == {
        "return_mean": statistics.mean(returns),
        "return_std": pytest.approx(statistics.stdev(returns)),
        "seeds": 2,
    }
    assert f"mean over seeds 5, 3: {statistics.mean(returns):.1f} ±" in answer.out
    read = read_runs(["a"])
    assert [run.seed for run in read.runs] == [3, 5]
    assert read.notes == []


def test_a_sweep_over_jobs_of_several_seeds(here: Path) -> None:  # noqa: F811
    """A failed seed leaves the others, and the job has no value; the table has a row for a configuration,
    over its seeds.
    """
    answer = pgrun(f"-m {LINE} seeds=[0,1] env.kwargs.trouble=null,crash hydra.sweep.dir=s")
    assert answer.code == 1
    jobs = [summary(find_job_folder(here / "s", n)) for n in (0, 1)]
    assert [job["status"] for job in jobs] == ["finished", "failed"]
    assert [run["status"] for run in jobs[1]["runs"]] == ["failed", "failed"]
    assert jobs[1]["error"].startswith("seed 0: ")
    assert "the line is cut" in jobs[1]["error"]
    row = next(line for line in answer.out.splitlines() if " 0,1 " in line)
    mean = statistics.mean(run["return_mean"] for run in jobs[0]["runs"])  # of ten steps, so less than 10
    assert f" 0,1 {mean:.3f} ±" in " ".join(row.split())


def test_finished_seeds_are_not_run_again(here: Path) -> None:  # noqa: F811
    line = f"{LINE} seeds=[0,1] hydra.run.dir=a"
    assert pgrun(line).code == 0
    before = summary(here / "a")
    kept = [(here / "a" / seed / "policy.safetensors").stat().st_mtime_ns for seed in "01"]
    (here / "a" / "summary.json").unlink()  # killed before its end
    (here / "a" / "1" / "summary.json").unlink()
    assert "a: holds a run already" in pgrun(line).err
    assert "has to be named again: add env=my_mod:Line-v0" in pgrun("resume=a").err
    assert pgrun(f"{line} resume=auto").code == 0
    assert summary(here / "a") == before
    after = [(here / "a" / seed / "policy.safetensors").stat().st_mtime_ns for seed in "01"]
    assert [a == b for a, b in zip(kept, after, strict=True)] == [True, False]


@pytest.mark.slow
def test_a_preempted_job_of_seeds_goes_on(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Queued again it is started anew by Slurm, and goes on within its second seed."""
    (here.parent / "faulty.py").write_text(support_faults.MODULE)
    slurm = pretend(here.parent, monkeypatch)
    line = support_faults.LINE.replace("dir=s", "dir=whole")
    assert pgrun(f"-m gamma=0.9,0.99 seed=0,1 {line}").code == 0
    before = [steps(here, n) for n in (0, 1)]
    (here / "fault").write_text("1 slow")
    sweep = Sweep(f"-m hydra/launcher=slurm gamma=0.9,0.99 seeds=[0,1] {support_faults.LINE}")
    sweep.wait_for(lambda: sweep.saved(find_job_folder(here / "s", 0) / "1") >= 32)
    os.kill(int((slurm / "pid-0").read_text()), signal.SIGUSR2)
    sweep.wait_for(lambda: (slurm / "starts-0").stat().st_size == 4)
    (here / "fault").unlink()
    answer = sweep.answer()
    assert answer.code == 0, (answer, (slurm / "log").read_text())
    assert summary(find_job_folder(here / "s", 0))["status"] == "finished"
    assert [told(find_job_folder(here / "s", 0) / n) for n in "01"] == [
        told(find_job_folder(here / "whole", n)) for n in (0, 1)
    ]
    assert steps(here, 0) == 2 * before[0]  # also of the other job
    assert steps(here, 1) <= 2 * before[1] + 2 * EPISODE


REFUSED = {
    "seeds=[0,1] seed=1": "seed and seeds=[0,1]: one of them",
    "seeds=[]": "seeds=[]: name at least one",
    "seeds=[1,1]": "the same seed twice is no second sample",
    "seeds=[-1]": "seeds=[-1]: must be ≥ 0",
    "seeds=[a]": "seeds=['a']: must be an integer",
    "seeds=3": "seeds=3: must be a list",
}


@pytest.mark.parametrize("words", REFUSED)
def test_refusals(words: str, here: Path) -> None:  # noqa: F811
    answer = pgrun(f"{LINE} {words}")
    assert (answer.code, REFUSED[words] in answer.err) == (2, True), answer.err
    assert not list(here.iterdir())


def test_side_by_side_or_in_one_process_the_runs_are_the_same(
    here: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From a terminal a process each; in a process of the user's, one after the other."""
    assert pgrun(f"{LINE} seeds=[2,0,1] hydra.run.dir=a").code == 0
    monkeypatch.setattr(workers, "is_borrowed", lambda: True)
    monkeypatch.setattr(parallel_seeds, "run_unless_stopped", None)
    assert pgrun(f"{LINE} seeds=[2,0,1] hydra.run.dir=b").code == 0
    hashes = [[summary(here / a / n)["params_sha256"] for n in "012"] for a in "ab"]
    assert hashes[0] == hashes[1]
    assert len(set(hashes[0])) == 3


def test_a_seed_that_fails_leaves_the_others(here: Path) -> None:  # noqa: F811
    """The command ends with exit code 1, and says which seed and why."""
    module = (here.parent / "my_mod.py").read_text()
    (here.parent / "my_mod.py").write_text(module.replace('self.trouble == "crash"', "self.trouble == 1"))
    answer = pgrun(f"{LINE} '+env.kwargs.trouble=${{seed}}' seeds=[0,1,2] hydra.run.dir=a")
    assert answer.code == 1
    assert [summary(here / "a" / n)["status"] for n in "012"] == ["finished", "failed", "finished"]
    assert summary(here / "a")["status"] == "failed"
    assert "seed 1: " in answer.err
    assert "the line is cut" in answer.err


def test_in_a_sweep_a_killed_seed_goes_on_beside_a_failed_one(
    here: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By resume=auto; the failed one waits for resume=retry."""
    monkeypatch.setenv("PYTHONPATH", str(here.parent))
    (here.parent / "faulty.py").write_text(support_faults.MODULE)
    (here / "fault").write_text("0 raise\n1 kill")
    line = f"-m {support_faults.LINE} seeds=[0,1]"
    assert pgrun(line).code == 1
    job = find_job_folder(here / "s", 0)
    assert [summary(job / n)["status"] for n in "01"] == ["failed", "killed"]
    assert (summary(job)["status"], summary(job)["error"][:8]) == ("killed", "seed 1: ")
    (here / "fault").unlink()
    before = steps(here, 0)
    assert pgrun(f"{line} resume=auto").code == 1
    assert [summary(job / n)["status"] for n in "01"] == ["failed", "finished"]
    assert (summary(job)["status"], steps(here, 0)) == ("failed", before)
    assert pgrun(f"{line} resume=retry").code == 0
    assert summary(job)["status"] == "finished"


def test_seeds_with_other_settings_have_no_mean(
    here: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that was extended alone is not what the others are: refused, before anything is run."""
    begun = []

    def die_at_once(work: ChildJob, folder: Path) -> None:
        write_settings(work.folder, work.settings)
        begun.append(work.folder.name)

    monkeypatch.setattr(parallel_seeds, "start_server", lambda: None)
    monkeypatch.setattr(parallel_seeds, "run_unless_stopped", die_at_once)
    line = f"{LINE} seeds=[0,1] hydra.run.dir=a"
    assert pgrun(line).code == 1
    assert pgrun(f"{line} resume=auto").code == 1
    assert sorted(begun) == ["0", "0", "1", "1"]
    place = here / "a" / "0" / "job.json"
    job = json.loads(place.read_text())
    job["settings"]["trainer"]["total_steps"] = 300
    place.write_text(json.dumps(job))
    answer = pgrun(f"{line} resume=auto")
    assert (answer.code, len(begun)) == (2, 4), answer
    assert "a/0: holds a run with trainer.total_steps=300, not 200: the mean over seeds" in answer.err


def test_how_many_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3, 4}, raising=False)
    counts = [
        parallel_seeds.count_processes({"device": device, "threads": threads})
        for device, threads in (("cpu", 1), ("cpu", 2), ("cpu", 8), ("cuda", 1))
    ]
    assert counts == [5, 2, 1, 1]


def test_stopped_side_by_side_they_go_on(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """To the same end, by the same command with resume=auto."""
    monkeypatch.setenv("PYTHONPATH", str(here.parent))
    (here.parent / "faulty.py").write_text(support_faults.MODULE)
    line = f"{support_faults.LINE.replace('hydra.sweep.dir=s', '')} seeds=[0,1]"
    assert pgrun(f"{line} hydra.run.dir=whole").code == 0
    (here / "fault").write_text("0 crawl\n1 crawl")
    run = Sweep(f"{line} hydra.run.dir=r")
    run.wait_for(lambda: all(run.saved(here / "r" / n) >= 16 for n in "01"))
    run.kill(signal.SIGTERM, False)
    answer = run.answer()
    assert answer.code == 143, answer
    hint = "saved in r; to go on: the same command with resume=auto hydra.run.dir=r"
    assert answer.err.splitlines()[-1] == f"pgrun: interrupted: {hint}"
    assert [summary(here / "r" / n)["status"] for n in "01"] == ["interrupted"] * 2
    (here / "fault").unlink()
    assert pgrun(f"{line} hydra.run.dir=r resume=auto").code == 0
    for n in "01":
        ends = [summary(here / folder / n)["params_sha256"] for folder in ("r", "whole")]
        assert ends[0] == ends[1]
