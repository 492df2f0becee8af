"""The laboratory book: a page a group in each language, from the files that the command reads and from what
they found when they were last run.
"""

from __future__ import annotations

import json
import posixpath
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pgrun.atomic_files import write_bytes, write_json
from pgrun.presentation.tables import escape_cell, format_markdown_table
from pgrun.tools.lab.catalogue import GROUPS, Group, list_experiments
from pgrun.tools.lab.editions import EDITIONS, English, Texts, find_translation
from pgrun.tools.lab.experiment import Experiment
from pgrun.tools.lab.run import run_experiment
from pgrun.tools.lab.translations import find_translation_faults

Book = dict[str, str]  # the text of each page, by its path in docs
FOLDERS = {"en": "", "zh": "zh"}  # of a language, in docs
KEPT = ("commands", "verdict", "sentence", "table", "changes")  # of a result, on the page


def write_book(docs: Path, wanted: Sequence[Experiment], out: Path) -> None:
    """Run ``wanted``, keep what they find in ``docs``, and write all pages anew."""
    for place in (docs / "results", docs / "figures", *(docs / folder for folder in FOLDERS.values())):
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
    for fault in find_faults(docs):
        print(fault)


def make_pages(docs: Path) -> Book:
    """The text of each page in each language, from the files and from what was found."""
    results = {e.name: read_kept_result(docs, e) for e in list_experiments()}
    kept = [e for e in list_experiments() if results[e.name]]
    return {
        posixpath.join(FOLDERS[edition.code], name): text
        for edition in EDITIONS.values()
        for name, text in make_book(kept, results, edition).items()
    }


def find_stale(docs: Path) -> list[str]:
    """Experiments that were not run for the book, or with other commands than they have now."""
    return [e.name for e in list_experiments() if not read_kept_result(docs, e)]


def find_faults(docs: Path) -> list[str]:
    """What is out of date or missing in the Chinese texts: ``name: what``."""
    results = {e.name: read_kept_result(docs, e) for e in list_experiments()}
    return [
        f"{e.name}: {fault}"
        for e in list_experiments()
        if results[e.name]
        for fault in find_translation_faults(e, find_translation(e), results[e.name])
    ]


def read_kept_result(docs: Path, e: Experiment) -> dict[str, Any]:
    """What an experiment found when it was last run for the book with these commands;
    empty where it was not.
    """
    file = docs / "results" / f"{e.name}.json"
    result = json.loads(file.read_text()) if file.is_file() else {}
    return result if result.get("commands") == list(e.commands) else {}


def make_book(every: Sequence[Experiment], results: dict[str, dict[str, Any]], edition: English) -> Book:
    groups = [group for group in GROUPS if any(e.group == group.name for e in every)]
    pages = {"README.md": format_contents(groups, every, results, edition)}
    for n, group in enumerate(groups):
        mine = [e for e in every if e.group == group.name]
        after = groups[n + 1] if n + 1 < len(groups) else None
        pages[f"{group.name}.md"] = format_group_page(group, mine, results, after, edition)
    return pages


def format_contents(
    groups: Sequence[Group], every: Sequence[Experiment], results: dict[str, Any], edition: English
) -> str:
    """The list of experiments, with what came out."""
    parts = [
        f"# {edition.title}",
        link_other_edition(edition, "README.md"),
        *(edition.introduction, edition.commands, edition.written_by),
    ]
    for group in groups:
        rows = [
            (
                f"[{e.name}]({group.name}.md#{e.name})",
                edition.read_texts(e).claim,
                edition.name_verdict(results[e.name]["verdict"]),
            )
            for e in every
            if e.group == group.name
        ]
        title = f"[{edition.name_group(group)}]({group.name}.md)"
        parts.append("## " + edition.titles.format(title, edition.name_group_elsewhere(group)))
        parts.append(format_markdown_table([edition.head, *rows]))
    return "\n\n".join(parts) + "\n"


def format_group_page(
    group: Group,
    mine: Sequence[Experiment],
    results: dict[str, Any],
    after: Group | None,
    edition: English,
) -> str:
    title = edition.titles.format(edition.name_group(group), edition.name_group_elsewhere(group))
    parts = [f"# {title}", link_other_edition(edition, f"{group.name}.md"), edition.read_about(group)]
    parts += [format_experiment(e, results[e.name], edition) for e in mine]
    following = f" · {edition.following}[{edition.name_group(after)}]({after.name}.md)" if after else ""
    return "\n\n".join([*parts, f"[{edition.all_experiments}](README.md){following}"]) + "\n"


def link_other_edition(edition: English, page: str) -> str:
    """``[中文](zh/baselines.md)``: the same page in the other language."""
    (other,) = (e for e in EDITIONS.values() if e.code != edition.code)
    here, there = FOLDERS[edition.code] or ".", FOLDERS[other.code]
    return f"[{other.name}]({posixpath.relpath(posixpath.join(there, page), here)})"


def format_quotation(texts: Texts, edition: English) -> str:
    """The claim in the notes' own words, then translated, with its place; of a paper the place alone."""
    source = edition.brackets.format(texts.source)
    if not texts.quotation:
        return source
    own, *translated = texts.quotation
    return "\n>\n".join([f"> {own}", *(f"> *{escape_marks(text)}*" for text in translated), f"> {source}"])


def escape_marks(text: str) -> str:
    """Stars and underscores as they stand, inside emphasis."""
    return re.sub(r"([*_])", r"\\\1", text)


def format_experiment(e: Experiment, result: dict[str, Any], edition: English) -> str:
    texts, outcome = edition.read_texts(e), edition.read_outcome(e, result)
    formula = "\n".join("    " + line for line in e.formula.splitlines())
    typed = "\n".join(e.commands)
    figures = posixpath.relpath("figures", FOLDERS[edition.code] or ".")
    return "\n\n".join(
        (
            f"## {e.name}",
            f"**{texts.claim}**",
            format_quotation(texts, edition),
            formula,
            edition.runs.format(e.name) + (edition.runs_and_reads if e.commands else ""),
            *((f"```bash\n{typed}\n```",) if e.commands else ()),
            f"![{escape_cell(texts.claim)}]({figures}/{e.name}.svg)",
            outcome.sentence,
            format_markdown_table(outcome.table),
            texts.shows,
            edition.next.format(texts.next),
        )
    )
