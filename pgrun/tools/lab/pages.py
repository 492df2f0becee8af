"""The laboratory book: a page a group, from the files that the command reads and from what they found when
they were last run.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pgrun.atomic_files import write_bytes, write_json
from pgrun.presentation.tables import escape_cell, format_markdown_table
from pgrun.tools.lab.catalogue import GROUPS, Group, list_experiments
from pgrun.tools.lab.experiment import Experiment
from pgrun.tools.lab.run import run_experiment

Book = dict[str, str]  # the text of each page, by file name
KEPT = ("commands", "verdict", "sentence", "table", "changes")  # of a result, on the page


def write_book(docs: Path, wanted: Sequence[Experiment], out: Path) -> None:
    """Run ``wanted``, keep what they find in ``docs``, and write all pages anew."""
    for place in (docs / "results", docs / "figures"):
        place.mkdir(parents=True, exist_ok=True)
    for experiment in wanted:
        result = run_experiment(experiment, out / experiment.name)
        write_json(docs / "results" / f"{experiment.name}.json", {key: result[key] for key in KEPT})
        shutil.copy(out / experiment.name / "picture.svg", docs / "figures" / f"{experiment.name}.svg")
        print(f"{experiment.name}: {result['sentence']}", flush=True)
    for name, text in make_pages(docs).items():
        write_bytes(docs / name, text.encode())
    if missing := find_stale(docs):
        print(f"left out, not run for {docs} as they stand now: pgrun-lab {' '.join(missing)} --docs {docs}")


def make_pages(docs: Path) -> Book:
    """The text of each page, from the files and from what was found."""
    results = {e.name: read_kept_result(docs, e) for e in list_experiments()}
    return make_book([e for e in list_experiments() if results[e.name]], results)


def find_stale(docs: Path) -> list[str]:
    """Experiments that were not run for the book, or with other commands than they have now."""
    return [e.name for e in list_experiments() if not read_kept_result(docs, e)]


def read_kept_result(docs: Path, e: Experiment) -> dict[str, Any]:
    """What an experiment found when it was last run for the book with these commands;
    empty where it was not.
    """
    file = docs / "results" / f"{e.name}.json"
    result = json.loads(file.read_text()) if file.is_file() else {}
    return result if result.get("commands") == list(e.commands) else {}


def make_book(every: Sequence[Experiment], results: dict[str, dict[str, Any]]) -> Book:
    groups = [group for group in GROUPS if any(e.group == group.name for e in every)]
    pages = {"README.md": format_contents(groups, every, results)}
    for n, group in enumerate(groups):
        mine = [e for e in every if e.group == group.name]
        after = groups[n + 1] if n + 1 < len(groups) else None
        pages[f"{group.name}.md"] = format_group_page(group, mine, results, after)
    return pages


def format_contents(groups: Sequence[Group], every: Sequence[Experiment], results: dict[str, Any]) -> str:
    """The list of experiments, with what came out."""
    parts = [
        "# The laboratory",
        "The claims of lecture notes on policy gradients, tried: each is a command that ends in a table, a "
        "picture and a sentence. The notes are in Chinese; each claim is quoted, with its translation. "
        "Claims of later papers name those.",
        "    pgrun-lab                    the list\n    pgrun-lab baseline           one experiment\n"
        "    pgrun-lab --check --jobs 2   all of them again: did an outcome change?",
        (
            "These pages are written by `pgrun-lab NAME --docs docs/lab`, from the files in "
            "`pgrun/tools/lab/experiments/` that the command reads."
        ),
    ]
    for group in groups:
        rows = [
            (f"[{e.name}]({group.name}.md#{e.name})", e.claim, results[e.name]["verdict"])
            for e in every
            if e.group == group.name
        ]
        parts.append(f"## [{group.title}]({group.name}.md) ({group.chinese})")
        parts.append(format_markdown_table([("experiment", "claim", "verdict"), *rows]))
    return "\n\n".join(parts) + "\n"


def format_group_page(
    group: Group, mine: Sequence[Experiment], results: dict[str, Any], after: Group | None
) -> str:
    parts = [f"# {group.title} ({group.chinese})", group.about]
    parts += [format_experiment(e, results[e.name]) for e in mine]
    following = f" · Next: [{after.title}]({after.name}.md)" if after else ""
    return "\n\n".join([*parts, f"[All experiments](README.md){following}"]) + "\n"


def format_quotation(e: Experiment) -> str:
    """What is claimed in the notes' own words and in English, with its place; of a paper the place alone."""
    if not e.chinese:
        return f"({e.source})"
    return f"> {e.chinese}\n>\n> *{escape_marks(e.english)}*\n>\n> ({e.source})"


def escape_marks(text: str) -> str:
    """Stars and underscores as they stand, inside emphasis."""
    return re.sub(r"([*_])", r"\\\1", text)


def format_experiment(e: Experiment, result: dict[str, Any]) -> str:
    formula = "\n".join("    " + line for line in e.formula.splitlines())
    typed = "\n".join(e.commands)
    return "\n\n".join(
        (
            f"## {e.name}",
            f"**{e.claim}**",
            format_quotation(e),
            formula,
            f"`pgrun-lab {e.name}`" + (" runs and reads" if e.commands else ""),
            *((f"```bash\n{typed}\n```",) if e.commands else ()),
            f"![{escape_cell(e.claim)}](figures/{e.name}.svg)",
            result["sentence"],
            format_markdown_table(result["table"]),
            e.shows,
            f"*Try next:* {e.next}",
        )
    )
