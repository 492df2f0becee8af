"""Curves of pgrun-compare: one grid for all seeds, and the page, pictures, exports
and TensorBoard runs made of them.
"""

from __future__ import annotations

import csv
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pgrun.analysis.compare.curves import make_panels, sample_on_grid
from pgrun.analysis.compare.groups import group_runs, shorten_numbers
from pgrun.analysis.compare.html import lay_out_settings
from pgrun.analysis.compare.provenance import find_commands
from pgrun.analysis.compare.read_runs import read_runs
from pgrun.analysis.compare.statistics import mean
from tests.helpers.fixtures_cli import here, sweep_pages  # noqa: F401
from tests.helpers.support_cli import QUICK, pgrun
from tests.helpers.support_compare import compare, make_run

TAG = "return/train"


def rows(*pairs: tuple[int, float], tag: str = TAG) -> list[dict]:
    return [{"env_steps": steps, tag: value} for steps, value in pairs]


def test_values_on_the_line_between_rows(tmp_path: Path) -> None:
    """By hand: a blank is passed over, nothing stands before the first, an unfinished run ends."""
    done = rows((10, 1), (20, 2), (40, 4))
    done.insert(2, {"env_steps": 30})
    make_run(tmp_path / "0", 0, 1.0, rows=done)
    make_run(tmp_path / "1", 1, None, rows=rows((15, 7), (35, 9)))
    runs = read_runs([str(tmp_path)], [TAG]).runs
    grid = np.array([5, 10, 19, 20, 30, 35, 39, 40, 50])
    actual = sample_on_grid(runs, TAG, grid)
    nan = np.nan
    np.testing.assert_allclose(actual[:, 0], [nan, 1, 1.9, 2, 3, 3.5, 3.9, 4, 4])
    np.testing.assert_allclose(actual[:, 1], [nan, nan, 7.4, 7.5, 8.5, 9, nan, nan, nan])


def test_a_curve_of_few_rows_has_no_stairs(tmp_path: Path) -> None:
    """Ten evaluations at other steps in each seed: the curve never stands still where all returns rise."""
    for seed in range(3):
        make_run(tmp_path / f"{seed}", seed, 1.0, rows=rows(*((97 * i + 7 * seed, i) for i in range(1, 11))))
    ((panel,),) = make_panels(group_runs(read_runs([str(tmp_path)], [TAG]).runs), [TAG], mean)
    (curve,) = panel.curves
    rising = curve.steps < 970
    assert (np.diff(curve.middle[rising]) > 0).all()


def test_a_curve_is_drawn_where_half_of_the_seeds_have_a_value(tmp_path: Path) -> None:
    make_run(tmp_path / "0", 0, 1.0, rows=rows((50, 1), (100, 3)))
    make_run(tmp_path / "1", 1, None, rows=rows((25, 5), (60, 7)))
    make_run(tmp_path / "2", 2, None, rows=rows((75, 0), (80, 9)))
    groups = group_runs(read_runs([str(tmp_path)], [TAG]).runs)
    ((panel,),) = make_panels(groups, [TAG], mean)
    (curve,) = panel.curves
    assert curve.steps[0] == 50  # the second of three begins
    assert curve.steps[-1] == 80  # two of three are left
    at = dict(zip(curve.steps.tolist(), curve.middle.tolist(), strict=True))
    assert (at[50], at[75]) == (pytest.approx((1 + 5 + 2 * 25 / 35) / 2), 1.0)  # the first at 75 is at 2
    assert at[80] == pytest.approx((2.2 + 9) / 2)
    low, high = (dict(zip(curve.steps.tolist(), x.tolist(), strict=True)) for x in (curve.low, curve.high))
    assert (low[50], high[50]) == (1.0, pytest.approx(5 + 2 * 25 / 35))  # from one seed to the other


