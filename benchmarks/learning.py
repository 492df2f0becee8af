"""Learning with default settings, every seed reported: prints the table of docs/results.md.

    python benchmarks/learning.py              # all rows, about half an hour on two cores
    python benchmarks/learning.py ppo a2c      # some of them

Each row is one sweep of the command shown; two jobs run at a time (extra ``parallel``).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from statistics import mean

from pgrun.command.folder_names import find_job_folders

ROWS = {
    "ppo": (["algo=ppo", "env=CartPole-v1"], 5, "≥ 475 on 4 of 5"),
    "a2c": (["algo=a2c", "env=CartPole-v1"], 5, "≥ 475 on 4 of 5"),
    "reinforce": (
        ["algo=reinforce", "variance=value_baseline", "env=CartPole-v1", "trainer.total_steps=500000"],
        5,
        "≥ 475 on 4 of 5",
    ),
    "pendulum": (["algo=ppo", "env=Pendulum-v1"], 5, "≥ −250 on 4 of 5"),
    "halfcheetah": (
        ["algo=ppo", "env=HalfCheetah-v5", "trainer.total_steps=200000"],
        3,
        "≥ 2000 on the mean of 3",
    ),
}


def sweep(words: list[str], seeds: int) -> list[dict]:
    """The summaries of one command over seeds 0, 1, …"""
    with tempfile.TemporaryDirectory() as folder:
        spread = "seed=" + ",".join(map(str, range(seeds)))
        fixed = ["logger.progress=false", f"hydra.sweep.dir={folder}/sweep"]
        engine = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
        subprocess.run(
            ["pgrun", "-m", *words, spread, *fixed, *engine], check=True, stdout=subprocess.DEVNULL
        )
        jobs = sorted(find_job_folders(Path(folder, "sweep")).items())
        return [json.loads((job / "summary.json").read_text()) for _, job in jobs]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", default=list(ROWS))
    print(
        "| command | wanted | final evaluation of each seed (± over its 20 episodes) | mean | steps | "
        "steps/s |"
    )
    print("|---|---|---|---|---|---|")
    for name in parser.parse_args().rows:
        words, seeds, wanted = ROWS[name]
        answer = sweep(words, seeds)
        each = ", ".join(f"{s['eval']['return_mean']:.1f} ± {s['eval']['return_std']:.1f}" for s in answer)
        average = mean(s["eval"]["return_mean"] for s in answer)
        steps = max(s["env_steps"] for s in answer)
        speed = mean(s["env_steps_per_second"] for s in answer)
        command = f"`pgrun {' '.join(words)}`"
        print(f"| {command} | {wanted} | {each} | {average:.1f} | {steps:,} | {speed:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
