"""pgrun-compare on made-up runs: what is grouped, what is shown, what is said of damaged ones."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from pgrun.analysis.compare.config import flatten_comparable_settings, read_config
from pgrun.analysis.compare.groups import group_runs
from pgrun.analysis.compare.read_runs import read_runs
from pgrun.analysis.compare.report import list_differing_settings
from pgrun.analysis.compare.statistics import difference_interval
from pgrun.command.app import PGRUN
from pgrun.command.compose import compose_jobs
from pgrun.command.overrides import read_command
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import shell
from tests.helpers.support_compare import cells, compare, curve_rows, make_run


def sweep(top: Path, *configurations: tuple[dict, list[str], list[float | None]]) -> Path:
    """A run for each score, seeds from 0."""
    for i, (changes, typed, scores) in enumerate(configurations):
        for seed, score in enumerate(scores):
            make_run(top / f"{i}{seed}", seed, score, changes, typed)
    return top


def labels(top: Path, *by: str) -> dict[str, int]:
    return {g.label: len(g.runs) for g in group_runs(read_runs([str(top)]).runs, by)}


A2C = {"algo": {"name": "a2c", "entropy": 0.0}, "optimizer.lr": 7e-4}


def test_what_was_typed_and_differs(tmp_path: Path) -> None:
    """The defaults that follow from the algorithm are not in the label, nor what all share."""
    top = sweep(
        tmp_path, ({}, ["algo=ppo", "gamma=0.99"], [1.0, 2.0]), (A2C, ["algo=a2c", "gamma=0.99"], [3.0])
    )
    assert labels(top) == {"algo=ppo": 2, "algo=a2c": 1}


def test_a_typed_setting_is_named_for_all(tmp_path: Path) -> None:
    top = sweep(tmp_path, ({"optimizer.lr": 0.01}, ["optimizer.lr=0.01"], [1.0]), (A2C, ["algo=a2c"], [3.0]))
    assert labels(top) == {"algo=ppo optimizer.lr=0.01": 1, "algo=a2c optimizer.lr=0.0007": 1}


def test_without_a_record_of_the_command(tmp_path: Path) -> None:
    """Choices that differ, and within one choice every setting that differs."""
    top = sweep(
        tmp_path,
        (A2C, [], [1.0]),
        ({"algo.clip": 0.1}, [], [1.0]),
        ({"algo.clip": 0.1, "gamma": 0.5}, [], [1.0]),
    )
    assert labels(top) == {"algo=a2c": 1, "algo=ppo gamma=0.99": 1, "algo=ppo gamma=0.5": 1}


def test_what_is_left_at_its_default_is_the_same_as_typed(tmp_path: Path) -> None:
    """lr is 0.001 by the preset in one and by hand in the other; the logger has no part in it."""
    top = sweep(
        tmp_path,
        ({}, [], [1.0]),
        ({"usual": {}, "optimizer.lr": 1e-3, "logger.progress": False}, ["optimizer.lr=1e-3"], [2.0]),
    )
    shutil.move(tmp_path / "10" / ".hydra" / "config.yaml", tmp_path / "c")
    (tmp_path / "10" / ".hydra" / "config.yaml").write_text(
        (tmp_path / "c").read_text().replace("seed: 0", "seed: 9")
    )
    assert labels(top) == {"algo=ppo variance=gae env=CartPole-v1": 2}


@pytest.mark.parametrize(
    ("path", "one", "other"),
    [("gamma", 1, 1.0), ("trainer.total_steps", 600, 6e2), ("network.hidden", [32], [32.0])],
)
def test_a_run_found_twice_counts_once_however_its_numbers_are_typed(
    path: str, one: object, other: object, tmp_path: Path
) -> None:
    for number, value in enumerate((one, other)):
        make_run(tmp_path / str(number), 0, 5.0, {path: value})
    read = read_runs([str(tmp_path)])
    (group,) = group_runs(read.runs)
    assert len(group.runs) == 1
    (note,) = read.notes
    assert "the same configuration and seed as" in note
    make_run(tmp_path / "2", 0, 5.0, {path: [64] if isinstance(one, list) else 0.5})
    assert len(group_runs(read_runs([str(tmp_path)]).runs)) == 2


def test_by(tmp_path: Path) -> None:
    top = sweep(tmp_path, ({}, [], [1.0]), ({"gamma": 0.5}, ["gamma=0.5"], [2.0]), (A2C, [], [3.0]))
    assert labels(top, "algo") == {"algo=ppo": 2, "algo=a2c": 1}
    answer = compare(top, "--by", "algo")
    assert "algo=ppo: pooled over different gamma" in answer.out


@pytest.mark.parametrize(
    "command",
    [
        "pgrun",
        "pgrun algo=a2c env=Pendulum-v1 network.hidden=[8]",
        "pgrun algo=trpo variance=gae",
        "pgrun algo=off_policy_ac",
        "pgrun critic/optimizer=sgd algo=npg critic.optimizer.lr=1e-5",
    ],
)
def test_references_are_resolved_as_hydra_does(command: str, here: Path) -> None:  # noqa: F811
    """Our reader, which calls no resolver, against OmegaConf's."""
    from omegaconf import OmegaConf

    from pgrun.command.compose import compose, composing_with_hydra

    words = command.split()[1:]
    settings = compose_jobs(read_command(words, PGRUN)).composed[0].settings
    with composing_with_hydra():
        written = OmegaConf.to_yaml(compose(PGRUN.config, overrides=words))
    actual, seed = read_config(written)
    assert actual == flatten_comparable_settings(settings)
    assert seed == 0
    assert not [value for value in actual.values() if isinstance(value, str) and "${" in value]


