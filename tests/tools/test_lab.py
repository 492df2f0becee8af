"""The laboratory: its files are whole, what is quick comes out as stored, a change is noticed, and the book
is what the files say.
"""

from __future__ import annotations

import re
import shlex
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import pgrun.command.validate
import pgrun.tools.study.check
from pgrun.command.app import PGRUN
from pgrun.command.compose import compose_jobs
from pgrun.command.overrides import read_command
from pgrun.presentation.panels import Bar, Bars, Lines, Series
from pgrun.presentation.plotting import write_panels
from pgrun.tools.lab import check as checking
from pgrun.tools.lab import cli
from pgrun.tools.lab.catalogue import GROUPS, choose_experiments, list_experiments
from pgrun.tools.lab.commands import HERE
from pgrun.tools.lab.editions import EDITIONS
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.pages import find_stale, make_pages
from pgrun.tools.lab.run import run_experiment
from pgrun.tools.lab.tables import outcome_bars
from pgrun.tools.study.cli import STUDY
from tests.helpers.support_cli import Answer, answer
from tests.helpers.support_compose import compose_options
from tests.helpers.support_slow import slow_but

ROOT = Path(__file__).parents[2]
BOOK = ROOT / "docs" / "lab"
EVERY = list_experiments()
each = pytest.mark.parametrize("experiment", EVERY, ids=lambda e: e.name)
CHECKS = {
    "pgrun": (PGRUN, pgrun.command.validate.find_problems),
    "pgrun-study": (STUDY, pgrun.tools.study.check.find_study_problems),
}


@pytest.fixture(autouse=True)
def _automatic_differentiation() -> Iterator[None]:
    """Training and studies turn it off."""
    on = torch.is_grad_enabled()
    yield
    torch.set_grad_enabled(on)


def lab(line: str) -> Answer:
    return answer(cli.main, "pgrun-lab", *shlex.split(line))


def test_names_tell_experiments_and_groups_apart() -> None:
    names = [e.name for e in EVERY]
    assert len({*names, *(g.name for g in GROUPS)}) == len(names) + len(GROUPS)
    assert {e.group for e in EVERY} <= {g.name for g in GROUPS}
    files = {path.stem for path in (ROOT / "pgrun/tools/lab/experiments").glob("*.py")} - {"__init__"}
    assert files == set(names)


@each
def test_an_experiment_is_whole(experiment: Experiment) -> None:
    assert "\n" not in experiment.claim
    of_documents = bool(re.match(r"[ABC] L\d", experiment.place))
    assert of_documents or re.match(r"[A-Z]\w+ (et al. |& \w+ )?\d{4}", experiment.place)
    assert of_documents == bool(re.search("[\u4e00-\u9fff]", experiment.chinese)), "in their own words"
    assert of_documents == bool(experiment.english), "and in English"
    assert not re.search("[\u4e00-\u9fff]", experiment.english + experiment.source)
    assert experiment.expected
    assert experiment.formula
    assert experiment.shows
    assert experiment.next


@each
def test_its_commands_pass_the_check(experiment: Experiment) -> None:
    """Every job of a sweep; what an earlier command leaves is not there to be checked."""
    for line in experiment.commands:
        name, *words = shlex.split(line)
        words = [word for word in words if HERE not in word or word.startswith("hydra.run.dir=")]
        app, check = CHECKS[name]
        command = read_command(words, app)
        assert command.problems == []
        jobs = list(compose_options(command, app))
        assert jobs
        for job in jobs:
            assert list(check(job)) == [], job.words


def test_values_put_in_are_those_that_are_composed() -> None:
    line = "-m algo=ppo,a2c algo.entropy=0,0.1 optimizer.lr=1e-3,1e-2 env=pgrun/RandomWalk-v0 seed=0,1"
    command = read_command(line.split(), PGRUN)
    jobs = list(compose_options(command, PGRUN))
    assert len({id(job.hydra) for job in jobs}) == 2
    composed = [job for job in compose_jobs(command).composed if job.settings["seed"] == 1]
    assert [job.settings for job in jobs] == [job.settings for job in composed]


# of each group at least one more takes less time
LONGER = (
    *("pathwise", "jumping", "per_step_offset", "expected_score", "best_constant", "baseline", "shrinkage"),
    *("n_steps", "past_only", "kl_half", "causality", "q_weights", "group_sigma", "recursive_momentum"),
)
QUICK = [e for e in EVERY if e.fast and e.name not in LONGER]


@pytest.mark.parametrize("experiment", slow_but(QUICK, [e for e in EVERY if e.fast]), ids=lambda e: e.name)
def test_it_comes_out_as_expected(experiment: Experiment, tmp_path: Path) -> None:
    result = run_experiment(experiment, tmp_path)
    assert result["changes"] == []
    ElementTree.parse(tmp_path / "picture.svg")
    assert (tmp_path / "table.txt").read_text().splitlines()[0].split()


