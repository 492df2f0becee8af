"""The drawer: colours that can be told apart, labels as they are, the same bytes, and nothing early."""

from __future__ import annotations

import ast
import itertools
import re
from pathlib import Path

import numpy as np
import pytest

from pgrun.presentation.panels import Bar, Bars, Lines, Panel, Series
from pgrun.presentation.plotting import draw_panel, format_tick, open_figure, write_panels
from pgrun.presentation.styles import COLOURS, DARK, DASHES, MARKERS, choose_style
from pgrun.presentation.tables import align_columns, find_number_columns, format_markdown_table

ROOT = Path(__file__).parents[2]
# Machado, Oliveira and Fernandes 2009, the whole deficiency: linear RGB as it is seen.
SEEN = {
    "by most": np.eye(3),
    "protan": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deutan": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
LEAST = 12.0  # ΔE*ab; 2.3 is just noticeable


def lab_of(colour: str, seen: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of a colour as it is seen."""
    srgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    x, y, z = np.cbrt(TO_XYZ @ np.clip(seen @ linear, 1e-6, 1) / [0.9505, 1.0, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def least_difference(colours: tuple[str, ...], seen: np.ndarray) -> float:
    places = [lab_of(colour, seen) for colour in colours]
    return min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(places, 2))


@pytest.mark.parametrize("kind", SEEN)
@pytest.mark.parametrize("colours", [COLOURS, DARK], ids=["light", "dark"])
def test_colours_can_be_told_apart(colours: tuple[str, ...], kind: str) -> None:
    assert least_difference(colours, SEEN[kind]) > LEAST


def test_colours_that_cannot_are_noticed() -> None:
    red_and_green = ("#a75400", "#6f6f00")
    assert least_difference(red_and_green, SEEN["by most"]) > 3 * LEAST
    assert least_difference(red_and_green, SEEN["deutan"]) < LEAST


def test_no_two_groups_look_alike() -> None:
    looks = [choose_style(number) for number in range(len(COLOURS) * len(DASHES))]
    assert len({(marker, dashes) for _, marker, dashes in looks}) == len(looks), "in print without colour"
    assert len(set(looks)) == len(looks)
    assert len(set(MARKERS)) == len(MARKERS) == len(COLOURS)
    assert all(a[0] != b[0] for a, b in itertools.pairwise(looks))


PANELS: dict[str, tuple[Panel, ...]] = {
    "lines": (
        Lines(
            "$a_1$ & <b>",
            "x",
            [Series("c $\\frac", (1, 10, 100), (1, 0.5, float("nan")), se=(0.1, 0.1, 0.1))],
            log_x=True,
            log_y=True,
        ),
    ),
    "bars": (
        Bars(
            "t",
            "x",
            [Bar("none", 0.0), Bar("some", 2.0, exact=1.9, ends=(1.5, 3.0)), Bar("less", 0.2, 0.3)],
            log=True,
        ),
    ),
    "two": (Bars("t", "x", [Bar("negative", -1.0, 0.2)]), Lines("e", "x", [Series("", (), ())])),
}


def drawn(panels: tuple[Panel, ...], path: Path) -> str:
    write_panels(panels, "title", path)
    return path.read_text()


@pytest.mark.parametrize("name", PANELS)
def test_the_same_panels_are_the_same_bytes(name: str, tmp_path: Path) -> None:
    """And no user's own style, date or version is in them."""
    import matplotlib as mpl

    text = drawn(PANELS[name], tmp_path / "a.svg")
    with mpl.rc_context({"lines.linewidth": 9, "font.size": 30, "axes.facecolor": "red"}):
        assert drawn(PANELS[name], tmp_path / "b.svg") == text
    assert not re.search(r"nan|Matplotlib v|20\d\d-\d\d-", text)


@pytest.mark.parametrize(
    "panel", [Lines("t", "x", [Series("", (5,), (2.0,), (0.1,))]), Bars("t", "x", [Bar("", 2.0, 0.1)])]
)
def test_a_standard_error_is_drawn_as_a_95_percent_interval(panel: Panel) -> None:
    with open_figure(4, 3) as figure:
        axis = figure.add_subplot()
        draw_panel(axis, panel)
        (segment,) = (lines.get_segments()[0] for lines in axis.collections)
    along = 1 if isinstance(panel, Lines) else 0
    assert segment[:, along].tolist() == pytest.approx([2 - 0.196, 2 + 0.196])


def test_labels_stand_as_they_are(tmp_path: Path) -> None:
    """No formula is made of them."""
    text = drawn(PANELS["lines"], tmp_path / "a.svg")
    assert ">$a_1$ &amp; &lt;b&gt;</text>" in text
    assert ">c $\\frac</text>" in text
    small = Lines("t", "x", [Series("", (1, 2), (0.001, 0.1))], log_y=True)
    assert ">0.001</text>" in drawn((small,), tmp_path / "b.svg")


def test_values_without_a_place_on_a_logarithmic_axis_keep_their_row(tmp_path: Path) -> None:
    text = drawn(PANELS["bars"], tmp_path / "a.svg")
    assert all(f">{label}</text>" in text for label in ("none", "some", "less", "exact"))


def test_matplotlib_and_jinja_are_imported_where_they_are_used() -> None:
    """Inside functions alone: training, help and tables on the terminal never load them."""
    early = []
    for path in (ROOT / "pgrun").rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            early += [path for name in names if name.split(".")[0] in ("matplotlib", "jinja2", "markupsafe")]
    assert early == []


def test_ticks() -> None:
    said = [format_tick(x) for x in (0, 20_000, 1.5e6, 0.05, 1e-4, -250)]
    assert said == ["0", "20k", "1.5M", "0.05", "1e-4", "-250"]


TABLE = (
    ("name", "steps", "range", "note"),
    ("a|b", "1,000 (4/5)", "-0.5 … 2", "ok"),
    ("c", "–", "10 … 20", ""),
)


def test_numbers_stand_right() -> None:
    assert find_number_columns(TABLE) == [False, True, True, False]
    assert align_columns(TABLE) == [
        "name        steps     range  note",
        "a|b   1,000 (4/5)  -0.5 … 2  ok",
        "c               –   10 … 20",
    ]
    assert format_markdown_table(TABLE).splitlines()[:3] == [
        "| name | steps | range | note |",
        "|---|---:|---:|---|",
        "| a\\|b | 1,000 (4/5) | -0.5 … 2 | ok |",
    ]


def test_an_interval_that_reaches_0_is_cut_on_a_logarithmic_axis() -> None:
    """Matplotlib would leave the interval out, and close a band along another way."""
    band = Series("", (1, 2, 3), (1.0, 2.0, 4.0), low=(0.5, -1.0, 2.0), high=(2.0, 3.0, 5.0))
    point = Series("", (1,), (1.0,), se=(10.0,))
    with open_figure(4, 3) as figure:
        axis = figure.add_subplot()
        draw_panel(axis, Lines("t", "x", [band, point], log_y=True))
        shape, segments = axis.collections
        corners = {tuple(corner) for corner in shape.get_paths()[0].vertices.tolist()}
        ((low, high),) = segments.get_segments()
    assert {(1, 0.5), (2, 0.002), (3, 2), (1, 2), (2, 3), (3, 5)} == corners
    assert (low[1], high[1]) == pytest.approx((1e-3, 20.6))


def test_what_a_logarithmic_axis_has_no_place_for_is_a_gap_in_the_band() -> None:
    band = Series("", range(5), (1.0, 1.0, 0.0, 1.0, 1.0), low=(0.5,) * 5, high=(2.0,) * 5)
    with open_figure(4, 3) as figure:
        axis = figure.add_subplot()
        draw_panel(axis, Lines("t", "x", [band], log_y=True))
        assert len(axis.collections[0].get_paths()) == 2
