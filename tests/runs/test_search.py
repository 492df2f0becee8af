"""Searches: trials that are what the study proposed, pruned by the rule, told best first, and going on after
a kill as if nothing had been.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from gymnasium import registry
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf
from support_faults import Sweep

from pgrun.analysis.compare.read_runs import read_runs
from pgrun.command import launchers
from pgrun.command.folder_names import find_job_folder
from pgrun.runs.search import sweeper
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import pgrun
from tests.helpers.support_search import LINE, MODULE, X, record, steps, summaries, tried, value


@pytest.fixture
def peak(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:  # noqa: F811
    (here.parent / "peak.py").write_text(MODULE)
    sys.modules.pop("peak", None)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(here.parent), os.environ.get("PYTHONPATH", "")]))
    yield here
    registry.pop("Peak-v0", None)


def table(out: str) -> list[list[str]]:
    """Cells of the trials, in the order shown."""
    lines = out[out.index("trials finished; final evaluations") :].splitlines()[2:]
    return [re.split(r"\s\s+", line) for line in lines[: lines.index("")]]


def test_a_search(peak: Path) -> None:
    answer = pgrun(f"{LINE} {X} optimizer.lr=0.01,0.02 seeds=[2,0] hydra.sweeper.n_trials=4")
    assert answer.code == 0, answer.err
    actual, x = summaries(peak / "s"), tried(peak / "s")
    expected = [value(each, [2, 0]) for each in x]
    assert [job["eval"]["return_mean"] for job in actual] == pytest.approx(
        expected, abs=1e-6
    )  # float32 rewards
    order = sorted(range(4), key=lambda n: -expected[n])
    rows = table(answer.out)
    assert [int(row[0]) for row in rows] == order
    assert [row[3] for row in rows] == [f"{x[n]:.4g}" for n in order]
    line = answer.out.split("on other seeds:\n")[1].splitlines()[0].strip()
    assert line.endswith("'seeds=[3,4,5,6,7]'")
    words = shlex.split(line)[1:]
    assert f"env.kwargs.x={x[order[0]]}" in words
    again = pgrun(shlex.join([*words, "hydra.run.dir=best"]))
    assert again.code == 0, again.err
    best = json.loads((peak / "best" / "summary.json").read_text())
    assert best["eval"]["return_mean"] == pytest.approx(value(x[order[0]], [3, 4, 5, 6, 7]), abs=1e-6)
    runs = read_runs(["s"])
    assert len(runs.runs) == 8
    assert runs.notes == []
    kept = json.loads((peak / "s" / "sweep.json").read_text())["jobs"]
    assert [job["status"] for job in kept] == ["finished"] * 4
    refused = pgrun(f"{LINE} {X}").err
    assert refused.count("holds another sweep") == 1
    assert len(refused.splitlines()) == 1  # one reason


SEARCH = f"{LINE} {X} seeds=[0,1,2] hydra.sweeper.prune_after=2 hydra.sweeper.seed=3"


def rule(means: list[list[float]], after: int) -> list[int]:
    """How many seeds each trial has, by the rule in words: below the median of the finished trials' running
    means it stops.
    """
    counts, finished = [], []
    for returns in means:
        running = [statistics.mean(returns[:k]) for k in (1, 2, 3)]
        stops = (
            k
            for k in (1, 2)
            if len(finished) >= after and running[k - 1] < statistics.median(f[k - 1] for f in finished)
        )
        counts.append(next(stops, 3))
        finished += [running] if counts[-1] == 3 else []
    return counts


@pytest.mark.slow
def test_after_kill_9_it_is_the_search_that_never_stopped(peak: Path) -> None:
    whole = pgrun(f"{SEARCH.replace('dir=s', 'dir=whole')} hydra.sweeper.n_trials=7")
    assert whole.code == 0, whole.err
    counts = [len(job["runs"]) for job in summaries(peak / "whole")]
    assert counts == rule([[value(x, [seed]) for seed in (0, 1, 2)] for x in tried(peak / "whole")], 2)
    assert set(counts) > {3}
    assert [row[-1] == "pruned" for row in table(whole.out)] == [
        n < 3 for n in sorted(counts, key=lambda n: n < 3)
    ]
    all_steps = steps(peak)
    for path in peak.glob("steps-*"):
        path.unlink()

    sweep = Sweep(f"{SEARCH} hydra.sweeper.n_trials=5")
    sweep.wait_for(lambda: (find_job_folder(peak / "s", 2) / "summary.json").exists())
    (peak / "slow").touch()
    sweep.wait_for(lambda: list((find_job_folder(peak / "s", 3)).glob("*/checkpoints/000000016.json")))
    sweep.kill(signal.SIGKILL, group=True)
    assert sweep.answer().code == -signal.SIGKILL
    (peak / "slow").unlink()
    done = steps(peak)
    rest = pgrun(f"{SEARCH} hydra.sweeper.n_trials=7 resume=auto")
    assert rest.code == 0, rest.err
    assert "1 killed, of 7 trials" in rest.out
    assert record(peak / "s") == record(peak / "whole")
    assert summaries(peak / "s") == summaries(peak / "whole")
    assert table(rest.out) == table(whole.out)
    for name, count in steps(peak).items():  # what was finished is not executed again, what was begun goes on
        assert count <= all_steps[name] + 2 * (done.get(name, 0) < all_steps[name]), name


def test_trials_that_fail_leave_the_others(peak: Path) -> None:
    line = f"{LINE} {X} env.kwargs.kind=flat,broken hydra.sweeper.n_trials=5 hydra.sweeper.sampler=random"
    answer = pgrun(line)
    assert answer.code == 0, answer.err
    kinds = [trial["++env.kwargs.kind"] for trial in record(peak / "s")["trials"]]
    assert set(kinds) == {"flat", "broken"}
    assert [job["status"] == "failed" for job in summaries(peak / "s")] == [
        kind == "broken" for kind in kinds
    ]
    for number, kind in enumerate(kinds):
        assert (f"pgrun: trial {number} (" in answer.err) == (kind == "broken")
    assert len(table(answer.out)) == kinds.count("flat")


REFUSED = {
    "optimizer.lr=interval(0,1)": "optimizer.lr=0.0: must be > 0",
    "gamma=interval(0.9,1.5)": "gamma=1.5: must be in [0, 1]",
    "sampler.steps=interval(8,64)": "must be an integer",
    "optimizer.rate=interval(0.1,1)": "optimizer.rate: no such setting",
    "gamma=interval(1,0.5)": "goes from a number to a greater one",
    "gamma=interval(0,inf)": "goes from a number to a greater one",
    "gamma=tag(log,interval(0,1))": "it must begin above 0",
    "gamma=tag(ln,interval(0,1))": "the only tag of an interval is log",
    "gamma=tag(log,choice(0.5,0.9))": "goes with an interval",
    "gamma=shuffle(0.5,0.9)": "no order to shuffle",
    "algo=a2c,ddpg": "algo=ddpg: there is none",
    "seed=0,1": "type seeds=[0,1,2]",
    "": "nothing to search",
    "gamma=0.9": "nothing to search",
    f"{X} hydra.sweeper.n_trials=0": "hydra.sweeper.n_trials=0: must be ≥ 1",
    f"{X} hydra.sweeper.sampler=grid": "must be one of tpe, random",
    f"{X} hydra.sweeper.trials=5": "hydra.sweeper.trials: no such setting",
    f"{X} hydra.sweeper.n_jobs=2": "add hydra/launcher=parallel",
    f"{X} hydra/launcher=parallel": "the launcher would have one trial at a time",
    f"{X} hydra.sweep.subdir=a": "leave it out",
    f"{X} seeds=[0,0]": "the same seed twice",
}


@pytest.mark.parametrize("words", REFUSED)
def test_refusals(words: str, peak: Path) -> None:
    keys = {word.partition("=")[0] for word in words.split()}
    line = [word for word in shlex.split(LINE) if word.partition("=")[0] not in keys]
    answer = pgrun(shlex.join([*line, *words.split()]))
    assert (answer.code, REFUSED[words] in answer.err) == (2, True), answer.err
    assert "Traceback" not in answer.err
    assert not list(peak.iterdir())


def test_intervals_without_a_search(peak: Path) -> None:
    answer = pgrun(f"{LINE.replace('hydra/sweeper=optuna', '')} {X}")
    assert (answer.code, "intervals are searched: hydra/sweeper=optuna" in answer.err) == (2, True)
    answer = pgrun(f"{LINE.replace('-m ', '')} gamma=0.9")
    assert (answer.code, "type pgrun -m" in answer.err) == (2, True)


def test_a_missing_engine_is_named(peak: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launchers, "find_spec", lambda name: None)
    answer = pgrun(f"{LINE} {X}")
    assert (answer.code, 'pip install "pgrun[search]"' in answer.err) == (2, True)


def test_another_search_is_refused(peak: Path) -> None:
    assert pgrun(f"{LINE} {X} hydra.sweeper.n_trials=1").code == 0
    for words, sentence in {
        f"{X} gamma=0.5": "gamma=0.99, not 0.5",
        "env.kwargs.x=interval(0,2)": "env.kwargs.x=interval(0,1), not interval(0,2)",
        f"{X} hydra.sweeper.seed=1": "seed=0, not 1",
    }.items():
        answer = pgrun(f"{LINE} {words} hydra.sweeper.n_trials=1 resume=auto")
        assert (answer.code, sentence in answer.err) == (2, True), answer.err
    place = peak / "s" / "search.json"
    content = json.loads(place.read_text())
    for harm in ([{"++env.kwargs.x": 7.0}], [{"++env.kwargs.x": "${oc.env:HOME}"}], [{}], 3):
        place.write_text(json.dumps({**content, "trials": harm}))
        answer = pgrun(f"{LINE} {X} hydra.sweeper.n_trials=1 resume=auto")
        assert (answer.code, "is none of this search" in answer.err) == (2, True), answer.err


@pytest.mark.slow
def test_two_at_a_time(peak: Path) -> None:
    """Proposed in pairs; what comes out does not depend on which of a pair is the faster."""
    parallel = (
        "hydra/launcher=parallel hydra.launcher.n_jobs=2 hydra.sweeper.n_jobs=2 hydra.sweeper.n_trials=6"
    )
    assert pgrun(f"{SEARCH} {parallel}").code == 0
    first = summaries(peak / "s")
    assert pgrun(f"{SEARCH.replace('dir=s', 'dir=again')} {parallel}").code == 0
    assert summaries(peak / "again") == first
    assert {job["status"] for job in first} == {"finished", "pruned"}


@pytest.mark.slow
def test_stopped_by_a_signal(peak: Path) -> None:
    (peak / "slow").touch()
    sweep = Sweep(f"{SEARCH} hydra.sweeper.n_trials=3")
    sweep.wait_for(lambda: list((find_job_folder(peak / "s", 1)).glob("*/checkpoints/000000016.json")))
    sweep.kill(signal.SIGTERM, group=False)
    answer = sweep.answer()
    assert answer.code == 143, answer
    assert "trial 1 (" in answer.err
    assert "interrupted: stopped by SIGTERM" in answer.err
    assert "2 of 3 trials did not finish: 1 interrupted, 1 not run; the same command goes on" in answer.err
    (peak / "slow").unlink()
    assert pgrun(f"{SEARCH} hydra.sweeper.n_trials=3 resume=auto").code == 0
    assert pgrun(f"{SEARCH.replace('dir=s', 'dir=whole')} hydra.sweeper.n_trials=3").code == 0
    assert summaries(peak / "s") == summaries(peak / "whole")


def test_the_time_left_is_that_of_this_commands_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those that were done before took it no time, and take none again."""
    clock, done = [0.0], {"status": "finished", "seed": 0, "eval": {"return_mean": 1.0}}

    def finish(number: int) -> None:
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "summary.json").write_text(json.dumps(done))

    class Launcher:
        def launch(self, words: list[list[str]], initial_job_idx: int) -> list[JobReturn]:
            clock[0] += 60.0
            finish(initial_job_idx)
            return [JobReturn(_return_value=1.0, status=JobStatus.COMPLETED)]

    for number in (0, 1, 4):
        finish(number)
    search = sweeper.Optuna(n_trials=6)
    search.config, search.folder, search.launcher = OmegaConf.create({}), tmp_path, Launcher()
    search.hydra_context = SimpleNamespace(config_loader=None)
    monkeypatch.setattr(sweeper, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(search, "compose", lambda words, number: SimpleNamespace(settings={"gamma": 0.9}))
    monkeypatch.setattr(search, "allowed", lambda number, words: True)
    search.sweep(["x=interval(0,1)"])
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("trial ")]
    lefts = [line.partition("; about ")[2] for line in told]
    assert lefts == ["", "", "2 min left", "60 s left", "60 s left", ""]


@pytest.mark.slow
def test_parameters_of_an_experiment_file(peak: Path) -> None:
    path = peak.parent / "myconf" / "experiment" / "peaks.yaml"
    path.parent.mkdir()
    path.write_text("# @package _global_\nhydra: {sweeper: {params: {gamma: 'interval(0.5,0.9)'}}}\n")
    line = f"{LINE} --config-dir ../myconf experiment=peaks hydra.sweeper.n_trials=2"
    answer = pgrun(line)
    assert answer.code == 0, answer.err
    assert [trial.keys() for trial in record(peak / "s")["trials"]] == [{"gamma"}] * 2
    assert "pgrun --config-dir ../myconf" in answer.out