def test_claims_that_are_false_are_refuted() -> None:
    """The negative controls."""
    wanted = ("conserved", "mismatch", "normalised_gae", "residual_gradient", "past_only", "per_step_offset")
    assert {e.verdict for e in choose_experiments(wanted)} == {Verdict.REFUTED}
    assert len(choose_experiments(wanted)) == len(wanted)


def test_expected_values() -> None:
    assert Expected(1.0).admits(Measured(1.39, 0.1))
    assert not Expected(1.0).admits(Measured(1.41, 0.1))
    assert Expected(1.0, slack=0.1).admits(Measured(1.09))
    assert not Expected(1.0).admits(Measured(1.0 + 1e-9)), "without an error or slack it is exact"
    assert Expected(low=2.0, high=3.0).admits(Measured(2.0))
    assert not Expected(low=2.0).admits(Measured(1.9, 10.0)), "a bound has no error"
    assert not Expected(1.0).admits(Measured(float("nan"), 0.1))


def finding(value: float, verdict: Verdict = Verdict.SUPPORTED) -> Finding:
    panel = Lines("t", "x", (Series("<s>", (1, 10), (0.0, value)),), log_x=True)
    return Finding({"v": Measured(value, 0.1)}, [("a", "b"), ("1", "2")], (panel,), verdict, "so it is.")


def made(read) -> Experiment:
    return replace(
        EVERY[0],
        name="made",
        commands=(),
        read=read,
        expected={"v": Expected(1.0)},
        verdict=Verdict.SUPPORTED,
    )


@pytest.mark.parametrize(
    ("value", "verdict", "said"),
    [
        (1.0, Verdict.SUPPORTED, []),
        (2.0, Verdict.SUPPORTED, ["v: 2 ± 0.1, and it must be 1"]),
        (1.0, Verdict.REFUTED, ["the verdict is refuted, and what must come out is: supported"]),
    ],
)
def test_what_changed_is_said(value: float, verdict: Verdict, said: list[str], tmp_path: Path) -> None:
    result = run_experiment(made(lambda _: finding(value, verdict)), tmp_path)
    assert result["changes"] == said
    assert result["sentence"] == f"{verdict.capitalize()}: so it is."


def test_outcomes_and_expectations_must_be_the_same() -> None:
    other = replace(made(lambda _: finding(1.0)), expected={"w": Expected(1.0)})
    assert other.changes(finding(1.0)) == ["w: not measured", "v: nothing is expected of it"]


def broken(_) -> Finding:
    raise ZeroDivisionError("no rows")


def test_the_check_names_what_changed_and_goes_on(tmp_path: Path, monkeypatch, capsys) -> None:
    several = {
        "made": made(lambda _: finding(3.0)),
        "broken": replace(made(broken), name="broken"),
        "good": replace(made(lambda _: finding(1.0)), name="good"),
    }
    monkeypatch.setattr(checking, "choose_experiments", lambda names: [several[names[0]]])
    assert checking.check_experiments(list(several.values()), tmp_path, 1) == 2
    said = capsys.readouterr().out
    assert re.search("CHANGED +made.*\n.*v: 3 ± 0.1, and it must be 1", said)
    assert re.search("CHANGED +broken.*\n.*it broke: ZeroDivisionError: no rows", said)
    assert re.search("as expected +good", said)
    assert "3 experiments" in said
    assert "2 changed" in said
    assert "ZeroDivisionError" in (tmp_path / "broken" / "error.txt").read_text()