def test_no_resolver_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "word")
    run = make_run(
        tmp_path / "r", 0, 1.0, {"env.kwargs.x": "${oc.env:SECRET}", "env.kwargs.y": "${env.kwargs.y}"}
    )
    (actual,) = read_runs([str(run)]).runs
    assert actual.config["env.kwargs.x"] == "${oc.env:SECRET}"
    assert actual.config["env.kwargs.y"] == "${env.kwargs.y}"


def test_the_table(tmp_path: Path) -> None:
    top = sweep(
        tmp_path,
        ({}, ["algo=ppo"], [10.0, 20.0, 30.0, 40.0, 100.0]),
        (A2C, ["algo=a2c"], [10.0, 20.0, 20.0, 10.0, 15.0]),
    )
    answer = compare(top, "--baseline", "algo=a2c")
    assert answer.code == 0
    rows = cells(answer)
    assert list(rows) == ["algo=ppo", "algo=a2c"]  # best first
    seeds, spread, _, middle, _, better = rows["algo=ppo"]
    assert (seeds, spread, middle) == ("0,1,2,3,4", "40.0 ± 35.4", "30.0")
    wins = (0 + 2 * 0.5) + (3 + 2 * 0.5) + 3 * 5  # of 10, of 20, of the other three, over 5 scores each
    assert better.startswith(f"{wins / 25:.2f} (")
    assert rows["algo=a2c"][-1] == "baseline"
    assert "fewer than five" not in answer.out


def test_warnings(tmp_path: Path) -> None:
    top = sweep(
        tmp_path,
        ({}, ["algo=ppo"], [10.0, 20.0, 30.0]),
        (A2C, ["algo=a2c"], [12.0, 22.0, None]),
        ({"gamma": 0.1}, ["gamma=0.1"], [1.0, 1.0, 1.0, 1.0, 1.0]),
    )
    out = compare(top).out
    assert "fewer than five seeds: algo=ppo gamma=0.99 (3); algo=a2c gamma=0.99 (2)" in out
    assert "difference may be 0 (95 %): algo=ppo gamma=0.99 and algo=a2c gamma=0.99; these" in out
    assert "algo=a2c gamma=0.99: 1 of 3 runs without a score" in out


