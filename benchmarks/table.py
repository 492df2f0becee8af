"""The table of results: every cell of docs/results/published.csv, seeds 0 to 4, none left out.

    python benchmarks/table.py             # what is missing, two runs at a time; a day on two cores
    python benchmarks/table.py --algos ppo trpo --envs Hopper-v5 CartPole-v1
    python benchmarks/table.py --check 3   # three runs of the table again, drawn at random: the same θ?
    python benchmarks/table.py --write     # only the table, from the runs that are there

A cell is an algorithm on an environment for a number of steps; ``pgrun algo=… env=…`` decides everything
else (with policy=gsde where the published agent has it), and the tuned settings of conf/tuned/ where there
are some for the pair. Runs go to
``outputs/table/<env>/<algo>/<seed>/``; one that was stopped goes on where it was. docs/results/table.csv has
a row for every run (what is finished there is not run again), docs/results/table.md the table.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pgrun.analysis.compare.statistics import bootstrap, iqm, mean
from pgrun.terminal.libraries import PORTABLE, PORTABLE_PROCESSOR

RUNS, RESULTS = ROOT / "outputs" / "table", ROOT / "docs" / "results"
SEEDS = (0, 1, 2, 3, 4)
COLUMNS = (
    *("env", "algo", "variance", "seed", "env_steps", "updates", "return_mean", "return_std", "episodes"),
    *("env_steps_per_second", "backend", "tuned", "versions", "params_sha256"),
)
NOTE = """Final evaluation of each run: 20 episodes, deterministic policy. A row has every seed's own mean
(0 to 4), their mean ± standard deviation, the mean of the middle runs (IQM) with its 95 % bootstrap interval
over seeds, and what was published. Made by `python benchmarks/table.py`; every run is in
[table.csv](table.csv), with the hash of its parameters. Where a pair has tuned settings (`conf/tuned/`), they
are the published ones named in the file, or of the first release (HalfCheetah-v5, Pendulum-v1), which looked
at seeds 0 to 2 too. Steps/s are of runs that shared two cores with other work.

Published: Tianshou's MuJoCo benchmark (mean ± std over 10 seeds at a million steps, v2 and v3 environments:
of these HalfCheetah and Swimmer have the same rewards in v5), rl-zoo's trained agents (one agent each, ± over
episodes, many with state-dependent exploration), KLip-PPO 2026 (5 seeds). The figures are in
[published.csv](published.csv).
"""


@dataclass(frozen=True)
class Cell:
    """An algorithm on an environment, with what was published (NaN: nothing)."""

    env: str
    algo: str
    steps: int
    published: float
    spread: float
    source: str
    words: tuple[str, ...] = ()  # of the command, beside those that name the cell

    def run_folder(self, seed: int) -> Path:
        return RUNS / self.env / self.algo / str(seed)


def read_cells() -> list[Cell]:
    rows = csv.DictReader((RESULTS / "published.csv").open())
    return [
        Cell(
            r["env"],
            r["algo"],
            int(r["steps"]),
            float(r["mean"] or "nan"),
            float(r["std"] or "nan"),
            r["source"],
            tuple(r["words"].split()),
        )
        for r in rows
    ]


def read_finished_summary(folder: Path) -> dict[str, Any] | None:
    """None while the run is not finished."""
    path = folder / "summary.json"
    summary: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return summary if summary.get("status") == "finished" else None


def read_finished_run(folder: Path) -> dict[str, Any] | None:
    """The run's row of the CSV, from its summary; None while it is not finished."""
    summary = read_finished_summary(folder)
    if summary is None:
        return None
    pair = f"{summary['algo']}/{summary['env']}.yaml"
    tuned = "tuned" if (ROOT / "conf" / "tuned" / pair).exists() else "default"
    versions = " ".join(f"{name} {version}" for name, version in summary["versions"].items())
    row = {**summary, **summary["eval"], "tuned": tuned, "versions": versions}
    return {name: row[name] for name in COLUMNS}


def read_rows(cells: Iterable[Cell]) -> dict[tuple[str, str, int], dict[str, Any]]:
    """Rows by (environment, algorithm, seed): those of the CSV, which stay, and of runs that it has not."""
    path = RESULTS / "table.csv"
    rows = list(csv.DictReader(path.open())) if path.exists() else []
    known = {(r["env"], r["algo"], int(r["seed"])): r for r in rows}
    for cell in cells:
        for seed in SEEDS:
            row = read_finished_run(cell.run_folder(seed))
            if row is not None:
                known.setdefault((cell.env, cell.algo, seed), row)
    return known


def train(cell: Cell, seed: int, folder: Path, portable: bool = True) -> None:
    words = [f"algo={cell.algo}", f"env={cell.env}", *cell.words, f"seed={seed}"]
    words += [f"trainer.total_steps={cell.steps}"]
    print(f"{cell.env} {cell.algo} seed {seed}: {run_or_resume(words, folder, portable)}", flush=True)


