"""Runs side by side, over seeds: python examples/compare_runs.py.

The runs are trained here one after the other. With many, let `pgrun -m algo=reinforce,ppo seed=0,1` do it, several at once, and
read its folder; `pgrun-compare FOLDER` has intervals, curves and a page.
"""

import statistics
import tempfile
from collections import defaultdict
from pathlib import Path

import pgrun


def main(steps: int = 10_000, seeds: int = 2) -> None:
    with tempfile.TemporaryDirectory() as top:
        for algo in ("reinforce", "ppo"):
            for seed in range(seeds):
                words = f"algo={algo} env=CartPole-v1 tuned=none trainer.total_steps={steps}"
                pgrun.train(words, seed=seed, folder=Path(top, f"{algo}-{seed}"), quiet=True)
        runs = pgrun.load_runs(top)

    by_algo = defaultdict(list)
    for run in runs:
        by_algo[run.summary["algo"]].append(run)
    for algo, group in by_algo.items():
        returns = [run.summary["eval"]["return_mean"] for run in group]
        kl = [row["kl/old_new"] for run in group for row in run.metrics]
        print(
            f"{algo:<10} return {statistics.fmean(returns):6.1f} over {len(group)} seeds; "
            f"KL of an update {statistics.median(kl):.1g}, the largest {max(kl):.1g}"
        )


if __name__ == "__main__":
    main()
