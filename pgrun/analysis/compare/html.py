"""The comparison as one page that needs nothing else: no script, no font, no network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pgrun.analysis.compare.curves import Panel
from pgrun.analysis.compare.groups import Group
from pgrun.analysis.compare.provenance import find_provenance
from pgrun.analysis.compare.report import Comparison
from pgrun.presentation.styles import COLOURS, DARK, choose_style
from pgrun.presentation.tables import Table, find_number_columns

TEMPLATE = "page.html.jinja"
WIDE = 4  # configurations that stand side by side
SHOWN = 8  # settings that stand above the scores; more are folded up


def render_page(
    comparison: Comparison,
    rows: Sequence[Sequence[Panel]],
    drawn: Sequence[Group],
    curve_note: str,
    notes: Sequence[str],
    title: str,
) -> str:
    """``drawn``: the groups that have curves, in the order of their colours."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    pages = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # a name in a run's files may say anything
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    numbers = {group.label: n for n, group in enumerate(drawn)}
    head, *body = comparison.table
    labels = [group.label for group in comparison.groups]
    return pages.get_template(TEMPLATE).render(
        title=title,
        colours=COLOURS,
        dark=DARK,
        provenance=find_provenance(comparison.groups),
        settings=number_table(lay_out_settings(labels, comparison.settings[:SHOWN])),
        more_settings=number_table(lay_out_settings(labels, comparison.settings[SHOWN:])),
        many_settings=max(len(comparison.settings) - SHOWN, 0),
        scores=number_table([head, *(cells for cells in body if cells[0] in numbers)]),
        others=number_table([head, *(cells for cells in body if cells[0] not in numbers)]),
        swatches={label: make_swatch(n) for label, n in numbers.items()},
        warnings=comparison.warnings,
        score=comparison.score,
        charts=[(row[0].env, render_charts(row, i)) for i, row in enumerate(rows)],
        curve_note=curve_note,
        notes=notes,
    )


def lay_out_settings(labels: Sequence[str], settings: Table) -> Table:
    """A row for each setting, a column for each configuration; of many the other way round."""
    if not settings or len(labels) <= WIDE:
        return [["setting", *labels], *settings]
    return [list(row) for row in zip(["configuration", *labels], *settings, strict=True)]


def number_table(table: Table) -> dict[str, Any]:
    return {"head": table[0], "body": table[1:], "right": find_number_columns(table)}


def make_swatch(number: int) -> dict[str, Any]:
    """A group's line and marker, for the table that is the charts' legend."""
    _, marker, dashes = choose_style(number)
    return {
        "colour": number % len(COLOURS),
        "marker": marker,
        "dashes": " ".join(f"{2 * x:g}" for x in dashes),
    }


def render_charts(row: Sequence[Panel], number: int) -> list[Any]:
    """A chart for each scalar that the runs have, safe to be put on the page."""
    if not any(panel.curves for panel in row):
        return []
    from markupsafe import Markup

    from pgrun.analysis.compare.picture import render_chart

    return [Markup(render_chart(p, f"chart-{number}-{i}")) for i, p in enumerate(row) if p.curves]