class Page(HTMLParser):
    """Tags that are opened and closed, and whatever would need a network."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.foreign: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "path", "rect"):
            self.open.append(tag)
        self.foreign += [f"{k}={v}" for k, v in attrs if k in ("src", "href", "onload", "onclick")]
        self.foreign += [tag] if tag in ("script", "link", "iframe", "img") else []

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("path", "rect"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_is_whole_and_needs_nothing(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    for seed in range(3):
        make_run(tmp_path / f"{seed}", seed, seed, rows=rows((10, 1), (20, seed)))
        make_run(
            tmp_path / f"x{seed}",
            seed,
            9,
            {"env.kwargs.x": evil},
            [f"env.kwargs.x={evil}"],
            rows((10, 5), (30, 9)),
        )
    answer = compare(tmp_path, "--html", tmp_path / "c.html")
    assert answer.code == 0, answer.err
    source = (tmp_path / "c.html").read_text()
    page = Page()
    page.feed(source)
    assert page.open == []
    assert page.foreign == []
    assert re.findall(r"url\([^#]|@import|https?://", source.replace("http://www.w3.org/2000/svg", "")) == []
    assert any(evil in text for text in page.text)  # shown, not run
    assert "fewer than five seeds" in source
    assert source.count('class="swatch"') == 2  # a line for each group
    assert source.count("<svg viewBox") == 1  # one chart: no kl, no gradient in these runs
    assert "prefers-color-scheme:dark" in source
    assert not set(re.findall(r"#[0-9a-f]{6}", source.partition("<body>")[2])), "colours are the page's"
    assert len(source) < 100_000


def test_coordinates_are_those_of_the_values(tmp_path: Path) -> None:
    """A line from the first grid point to the last, and what it says under the mouse: read off the page."""
    for seed in range(2):
        pairs = ((10 * i, i * i / 100) for i in range(1, 101))
        make_run(tmp_path / f"{seed}", seed, 1.0, rows=rows(*pairs))
    compare(tmp_path, "--html", tmp_path / "c.html", "--scalars", TAG)
    source = (tmp_path / "c.html").read_text()
    labels = re.findall(r'text-anchor: end[^>]*x="[\d.]+" y="([\d.]+)"[^>]*>([\d.]+)</text>', source)
    line = re.search(r'<path d="([^"]*)"[^>]*stroke: var\(--c0\); stroke-width: 1.8', source)[1]
    y, value = np.array(labels, float).T
    xy = np.array(re.findall(r"([\d.]+) ([\d.]+)", line), float)
    shift = 3.42  # from a label's foot to its middle, in points of a font of 9
    read = np.polyval(np.polyfit(y - shift, value, 1), xy[:, 1])
    assert (read[0], read[-1]) == (pytest.approx(0.02, abs=0.5), pytest.approx(100, abs=0.5))
    told = re.findall(r"<title>([\d.]+k?) steps\n[^:]*: ([\d.]+) \(", source)
    assert len(told) == 50
    expected = [float(steps) ** 2 / 1e4 for steps, _ in told]
    assert [float(v) for _, v in told] == pytest.approx(expected, abs=1.0)  # of the point beside it


def test_exports(tmp_path: Path) -> None:
    for seed in (0, 3):
        make_run(tmp_path / f"a{seed}", seed, 10.0 + seed, {"gamma": 0.5}, rows=rows((10, 1), (20, 2)))
    make_run(tmp_path / "b", 1, 4.5, rows=rows((10, 1)))
    assert compare(tmp_path, "--export", tmp_path / "m.csv").code == 0
    assert list(csv.reader((tmp_path / "m.csv").open())) == [
        ["configuration", "env", "seed 0", "seed 1", "seed 3"],
        ["gamma=0.5", "CartPole-v1", "10.0", "", "13.0"],
        ["gamma=0.99", "CartPole-v1", "", "4.5", ""],
    ]
    assert compare(tmp_path, "--export", tmp_path / "m.npz", "--scalars", TAG).code == 0
    with np.load(tmp_path / "m.npz", allow_pickle=False) as actual:
        np.testing.assert_array_equal(actual["scores"], [[10, np.nan, 13], [np.nan, 4.5, np.nan]])
        assert actual["configurations"].tolist() == ["gamma=0.5", "gamma=0.99"]
        assert actual["seeds"].tolist() == [0, 1, 3]
        assert actual["curve CartPole-v1 return/train gamma=0.5"][1, -1] == 2


def test_tensorboard_runs(tmp_path: Path) -> None:
    for seed in range(3):
        make_run(tmp_path / "runs" / f"{seed}", seed, 1.0, rows=rows((100, seed), (200, 10 * seed)))
    assert compare(tmp_path / "runs", "--tensorboard", tmp_path / "tb", "--scalars", TAG).code == 0
    collected = {}
    for name in ("mean", "low", "high"):
        (folder,) = (tmp_path / "tb").glob(f"*/{name}")
        events = EventAccumulator(str(folder)).Reload()
        collected[name] = {event.step: event.value for event in events.Scalars(TAG)}
    assert (collected["mean"][100], collected["mean"][200]) == (1, 10)
    assert (collected["low"][200], collected["high"][200]) == (0, 20)
    assert "holds events already" in compare(tmp_path / "runs", "--tensorboard", tmp_path / "tb").err


def test_names_of_tensorboard_folders_are_bounded_in_bytes(tmp_path: Path) -> None:
    """A file system counts bytes, of which a character may have four; none is split."""
    for seed, env in ((0, "长" * 130), (1, "x𝕏" * 100)):
        changes = {"env.id": env, "env.kwargs.note": "é" + "长" * 130}
        make_run(tmp_path / "runs" / f"{seed}", seed, 1.0, changes, rows=rows((10, 1), (20, 2)))
    make_run(tmp_path / "runs" / "2", 2, 1.0, rows=rows((10, 1), (20, 2)))
    answer = compare(tmp_path / "runs", "--tensorboard", tmp_path / "tb", "--scalars", TAG)
    assert answer.code == 0, answer.err
    names = {path.name for path in (tmp_path / "tb").rglob("*") if path.is_dir()}
    assert max(len(os.fsencode(name)) for name in names) <= 140
    assert any(name == "长" * 40 for name in names)
    assert all("�" not in name for name in names)


@pytest.mark.parametrize("name", ["长" * 83 + ".csv", "x" * 251 + ".npz", "é" * 125 + ".html"])
def test_a_file_may_have_the_longest_name_there_is(name: str, tmp_path: Path) -> None:
    """It is written beside its place first, under a name that is no longer than that."""
    make_run(tmp_path / "runs", 0, 1.0, rows=rows((10, 1), (20, 2)))
    answer = compare(tmp_path / "runs", "--html" if name.endswith("html") else "--export", tmp_path / name)
    assert answer.code == 0, answer.err
    assert {path.name for path in tmp_path.iterdir()} == {"runs", name}


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_pictures_are_the_same_bytes_twice(ending: str, tmp_path: Path) -> None:
    for seed in range(2):
        make_run(tmp_path / f"{seed}", seed, 1.0, rows=rows((100, seed), (200, 10 * seed)))
    collected = []
    for name in "ab":
        path = tmp_path / f"{name}.{ending}"
        assert compare(tmp_path, "--picture", path, "--scalars", TAG, "kl/old_new").code == 0
        collected.append(path.read_bytes())
    start = {"png": b"\x89PNG", "svg": b"<svg", "pdf": b"%PDF"}[ending]
    assert collected[0].startswith(start)
    assert collected[0] == collected[1]
    if ending == "svg":
        assert "return/train" in path.read_text()  # text stays text


def test_the_page_says_where_its_runs_come_from(tmp_path: Path) -> None:
    """The command of a whole sweep, versions, the day the runs were written; the same page a second time."""
    for number, (lr, seed) in enumerate((lr, seed) for lr in (0.1, 0.2) for seed in (0, 1)):
        folder = make_run(tmp_path / str(number), seed, 1.0, {"optimizer.lr": lr}, [f"optimizer.lr={lr}"])
        summary = {"status": "finished", "eval": {"return_mean": 1.0}, "versions": {"torch": "<2.9>"}}
        (folder / "summary.json").write_text(json.dumps(summary))
        os.utime(folder / "summary.json", (1e9, 1e9))
    pages = []
    for name in "ab":
        assert compare(tmp_path, "--html", tmp_path / f"{name}.html").code == 0
        pages.append((tmp_path / f"{name}.html").read_text())
    assert pages[0] == pages[1]
    text = " ".join(" ".join(re.split(r"<[^>]*>", pages[0])).split())
    assert "command pgrun -m optimizer.lr=0.1,0.2 seed=0,1" in text
    assert "versions torch &lt;2.9&gt;" in text
    assert "4, written 2001-09-09 01:46 UTC" in text
    assert "optimizer.lr compared, 2 configurations, 4 runs" in text
    assert pages[0].index("Settings that differ") < pages[0].index("Scores")


def test_commands_of_runs_that_are_no_whole_sweep(tmp_path: Path) -> None:
    for number, word in enumerate(("gamma=0.5", "optimizer.lr=0.1", "gamma=0.5")):
        make_run(tmp_path / str(number), number % 2, 1.0, {word.split("=")[0]: 0.1 * number}, [word])
    commands = find_commands(read_runs([str(tmp_path)]).runs)
    assert commands == ["pgrun gamma=0.5 seed=0", "pgrun optimizer.lr=0.1 seed=1"]


def test_trials_of_a_search_are_one_command_with_short_numbers(tmp_path: Path) -> None:
    """A number has four digits where they tell it apart; the settings of many stand in columns."""
    for number, (lr, lam) in enumerate(((0.123456789, 0.9), (0.00345678912, 0.95))):
        settings = {"optimizer.lr": lr, "variance.lam": lam}
        make_run(tmp_path / str(number), 0, 1.0, settings, [f"{key}={x}" for key, x in settings.items()])
    runs = read_runs([str(tmp_path)]).runs
    assert find_commands(runs) == [
        "pgrun optimizer.lr=… variance.lam=… seed=0   (2 commands; … as in the table)"
    ]
    labels = [group.label for group in group_runs(runs)]
    assert labels == ["variance.lam=0.9 optimizer.lr=0.1235", "variance.lam=0.95 optimizer.lr=0.003457"]
    assert shorten_numbers(["a=0.123451", "a=0.123452"]) == ["a=0.123451", "a=0.123452"]
    assert lay_out_settings(["a", "b"], [["gamma", "0.9", "1"]])[0] == ["setting", "a", "b"]
    turned = lay_out_settings(list("abcde"), [["gamma", *"12345"]])
    assert turned[:2] == [["configuration", "gamma"], ["a", "1"]]


def test_a_sweep_leaves_a_page(here: Path, sweep_pages: None) -> None:  # noqa: F811
    answer = pgrun(f"-m algo=reinforce,a2c seed=0,1 hydra.sweep.dir=s {QUICK}")
    assert answer.code == 0, answer.err
    assert "curves over seeds: s/compare.html" in answer.out
    assert answer.out.count("95 % of IQM") == 1
    assert "warning: fewer than five seeds: algo=" in answer.out
    page = (here / "s" / "compare.html").read_text()
    assert "algo=reinforce" in page
    table = {name: cells for name, *cells in (re.split(r"\s{2,}", x) for x in answer.out.splitlines())}
    again = compare("s")
    for name in ("algo=reinforce", "algo=a2c"):
        assert [name, *table[name]] in [re.split(r"\s{2,}", line) for line in again.out.splitlines()]
