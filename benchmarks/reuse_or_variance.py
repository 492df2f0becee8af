"""What PPO gains over A2C: how much is a gradient with less variance, how much is using the data again?

    python benchmarks/reuse_or_variance.py           # 4 variants × 5 seeds, then docs/results/reuse.md
    python benchmarks/reuse_or_variance.py --write   # only the table, from the runs that are there

Four variants on HalfCheetah-v5 that share everything but the rows of a gradient step and how often a row is
used: γ, λ, networks, Adam's 3e-4, normalised states and rewards. Runs go to
``outputs/reuse/<variant>/<seed>/``; one that was stopped goes on.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from table import RESULTS, ROOT, read_finished_summary, run_or_resume

from pgrun.analysis.compare.statistics import bootstrap, mean

RUNS, RESULT = ROOT / "outputs" / "reuse", RESULTS / "reuse.md"
SEEDS, STEPS = (0, 1, 2, 3, 4), 300_000
SAME = (
    *("env=HalfCheetah-v5", "tuned=none", f"trainer.total_steps={STEPS}", "trainer.eval_every=null"),
    *("state_norm=true", "reward_scaling=true", "advantage_norm=full", "variance=gae", "variance.lam=0.95"),
    *("optimizer=adam", "optimizer.lr=3e-4", "critic/optimizer=adam", "critic.optimizer.lr=1e-3"),
    *("env.num_envs=16", "optimizer.max_grad_norm=0.5"),
)
VARIANTS = {  # label: (rows of a gradient step, uses of a row, words)
    "a2c, small batches": (128, 1, ("algo=a2c", "sampler.steps=8")),
    "a2c, large batches": (2048, 1, ("algo=a2c", "sampler.steps=128")),
    "ppo, used once": (128, 1, ("algo=ppo", "sampler.steps=128", "algo.epochs=1", "algo.minibatches=16")),
    "ppo, used ten times": (
        128,
        10,
        ("algo=ppo", "sampler.steps=128", "algo.epochs=10", "algo.minibatches=16"),
    ),
}
HEAD = f"""# What PPO gains over A2C: less variance, or data used again?

HalfCheetah-v5, {STEPS:,} steps, seeds 0 to 4, made by `python benchmarks/reuse_or_variance.py`: final
evaluation (20 episodes, deterministic policy) of each seed, their mean with its 95 % bootstrap interval, and
the signal-to-noise ratio of the gradient of a whole batch, mean over the run. The rest is the same.

| variant | rows of a gradient step | uses of a row | seeds 0 to 4 | mean | gradient/snr |
|---|--:|--:|---|--:|--:|
"""


def run_folder(label: str, seed: int) -> Path:
    return RUNS / label.replace(", ", "_").replace(" ", "_") / str(seed)


def read_final(folder: Path) -> tuple[float, float] | None:
    """(final evaluation, mean gradient/snr of the run), None where it is not finished."""
    summary = read_finished_summary(folder)
    if summary is None:
        return None
    rows = csv.DictReader((folder / "metrics.csv").open())
    snr = [float(row["gradient/snr"]) for row in rows if row["gradient/snr"]]
    return summary["eval"]["return_mean"], float(np.nanmean(snr))


def format_variant(label: str) -> str:
    size, uses, _ = VARIANTS[label]
    runs = [read_final(run_folder(label, seed)) for seed in SEEDS]
    shown = ", ".join("not run" if run is None else f"{run[0]:.0f}" for run in runs)
    done = [run for run in runs if run is not None]
    if len(done) < len(SEEDS):
        return f"| {label} | {size} | {uses} | {shown} | | |"
    returns, snr = np.array(done).T
    low, high = bootstrap([returns], mean)
    figures = f"{returns.mean():.0f} [{low:.0f}, {high:.0f}] | {snr.mean():.3f}"
    return f"| {label} | {size} | {uses} | {shown} | {figures} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="run nothing")
    if not parser.parse_args().write:
        for seed in SEEDS:
            for label, (_, _, words) in VARIANTS.items():
                if read_final(run_folder(label, seed)) is None:
                    said = run_or_resume([*words, *SAME, f"seed={seed}"], run_folder(label, seed))
                    print(f"{label}, seed {seed}: {said}", flush=True)
    RESULT.write_text(HEAD + "\n".join(map(format_variant, VARIANTS)) + "\n")


if __name__ == "__main__":
    main()
