"""Curves of pgrun-compare: one grid for all seeds, and the page, pictures, exports
and TensorBoard runs made of them.
"""

from __future__ import annotations

import csv
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pgrun.analysis.compare.axes import choose_log_ticks, choose_ticks, format_tick
from pgrun.analysis.compare.curves import make_panels, sample_on_grid
from pgrun.analysis.compare.groups import group_runs
from pgrun.analysis.compare.read_runs import read_runs
from pgrun.analysis.compare.statistics import mean
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import QUICK, pgrun
from tests.helpers.support_compare import compare, make_run

TAG = "return/train"


def rows(*pairs: tuple[int, float], tag: str = TAG) -> list[dict]:
    return [{"env_steps": steps, tag: value} for steps, value in pairs]


def test_last_value_at_or_before(tmp_path: Path) -> None:
    """By hand: a blank keeps the value before it, nothing stands before the first, an unfinished run ends."""
    done = rows((10, 1), (20, 2), (40, 4))
    done.insert(2, {"env_steps": 30})
    make_run(tmp_path / "0", 0, 1.0, rows=done)
    make_run(tmp_path / "1", 1, None, rows=rows((15, 7), (35, 9)))
    runs = read_runs([str(tmp_path)], [TAG]).runs
    grid = np.array([5, 10, 19, 20, 30, 35, 39, 40, 50])
    found = sample_on_grid(runs, TAG, grid)
    nan = np.nan
    np.testing.assert_array_equal(found[:, 0], [nan, 1, 1, 2, 2, 2, 2, 4, 4])
    np.testing.assert_array_equal(found[:, 1], [nan, nan, 7, 7, 7, 9, nan, nan, nan])


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
    assert (at[50], at[75], at[80]) == (3.0, 0.5, 5.0)
    low, high = (dict(zip(curve.steps.tolist(), x.tolist(), strict=True)) for x in (curve.low, curve.high))
    assert (low[50], high[50]) == (1.0, 5.0)  # of two seeds the interval reaches from one to the other


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
    assert source.count('stroke-width="2"') == 2  # a line for each group; no kl, no gradient in these runs
    assert len(source) < 100_000


def test_coordinates_are_those_of_the_values(tmp_path: Path) -> None:
    """A straight line from the first grid point to the last: read off the page again."""
    for seed in range(2):
        pairs = ((10 * i, float(i)) for i in range(1, 101))
        make_run(tmp_path / f"{seed}", seed, 1.0, rows=rows(*pairs))
    compare(tmp_path, "--html", tmp_path / "c.html", "--scalars", TAG)
    source = (tmp_path / "c.html").read_text()
    path = re.search(r'<path d="M([^"]*)" fill="none"', source)[1]
    xy = np.array([point.split() for point in path.split("L")], float)
    labels = re.findall(r'<text x="[\d.]+" y="([\d.]+)" text-anchor="end">([\d.]+)</text>', source)
    y, value = np.array(labels, float).T
    scale = np.polyfit(y - 4, value, 1)
    read = np.polyval(scale, xy[:, 1])
    expected = np.floor(np.linspace(0, 1000, 201)[2:] / 10)  # last row at or before
    assert read == pytest.approx(expected, abs=0.1)  # pixels are written to a tenth, which is 0.05 here


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
    with np.load(tmp_path / "m.npz", allow_pickle=False) as found:
        np.testing.assert_array_equal(found["scores"], [[10, np.nan, 13], [np.nan, 4.5, np.nan]])
        assert found["configurations"].tolist() == ["gamma=0.5", "gamma=0.99"]
        assert found["seeds"].tolist() == [0, 1, 3]
        assert found["curve CartPole-v1 return/train gamma=0.5"][1, -1] == 2


def test_tensorboard_runs(tmp_path: Path) -> None:
    for seed in range(3):
        make_run(tmp_path / "runs" / f"{seed}", seed, 1.0, rows=rows((100, seed), (200, 10 * seed)))
    assert compare(tmp_path / "runs", "--tensorboard", tmp_path / "tb", "--scalars", TAG).code == 0
    found = {}
    for name in ("mean", "low", "high"):
        (folder,) = (tmp_path / "tb").glob(f"*/{name}")
        events = EventAccumulator(str(folder)).Reload()
        found[name] = {event.step: event.value for event in events.Scalars(TAG)}
    assert (found["mean"][100], found["mean"][200]) == (1, 10)
    assert (found["low"][200], found["high"][200]) == (0, 20)
    assert "holds events already" in compare(tmp_path / "runs", "--tensorboard", tmp_path / "tb").err


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_pictures(ending: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for seed in range(2):
        make_run(tmp_path / f"{seed}", seed, 1.0, rows=rows((100, seed), (200, 10 * seed)))
    path = tmp_path / f"c.{ending}"
    assert compare(tmp_path, "--picture", path, "--scalars", TAG, "kl/old_new").code == 0
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[ending]
    assert path.read_bytes().startswith(start)
    if ending == "svg":
        assert "return/train" in path.read_text()  # text stays text


def test_pictures_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgrun.analysis.compare.cli.find_spec", lambda name: None)
    answer = compare(tmp_path, "--picture", tmp_path / "c.png")
    assert answer.code == 2
    assert 'pip install "pgrun[plot]"; --html needs nothing' in answer.err


def test_a_sweep_leaves_a_page(here: Path) -> None:  # noqa: F811
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


def test_ticks() -> None:
    assert choose_ticks(0, 44_000) == [0, 10_000, 20_000, 30_000, 40_000]
    assert choose_ticks(-1.3, 0.4) == pytest.approx([-1, -0.5, 0])
    assert choose_log_ticks(-3.1, 2.8) == [-3, -2, -1, 0, 1, 2]
    assert [format_tick(x) for x in (0, 20_000, 1.5e6, 0.05, 1e-4, -250)] == [
        "0",
        "20k",
        "1.5M",
        "0.05",
        "1e-4",
        "-250",
    ]