def test_intervals_may_overlap_where_the_difference_is_clear(tmp_path: Path) -> None:
    low = [300.0 + x for x in (-80, -50, -30, -10, 0, 5, 15, 30, 50, 80)]
    top = sweep(tmp_path, ({}, ["algo=ppo"], [x + 55 for x in low]), (A2C, ["algo=a2c"], low))
    answer = compare(top)
    (ppo, a2c) = (cells(answer)[name][4] for name in ("algo=ppo", "algo=a2c"))
    assert float(ppo.split(" … ")[0]) < float(a2c.split(" … ")[1]), "the intervals overlap"
    assert "which is better" not in answer.out


def test_a_difference_may_be_0_where_the_intervals_are_apart(tmp_path: Path) -> None:
    """The one bad seed of each moves 1.7 % of the resamples, less than an end's 2.5 %, and 3.3 % of those of
    the difference.
    """
    scores = [([10.0] * 14 + [-1000.0]), ([9.0] * 14 + [1000.0])]
    top = sweep(tmp_path, ({}, ["algo=ppo"], scores[0]), (A2C, ["algo=a2c"], scores[1]))
    answer = compare(top)
    assert [row[4] for row in cells(answer).values()] == ["10.0 … 10.0", "9.0 … 9.0"]
    low, high = difference_interval(*([np.array(x)] for x in scores))
    assert low < 0 < high
    assert "difference may be 0 (95 %): algo=ppo and algo=a2c; these" in answer.out


def test_a_setting_that_a_group_pools_over_is_none_of_its_settings(tmp_path: Path) -> None:
    """Whichever of its runs comes first."""
    other = {"gamma": 0.5}
    top = sweep(
        tmp_path,
        ({}, ["algo=ppo"], [1.0, 2.0]),
        ({**A2C, **other}, ["algo=a2c"], [3.0]),
        (A2C, ["algo=a2c", "gamma=0.99"], [4.0]),
    )
    answer = compare(top, "--by", "algo", "--baseline", "gamma=0.99")
    assert cells(answer)["algo=ppo"][-1] == "baseline"
    settings = list_differing_settings(group_runs(read_runs([str(top)]).runs, ["algo"]))
    (row,) = [line for line in settings if line[0] == "gamma"]
    assert sorted(row[1:]) == ["0.99", "several"]
    refused = compare(top, "--by", "algo", "--baseline", "gamma=0.5")
    assert (refused.code, "fits no group" in refused.err) == (2, True)


def test_a_baseline_is_named_as_its_label_says(tmp_path: Path) -> None:
    """Every label that is listed: its words, also in one pair of quotes, and its rounded numbers."""
    wide, narrow = {"network.hidden": [8, 8]}, {"network.hidden": [16]}
    top = sweep(
        tmp_path,
        ({"optimizer.lr": 0.00273921, **narrow}, ["optimizer.lr=0.00273921", "network.hidden=[16]"], [1.0]),
        ({"optimizer.lr": 1.23456e-5, **narrow}, ["optimizer.lr=1.23456e-5", "network.hidden=[16]"], [2.0]),
        ({"optimizer.lr": 54321.9876, **wide}, ["optimizer.lr=54321.9876", "network.hidden=[8,8]"], [3.0]),
        ({"optimizer.lr": 0.001, **wide}, ["optimizer.lr=0.001", "network.hidden=[8,8]"], [4.0]),
    )
    assert list(labels(top)) == [
        "optimizer.lr=0.002739 network.hidden=[16]",
        "optimizer.lr=1.235e-05 network.hidden=[16]",
        "optimizer.lr=5.432e+04 network.hidden=[8,8]",
        "optimizer.lr=0.001 network.hidden=[8,8]",
    ]
    for label in labels(top):
        for typed in ([label], label.split(), [" ".join(reversed(label.split()))], label.split()[:1]):
            answer = compare(top, "--baseline", *typed)
            assert answer.code == 0, answer
            assert [name for name, row in cells(answer).items() if row[-1] == "baseline"] == [label]
    refused = compare(top, "--baseline", "optimizer.lr=0.0027")
    assert (refused.code, "fits no group" in refused.err) == (2, True)


