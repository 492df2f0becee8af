"""One experiment: its commands, what they say, and the files that keep it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgrun.atomic_files import write_bytes, write_json
from pgrun.presentation.plotting import write_panels
from pgrun.presentation.tables import align_columns
from pgrun.tools.lab import commands
from pgrun.tools.lab.experiment import Experiment, Finding

if TYPE_CHECKING:
    from pgrun.tools.lab.commands import Say


def run_experiment(experiment: Experiment, folder: Path, say: Say = lambda _: None) -> dict[str, Any]:
    """The content of result.json, which is written beside table.txt and picture.svg."""
    begun = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    finding = experiment.read(commands.run_command_lines(experiment.commands, folder, say))
    result = experiment_record(experiment, finding, round(time.perf_counter() - begun, 1))
    write_json(folder / "result.json", result)
    write_bytes(folder / "table.txt", (format_lab_table(finding.table) + "\n").encode())
    write_panels(finding.panels, experiment.claim, folder / "picture.svg")
    return result


def experiment_record(experiment: Experiment, finding: Finding, seconds: float) -> dict[str, Any]:
    return {
        "experiment": experiment.name,
        "commands": list(experiment.commands),
        "verdict": str(finding.verdict),
        "sentence": verdict_sentence(finding),
        "outcomes": {label: {"value": m.value, "se": m.se} for label, m in finding.outcomes.items()},
        "table": [list(row) for row in finding.table],
        "changes": experiment.changes(finding),
        "seconds": seconds,
    }


def verdict_sentence(finding: Finding) -> str:
    """Supported, refuted, depends or inconclusive: with the numbers."""
    return f"{finding.verdict.capitalize()}: {finding.sentence}"


def format_lab_table(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("  " + line for line in align_columns(rows))