def test_the_exit_code_of_a_check(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert lab("residual_gradient dynamics_cancel --check --jobs 2").code == 0
    wrong = replace(choose_experiments(["residual_gradient"])[0], verdict=Verdict.SUPPORTED)
    monkeypatch.setattr("pgrun.tools.lab.check.choose_experiments", lambda names: [wrong])
    actual = lab("residual_gradient --check")
    assert actual.code == 1
    assert "what must come out is: supported" in actual.out


def test_the_list_and_one_experiment(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    listed = lab("")
    assert listed.code == 0
    assert all(e.claim in listed.out for e in EVERY)
    assert not (tmp_path / "outputs").exists()
    one = lab("residual_gradient")
    assert one.code == 0
    for part in ("φ ← φ − β", "Refuted: ", "Try next: ", "picture.svg"):
        assert part in one.out
    (folder,) = (tmp_path / "outputs" / "lab").glob("*/*/residual_gradient")
    assert {path.name for path in folder.iterdir()} == {"result.json", "table.txt", "picture.svg"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("basline", "basline: there is no such experiment; nearest: baseline"),
        ("--jobs 0", "argument --jobs: 0: must be an integer in [1, 1024]"),
        ("--slow", "unrecognized arguments: --slow: pgrun-lab --help says more"),
        ("large_numbers --fast", "none of these takes seconds only: leave --fast out"),
        ("--check --docs pages", "--check or --docs: one of them"),
        ("residual_gradient --jobs 2", "--jobs 2: is the number of processes of --check: add --check, or"),
        (
            "residual_gradient --docs pages --jobs 2",
            "--jobs 2: is the number of processes of --check: leave it",
        ),
        ("residual_gradient --check --lang zh", "--lang zh: --check prints English alone: leave it out"),
        ("residual_gradient --docs pages --lang zh", "--lang zh: --docs writes the pages in both languages"),
        ("--out there", "--out: nothing runs without a NAME: add one, or leave --out out"),
        ("--docs pages --fast --out there", "--fast and --out: nothing runs without a NAME"),
    ],
)
def test_mistakes_are_refused(line: str, said: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    actual = lab(line)
    assert actual.code == 2
    assert said in actual.err
    assert not list(tmp_path.iterdir())


def test_output_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    actual = lab(f"residual_gradient --out {tmp_path}/file/below")
    assert actual.code == 2
    assert "cannot be written" in actual.err


@pytest.mark.parametrize("more", ["", "--check", "--docs {}/pages", "cloning"])
def test_earlier_results_are_not_overwritten(more: str, tmp_path: Path) -> None:
    """Of several experiments none is run, whichever of them is there."""
    home = tmp_path / "there" / "residual_gradient"
    home.mkdir(parents=True)
    line = f"{more.format(tmp_path)} residual_gradient --out {tmp_path}/there"
    (home / "result.json").write_text("mine")
    actual = lab(line)
    assert (actual.code, actual.out) == (2, "")
    assert f"{home}: holds results already: choose another --out, or remove it" in actual.err
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [home / "result.json"]
    assert (home / "result.json").read_text() == "mine"


def test_an_empty_folder_may_be_used(tmp_path: Path) -> None:
    (tmp_path / "residual_gradient").mkdir()
    assert lab(f"residual_gradient --out {tmp_path}").code == 0
    assert (tmp_path / "residual_gradient" / "result.json").exists()


def test_bars_of_outcomes_have_95_percent_intervals() -> None:
    """As everything drawn with a standard error; the book says so."""
    bars = outcome_bars("t", "x", {"v": Measured(2.0, 0.1)}, {"v": Expected(1.0)}, ["v"]).bars
    assert bars[0].interval == pytest.approx((2.0 - 0.196, 2.0 + 0.196))
    assert bars[0].exact == 1.0
    assert all("95 %" in edition.introduction for edition in EDITIONS.values())


def test_pictures_are_xml_whatever_is_in_them(tmp_path: Path) -> None:
    panels = (
        Lines(
            "a < b & c",
            "x",
            (Series("", (0, 1), (1, float("nan"))), Series("s", (1,), (2,), (0.5,), points=True)),
            log_y=True,
        ),
        Bars("b", "y", [Bar("none", 0.0), Bar("some", 2.0, 0.1, exact=1.9)], log=True),
        Bars("b", "y", [Bar("negative", -1.0)]),
    )
    write_panels(panels, "<title>", tmp_path / "p.svg")
    root = ElementTree.parse(tmp_path / "p.svg").getroot()
    assert root.find("{http://www.w3.org/2000/svg}title").text == "<title>"  # type: ignore[union-attr]
    text = "".join(root.itertext())
    assert "a < b & c" in text
    assert "nan" not in ElementTree.tostring(root, encoding="unicode")


def test_the_book_is_what_the_files_say() -> None:
    written = {path.relative_to(BOOK).as_posix(): path.read_text() for path in BOOK.rglob("*.md")}
    assert written == make_pages(BOOK), "pgrun-lab --docs docs/lab writes it anew"


def test_every_experiment_is_in_the_book_as_it_is_now() -> None:
    assert find_stale(BOOK) == []
    text = (BOOK / "README.md").read_text()
    for e in EVERY:
        assert f"({e.group}.md#{e.name})" in text
        ElementTree.parse(BOOK / "figures" / f"{e.name}.svg")


def test_experiments_that_are_mentioned_exist() -> None:
    known = {e.name for e in EVERY} | {g.name for g in GROUPS}
    texts = [path.read_text() for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]]
    texts += [text for e in EVERY for text in (e.shows, e.next)]
    mentioned = {name for text in texts for name in re.findall(r"`?pgrun-lab ([a-z_]+)", text)}
    assert mentioned - known == set()