def test_a_baseline_of_which_others_have_all_settings(tmp_path: Path) -> None:
    """The label itself says which is meant; a number that is written out is rather that of a group than
    another's that is rounded to it.
    """
    top = sweep(
        tmp_path / "a",
        ({}, ["algo=ppo"], [1.0]),
        (A2C, [], [2.0]),
        ({**A2C, "critic.name": "td"}, [], [3.0]),
    )
    for label in labels(top):
        assert cells(compare(top, "--baseline", label))[label][-1] == "baseline"
    top = sweep(
        tmp_path / "b",
        ({"gamma": 0.123456}, ["gamma=0.123456"], [1.0]),
        ({"gamma": 0.1235}, ["gamma=0.1235"], [2.0]),
    )
    assert list(labels(top)) == ["gamma=0.123456", "gamma=0.1235"]
    assert cells(compare(top, "--baseline", "gamma=0.1235"))["gamma=0.1235"][-1] == "baseline"
    by = ["--by", "critic", "--baseline", "critic=(none)"]
    assert cells(compare(tmp_path, *by))["critic=(none)"][-1] == "baseline"


def test_nothing_is_written_where_one_file_cannot_be(here: Path) -> None:  # noqa: F811
    sweep(here / "top", ({}, ["algo=ppo"], [1.0]), ({"gamma": 0.5}, ["algo=ppo", "gamma=0.5"], [2.0]))
    answer = compare("top", "--by", "algo", "--html", "h.html", "--picture", "p.png", "--export", "x.csv")
    assert (answer.code, "one cell for them" in answer.err) == (2, True)
    assert [path.name for path in here.iterdir()] == ["top"]


def test_steps_and_seconds_to_a_threshold(tmp_path: Path) -> None:
    """The median over runs, in which one that never gets there counts as infinite."""
    for seed, rows in enumerate(
        [curve_rows((100, 1), (200, 9)), curve_rows((100, 9), (200, 1)), curve_rows((100, 1), (200, 2))]
    ):
        make_run(tmp_path / str(seed), seed, 1.0, rows=rows)
    (row,) = cells(compare(tmp_path, "--threshold", 9)).values()
    assert row[-2:] == ["200 (2/3)", "4.0"]
    (row,) = cells(compare(tmp_path, "--threshold", 10)).values()
    assert row[-2:] == ["– (0/3)", "–"]


def test_scores_at_a_number_of_steps(tmp_path: Path) -> None:
    make_run(tmp_path / "0", 0, 7.0, rows=curve_rows((100, 1), (200, 9)))
    make_run(tmp_path / "1", 1, None, rows=curve_rows((100, 3), (160, 8)))
    make_run(tmp_path / "2", 2, None, rows=curve_rows((100, 5)))
    answer = compare(tmp_path, "--at", 150)
    (row,) = cells(answer).values()
    assert row[:2] == ["0,1", "2.000 ± 1.414"]
    assert "2: unfinished, 100 steps so far, no score" in answer.err


def test_several_environments(tmp_path: Path) -> None:
    """Normalised in each, and pooled: the rows of a stratum are its own."""
    other = {"env.id": "Pendulum-v1"}
    top = sweep(
        tmp_path,
        ({}, [], [0.0, 100.0]),
        ({**other}, ["env=Pendulum-v1"], [-300.0, -100.0]),
        (A2C, ["algo=a2c"], [50.0, 50.0]),
        ({**A2C, **other}, ["algo=a2c", "env=Pendulum-v1"], [-200.0, -200.0]),
    )
    assert len(labels(top)) == 4
    answer = compare(top, "--by", "algo", "--baseline", "algo=a2c")
    rows = cells(answer)
    assert rows["algo=ppo"][1].startswith("0.500 ± ")
    assert rows["algo=ppo"][-1].startswith("0.50 (")
    assert "scores are (x − low)/(high − low)" in answer.out
    ranged = cells(compare(top, "--by", "algo", "--range", "CartPole-v1=0:200"))
    assert ranged["algo=ppo"][1].startswith("0.375 ± ")
    apart = cells(compare(top, "--baseline", "algo=a2c"))  # each in its environment
    for env in ("CartPole-v1", "Pendulum-v1"):
        assert apart[f"algo=ppo env={env}"][-1].startswith("0.50 (")
        assert apart[f"algo=a2c env={env}"][-1] == "baseline"


