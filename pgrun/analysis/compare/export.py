"""The score matrix for other tools, and the curves for TensorBoard."""

from __future__ import annotations

import csv
import io
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pgrun.analysis.compare.curves import Panel
from pgrun.analysis.compare.groups import Group
from pgrun.atomic_files import LEADS_OUT, cut_name, find_link, replace_file, write_bytes
from pgrun.config.paths import EVENT_FILES
from pgrun.errors import InvalidCommand

FORMULA = (*"=+-@", *"＝＋－＠", "\t", "\r", "\n")  # the wide ones too, which some spreadsheets take for them
LONGEST = 120  # bytes of a label in a folder's name


def refuse_shared_cells(groups: Sequence[Group]) -> None:
    """Raises ``InvalidCommand`` where a group has several runs of one seed, which are one cell."""
    for group in groups:
        for (env, seed), count in Counter((run.env, run.seed) for run in group.runs).most_common(1):
            if count > 1:
                raise InvalidCommand(
                    "--export",
                    None,
                    f"{group.label} has {count} runs of seed {seed} on {env}, and one cell for them",
                    "leave --by out, so that each configuration is a row",
                )


def score_matrix(groups: Sequence[Group]) -> tuple[list[tuple[str, str]], list[int], np.ndarray]:
    """((label, environment) of each row, the seed of each column, scores); NaN where there is none."""
    seeds = sorted({run.seed for group in groups for run in group.runs})
    names = [(group.label, env) for group in groups for env in group.envs]
    scores = np.full((len(names), len(seeds)), np.nan)
    for group in groups:
        for run in group.runs:
            if run.score is not None:
                scores[names.index((group.label, run.env)), seeds.index(run.seed)] = run.score
    return names, seeds, scores


def write_csv(groups: Sequence[Group], path: Path) -> None:
    names, seeds, scores = score_matrix(groups)
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(["configuration", "env", *(f"seed {seed}" for seed in seeds)])
    for name, row in zip(names, scores, strict=True):
        table.writerow([*map(quote_formula, name), *("" if np.isnan(x) else repr(float(x)) for x in row)])
    write_bytes(path, text.getvalue().encode())


def quote_formula(text: str) -> str:
    """A spreadsheet computes a cell that begins like a formula, and a label may be anybody's."""
    return f"'{text}" if text.lstrip(" ").startswith(FORMULA) else text


def write_npz(groups: Sequence[Group], panels: Sequence[Sequence[Panel]], path: Path) -> None:
    """Scores and, if any were asked for, curves; no pickle: ``numpy.load(path)`` reads it."""
    names, seeds, scores = score_matrix(groups)
    labels, envs = (np.array(x) for x in zip(*names, strict=True))
    arrays = {"scores": scores, "configurations": labels, "envs": envs, "seeds": np.array(seeds)}
    for panel in (panel for row in panels for panel in row):
        for curve in panel.curves:
            name = f"curve {panel.env} {panel.tag} {curve.label}"
            arrays[name] = np.stack([curve.steps, curve.middle, curve.low, curve.high])
    replace_file(path, lambda file: np.savez_compressed(file, **arrays))  # type: ignore[arg-type]


def check_tensorboard(folder: Path) -> None:
    """Found before any run is read."""
    if folder.exists() and any(folder.rglob(EVENT_FILES)):
        raise InvalidCommand(
            "--tensorboard", folder, "holds events already", "name a new folder, or delete it"
        )


def write_tensorboard(panels: Sequence[Sequence[Panel]], folder: Path, middle: str) -> int:
    """A run each for the middle and both ends of the interval of every group; how many."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writers: dict[Path, EventFileWriter] = {}
    now = time.time()
    for place, tag, steps, values in collect_tracks(panels, folder, middle):
        if place not in writers:
            if link := find_link(folder, place):
                raise InvalidCommand("--tensorboard", folder, f"{link} is {LEADS_OUT}", "name a new folder")
            writers[place] = EventFileWriter(str(place))
        for step, value in zip(steps, values, strict=True):
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=float(value))])
            writers[place].add_event(Event(wall_time=now, step=int(step), summary=summary))
    for writer in writers.values():
        writer.close()
    return len(writers)


Track = tuple[Path, str, np.ndarray, np.ndarray]


def collect_tracks(panels: Sequence[Sequence[Panel]], folder: Path, middle: str) -> Iterator[Track]:
    """(folder of the run, tag, steps, values) of whatever has values."""
    several = len({panel.env for row in panels for panel in row}) > 1
    for panel in (panel for row in panels for panel in row):
        for curve in panel.curves:
            place = (
                folder
                / (file_name(panel.env) if several else "")
                / f"{curve.number:02d}_{file_name(curve.label)}"
            )
            for name, values in ((middle, curve.middle), ("low", curve.low), ("high", curve.high)):
                there = ~np.isnan(values)
                if there.any():
                    yield place / name, panel.tag, curve.steps[there], values[there]


def file_name(label: str) -> str:
    """A label as one folder: nothing that leads elsewhere, and no longer than a file system takes."""
    safe = re.sub(r"[^\w=.,+ -]", "_", label).replace(" ", "_").lstrip(".")
    return cut_name(safe, LONGEST) or "_"