def run_or_resume(words: Iterable[str], folder: Path, portable: bool = True) -> str:
    """One run, from the start or from its last checkpoint; what it says of its evaluation, or of its end.

    ``portable``: with the machine code that every x86-64 processor with AVX2 runs alike.
    """
    command = [*words, "logger.progress=false", f"hydra.run.dir={folder}"]
    if any((folder / "checkpoints").glob("*.safetensors")):
        command = [f"resume={folder}"]
    done = subprocess.run(
        [sys.executable, "-m", "pgrun", *command],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, PORTABLE: str(int(portable))},
    )
    output = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    return next((line.strip() for line in output if "evaluation" in line), " ".join(output[-1:]))


def train_missing(cells: list[Cell], seeds: Iterable[int], jobs: int) -> None:
    known = read_rows(cells)
    missing = [(cell, s) for cell in cells for s in seeds if (cell.env, cell.algo, s) not in known]
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(lambda key: train(*key, key[0].run_folder(key[1])), missing))


def check_again(cells: list[Cell], count: int, draw: int) -> int:
    """Run ``count`` rows of the table again in fresh folders; how many ended with other parameters."""
    known = read_rows(cells)
    by_pair = {(cell.env, cell.algo): cell for cell in cells}
    keys = sorted(key for key in known if key[:2] in by_pair)
    different = 0
    for env, algo, seed in random.Random(draw).sample(keys, min(count, len(keys))):
        folder, row = RUNS / "check" / env / algo / str(seed), known[env, algo, seed]
        if read_finished_run(folder) is None:
            portable = PORTABLE_PROCESSOR in row["versions"].split()
            train(by_pair[env, algo], seed, folder, portable)
        again = read_finished_run(folder)
        same = again is not None and again["params_sha256"] == row["params_sha256"]
        said = "the same parameters" if same else f"OTHER parameters{describe_other_versions(row, again)}"
        print(f"{env} {algo} seed {seed}: {said}", flush=True)
        different += not same
    return different


def describe_other_versions(row: dict[str, Any], again: dict[str, Any] | None) -> str:
    """What the run was made with, and now is not: versions and processor (``emeraldrapids``)."""
    if again is None:
        return ": it did not finish"
    before, now = (
        dict(zip(words[::2], words[1::2], strict=True))  # name, version, name, …
        for words in (made["versions"].split() for made in (row, again))
    )
    changed = [
        f"{name} {before.get(name, 'not recorded')}, now {now[name]}"
        for name in now
        if before.get(name) != now[name]
    ]
    return f" ({'; '.join(changed) or 'with the same versions, on the same kind of processor'})"


def write_results(cells: list[Cell]) -> None:
    """Both files, from the runs that are there."""
    known = read_rows(cells)
    with (RESULTS / "table.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(known[key] for key in sorted(known))
    lines = ["# Every algorithm beside published results", "", NOTE]
    for env in dict.fromkeys(cell.env for cell in cells):
        rows = [format_row(cell, known) for cell in cells if cell.env == env]
        lines += [f"## {env}", ""]
        lines += ["| algo | steps | seeds 0 to 4 | mean | IQM | published | at or above | steps/s |"]
        lines += ["|---|--:|---|--:|--:|--:|---|--:|", *rows, ""]
    (RESULTS / "table.md").write_text("\n".join(lines))


def format_row(cell: Cell, known: dict[tuple[str, str, int], dict[str, Any]]) -> str:
    """A row of the table; ``not run`` where a seed is missing."""
    rows = [known.get((cell.env, cell.algo, seed)) for seed in SEEDS]
    published = "–" if np.isnan(cell.published) else f"{cell.published:g} ± {cell.spread:g} ({cell.source})"
    start = f"| `{' '.join((cell.algo, *cell.words))}` | {cell.steps:,} | "
    done = [row for row in rows if row is not None]
    returns = np.array([float(row["return_mean"]) for row in done])
    shown = ", ".join("not run" if row is None else f"{float(row['return_mean']):.1f}" for row in rows)
    if len(done) < len(SEEDS):
        return f"{start}{shown if done else 'not run'} | | | {published} | | |"
    low, high = bootstrap([returns], iqm)
    speed = np.median([float(row["env_steps_per_second"]) for row in done])
    reached = "" if np.isnan(cell.published) else "yes" if mean(returns) >= cell.published else "**no**"
    figures = f"{mean(returns):.1f} ± {returns.std(ddof=1):.1f} | {iqm(returns):.1f} [{low:.1f}, {high:.1f}]"
    return f"{start}{shown} | {figures} | {published} | {reached} | {speed:,.0f} |"


def main() -> None:
    cells = read_cells()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--algos", nargs="+", choices=sorted({cell.algo for cell in cells}))
    parser.add_argument("--envs", nargs="+", choices=sorted({cell.env for cell in cells}))
    parser.add_argument("--seeds", nargs="+", type=int, choices=SEEDS, default=SEEDS)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--check", type=int, metavar="N", help="run N rows of the table again and compare θ")
    parser.add_argument("--draw", type=int, default=0, metavar="K", help="which N (a seed of the draw)")
    parser.add_argument("--write", action="store_true", help="run nothing")
    args = parser.parse_args()
    wanted = [
        cell
        for cell in cells
        if cell.algo in (args.algos or [cell.algo]) and cell.env in (args.envs or [cell.env])
    ]
    if args.check:
        raise SystemExit(1 if check_again(wanted, args.check, args.draw) else 0)
    if not args.write:
        train_missing(wanted, args.seeds, args.jobs)
    write_results(cells)


if __name__ == "__main__":
    main()