def test_a_baseline_without_one_of_the_environments(tmp_path: Path) -> None:
    """Over those that both have, and a warning names the others; without any it says why there is none."""
    other = {"env.id": "Acrobot-v1"}
    top = sweep(
        tmp_path,
        ({}, ["algo=ppo"], [1.0, 3.0]),
        (other, ["algo=ppo", "env=Acrobot-v1"], [-300.0, -100.0]),
        (A2C, ["algo=a2c"], [2.0, 0.0]),
    )
    pooled = compare(top, "--by", "algo", "--baseline", "algo=a2c")
    assert cells(pooled)["algo=ppo"][-1].startswith("0.75 (")
    assert cells(pooled)["algo=a2c"][-1] == "baseline"
    alone = "over CartPole-v1 alone: algo=a2c has no run with a score on Acrobot-v1"
    assert f"warning: P(> baseline) of algo=ppo is {alone}" in pooled.out
    apart = compare(top, "--baseline", "algo=a2c")
    rows = cells(apart)
    assert rows["algo=ppo env=CartPole-v1"][-1].startswith("0.75 (")
    assert rows["algo=ppo env=Acrobot-v1"][-1] == "–"
    missing = "missing: the baseline has no run with a score on Acrobot-v1"
    assert f"warning: P(> baseline) of algo=ppo env=Acrobot-v1 is {missing}" in apart.out
    assert apart.out.count("P(> baseline) of") == 1
    wider = compare(top, "--by", "algo", "--baseline", "algo=ppo")  # the baseline has all of the group's
    assert cells(wider)["algo=a2c"][-1].startswith("0.25 (")
    assert "P(> baseline) of" not in wider.out
    assert "P(> baseline) of" not in compare(top, "--by", "algo").out


def test_a_baseline_without_a_score(tmp_path: Path) -> None:
    top = sweep(tmp_path, ({}, ["algo=ppo"], [1.0, 3.0]), (A2C, ["algo=a2c"], [None, None]))
    answer = compare(top, "--baseline", "algo=a2c")
    assert (cells(answer)["algo=ppo"][-1], cells(answer)["algo=a2c"][-1]) == ("–", "baseline")
    assert "of algo=ppo is missing: the baseline has no run with a score on CartPole-v1" in answer.out


def test_each_environment_has_its_decimals(tmp_path: Path) -> None:
    """Scores of hundreds take none of the digits of a task from 0 to 1; the page has the same cells."""
    lake = {"env.id": "FrozenLake-v1"}
    top = sweep(
        tmp_path / "runs",
        ({}, ["algo=ppo"], [487.0, 491.0]),
        (lake, ["algo=ppo", "env=FrozenLake-v1"], [0.02, 0.04]),
        ({**A2C, **lake}, ["algo=a2c", "env=FrozenLake-v1"], [0.05, 0.07]),
    )
    answer = compare(top, "--html", tmp_path / "c.html")
    rows = cells(answer)
    assert [rows[name][1] for name in rows] == ["489.0 ± 2.8", "0.060 ± 0.014", "0.030 ± 0.014"]
    assert "0.060 ± 0.014" in (tmp_path / "c.html").read_text()


def test_globs_and_folders_of_sweeps(tmp_path: Path) -> None:
    for seed, name in enumerate(("a-1/0", "a-2/0", "b/deep/er/0")):
        make_run(tmp_path / name, seed, 1.0)
    (tmp_path / "a-1" / "multirun.yaml").write_text("")
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "study.json").write_text("{}")
    assert len(read_runs([f"{tmp_path}/a-*"]).runs) == 2
    assert len(read_runs([f"{tmp_path}/**/er"]).runs) == 1
    everything = read_runs([str(tmp_path), f"{tmp_path}/a-*"])
    assert len(everything.runs) == 3  # each once
    assert everything.notes == []


