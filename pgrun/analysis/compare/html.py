"""The comparison as one page that needs nothing else: no script, no font, no network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from pgrun.analysis.compare.curves import Panel
from pgrun.analysis.compare.groups import Group
from pgrun.analysis.compare.report import Comparison
from pgrun.analysis.compare.svg import render_svg, render_swatch

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#222;background:#fff;\
margin:2rem auto;max-width:1440px;padding:0 1.5rem}
h1{font-size:1.35rem;margin:0 0 .2rem}h2{font-size:1.05rem;margin:1.6rem 0 .4rem}p{margin:.2rem 0}
.dim{color:#666;font-size:.9rem}.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.92rem;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .9rem .3rem 0;text-align:left;border-bottom:1px solid #e4e4e4;white-space:nowrap}
th{font-weight:600;border-bottom-color:#999}td svg{margin-right:.5rem;vertical-align:middle}
.warn{background:#fff6e0;border-left:4px solid #e0a800;padding:.5rem .9rem;margin:.9rem 0}
.charts{display:flex;flex-wrap:wrap;gap:.4rem 1rem}.charts svg{max-width:100%;height:auto}
.charts text{font-size:12px;fill:#444}.charts .head{font-size:14px;font-weight:600;fill:#222}
.grid{stroke:#e8e8e8;fill:none}.axis{stroke:#888;fill:none}details{margin:1.2rem 0}summary{cursor:pointer}
"""


def render_page(
    comparison: Comparison,
    rows: Sequence[Sequence[Panel]],
    drawn: Sequence[Group],
    curve_note: str,
    notes: Sequence[str],
    title: str,
) -> str:
    """``drawn``: the groups that have curves, in the order of their colours."""
    parts = [
        f"<h1>{escape(title)}</h1>",
        render_comparison_table(comparison, drawn),
        *(f'<p class="warn">{escape(line)}</p>' for line in comparison.warnings),
        (
            f'<p class="dim">Scores: {escape(comparison.score)}. IQM: mean of the middle half of the runs. '
            "Intervals: 95 %, percentile bootstrap over seeds.</p>"
        ),
        *render_charts(rows, curve_note),
        *render_details("every setting that differs", render_html_table(escape_settings(comparison)))
        * bool(comparison.settings),
        *render_details(
            f"left out or incomplete: {len(notes)}", "".join(f"<p>{escape(x)}</p>" for x in notes)
        )
        * bool(notes),
    ]
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title>"
    )
    return (
        f'<!doctype html><html lang="en"><head>{head}<style>{STYLE}</style></head>'
        f"<body>{''.join(parts)}</body></html>\n"
    )


def render_comparison_table(comparison: Comparison, drawn: Sequence[Group]) -> str:
    """Groups that have curves, with their colour; the others folded up below."""
    head, *rows = ([*map(escape, cells)] for cells in comparison.table)
    colour = {escape(group.label): n for n, group in enumerate(drawn)}
    shown = [[render_swatch(colour[label]) + label, *rest] for label, *rest in rows if label in colour]
    others = [cells for cells in rows if cells[0] not in colour]
    folded = (
        render_details(f"{len(others)} more groups", render_html_table([head, *others])) if others else []
    )
    return render_html_table([head, *shown]) + "".join(folded)


def escape_settings(comparison: Comparison) -> list[list[str]]:
    labels = ["setting", *(group.label for group in comparison.groups)]
    return [list(map(escape, cells)) for cells in (labels, *comparison.settings)]


def render_html_table(rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are HTML already."""
    head, *body = rows
    lines = [f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>" for cells in body]
    return (
        f'<div class="wide"><table><tr>{"".join(f"<th>{c}</th>" for c in head)}</tr>'
        f"{''.join(lines)}</table></div>"
    )


def render_charts(rows: Sequence[Sequence[Panel]], note: str) -> Iterable[str]:
    for i, row in enumerate(rows):
        charts = [render_svg(p, p.tag, f"clip-{i}-{j}") for j, p in enumerate(row) if p.curves]
        if charts:
            yield f'<h2>{escape(row[0].env)}</h2><div class="charts">{"".join(charts)}</div>'
    if any(p.curves for row in rows for p in row):
        yield f'<p class="dim">{escape(note)}</p>'


def render_details(title: str, body: str) -> list[str]:
    return [f"<details><summary>{escape(title)}</summary>{body}</details>"]