MISTAKES = {
    "nowhere": "nowhere: no such directory",
    "top/00/metrics.csv": "is a file: name the run directory",
    "void": "void: no run of pgrun in it",
    "": "no run below outputs/ in this folder",
    "--picture c.png --scalars return/train top": "no run below outputs/ in this folder",
    "top --html c.html --scalars kl/old": "--scalars kl/old: no run has it; near it: kl/old_new",
    "top --scalars kl/old_new": "--scalars kl/old_new: no curves are drawn: add --html FILE or",
    "top --curve iqm --export c.npz": "--curve iqm: no curves are drawn",
    "top --top 40 --export c.csv": "--top 40: no curves are drawn",
    "top --baseline algo=trpo": "fits no group; there are: algo=ppo",
    "top --baseline gamma=0.99": "fits several groups",
    "top --baseline a2c": "say it as setting=value",
    "top --by hue": "hue: no such setting",
    "top --by seed": "seed: a group is its configuration over all its seeds",
    "top --baseline seed=0": "seed: a group is its configuration over all its seeds",
    "top --picture curves.gif": "must end in .png or .svg or .pdf",
    "top --export nowhere/scores.csv": "cannot be written",
    "top --export top/00/metrics.csv": "a run keeps its own figures there: name another file",
    "top --html top": "must end in .html",
    "top --range CartPole-v1=0:1": "--range: is for groups over several environments",
    "top --threshold high": "invalid finite value",
    "top --at 0": "argument --at",
    "top --fast": "unrecognized arguments: --fast",
    "top --tensorboard tb": "holds events already",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_mistakes(words: str, here: Path) -> None:  # noqa: F811
    sweep(here / "top", ({}, ["algo=ppo"], [1.0]), (A2C, ["algo=a2c"], [1.0]))
    (here / "void").mkdir()
    (here / "tb").mkdir()
    (here / "tb" / "events.out.tfevents.1").write_text("")
    answer = compare(*words.split())
    assert answer.code == 2
    assert MISTAKES[words] in answer.err
    said = [line for line in answer.err.splitlines() if "empty, left out" not in line]
    assert len(said) == 1
    assert answer.out == ""


def test_help_imports_nothing_heavy(here: Path) -> None:  # noqa: F811
    watch = (
        "import atexit; atexit.register(lambda: print('IMPORTED', *sys.modules))\n"
        "import pgrun.analysis.compare.cli, pgrun.cli.main; pgrun.cli.main.main = "
        "pgrun.analysis.compare.cli.main"
    )
    answer = shell("--help", python=watch)
    assert answer.code == 0
    imported = answer.out.split("IMPORTED ")[1].split()
    heavy = ("torch._C", "numpy", "gymnasium", "matplotlib", "tensorboard", "omegaconf", "hydra")
    assert [name for name in heavy if name in imported] == []


def test_a_comparison_needs_no_torch(here: Path) -> None:  # noqa: F811
    make_run(here / "r", 0, 1.0)
    watch = (
        "import atexit; atexit.register(lambda: print('IMPORTED', *sys.modules))\n"
        "import pgrun.analysis.compare.cli, pgrun.cli.main; pgrun.cli.main.main = "
        "pgrun.analysis.compare.cli.main"
    )
    imported = shell("r --html c.html", python=watch).out.split("IMPORTED ")[1].split()
    assert "numpy" in imported
    assert [name for name in ("torch._C", "gymnasium", "hydra", "matplotlib") if name in imported] == []


def test_thresholds_that_are_not_numbers() -> None:
    from pgrun.analysis.compare.table import median_over_runs

    reached = np.array([[1.0, 1.0], [3.0, 2.0], [math.inf, math.inf], [math.inf, math.inf]])
    assert median_over_runs(reached[:3]).tolist() == [3.0, 2.0]
    assert median_over_runs(reached)[0] == math.inf
