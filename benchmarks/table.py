"""The learning table: every algorithm × three environments × three seeds, nothing left out.

    python benchmarks/table.py                       # what is missing, two runs at a time; hours on two cores
    python benchmarks/table.py --algos ppo trpo --envs CartPole-v1
    python benchmarks/table.py --write               # only the table, from the runs that are there

Runs go to ``outputs/table/<algo>/<env>/<seed>/``. The table goes to docs/results/table.md, the figures of
each summary.json to docs/results/table.csv; what is finished there or there is not run again
(``--again`` does). ``algo=<name>`` alone decides everything else, and the project's tuned settings where it
ships some for the pair.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from statistics import mean, stdev

ROOT = Path(__file__).resolve().parent.parent
RUNS, RESULTS = ROOT / "outputs" / "table", ROOT / "docs" / "results"
ALGOS = sorted(path.stem for path in (ROOT / "conf" / "algo").glob("*.yaml"))
STEPS = {"CartPole-v1": 200_000, "Pendulum-v1": 200_000, "HalfCheetah-v5": 500_000}
SEEDS = (0, 1, 2)
PUBLISHED = {  # (algorithm, environment): figure, from the sources named below the table
    ("a2c", "CartPole-v1"): "500 @500k ʳ",
    ("a2c", "Pendulum-v1"): "−163 @1M ʳ",
    ("a2c", "HalfCheetah-v5"): "1077 ᵗ",
    ("ppo", "CartPole-v1"): "500 @100k ʳ",
    ("ppo", "Pendulum-v1"): "−172 @100k ʳ",
    ("ppo", "HalfCheetah-v5"): "4878 ᵗ",
    ("ppo_penalty", "CartPole-v1"): "492 @100k ᵏ",
    ("trpo", "CartPole-v1"): "500 @100k ʳ",
    ("trpo", "Pendulum-v1"): "−175 @100k ʳ",
    ("trpo", "HalfCheetah-v5"): "3590 ᵗ",
    ("npg", "HalfCheetah-v5"): "1934 ᵗ",
    ("reinforce", "HalfCheetah-v5"): "363 ᵗ",
}
NOTE = (
    "Mean ± standard deviation over seeds 0, 1, 2 of the final evaluation (20 episodes, deterministic "
    "policy), and in brackets each seed's own mean. Made by `python benchmarks/table.py`; the figures of "
    "every run are in [table.csv](table.csv). Published: ʳ rl-zoo's trained agents, ᵗ Tianshou's MuJoCo "
    "benchmark at 500 000 steps (10 seeds, v3), ᵏ KLip-PPO 2026 (5 seeds)."
)
COLUMNS = (
    *("algo", "variance", "env", "seed", "env_steps", "updates", "return_mean", "return_std", "episodes"),
    *("env_steps_per_second", "tuned", "params_sha256"),
)


def folder(algo: str, env: str, seed: int) -> Path:
    return RUNS / algo / env / str(seed)


def row(algo: str, env: str, seed: int) -> dict | None:
    """A row of the CSV from the run's summary, if it is finished."""
    path = folder(algo, env, seed) / "summary.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    if found.get("status") != "finished":
        return None
    return {name: {**found, **found["eval"], "tuned": tuned(algo, env)}[name] for name in COLUMNS}


def known() -> dict[tuple[str, str, int], dict]:
    """Every row that there is: of the CSV as it stands, and of runs since."""
    path = RESULTS / "table.csv"
    rows = list(csv.DictReader(path.open())) if path.exists() else []
    found = {(r["algo"], r["env"], int(r["seed"])): r for r in rows}
    return found | {key: r for key in product(ALGOS, STEPS, SEEDS) if (r := row(*key))}


def run(algo: str, env: str, seed: int) -> None:
    steps = STEPS[env]
    words = [f"algo={algo}", f"env={env}", f"seed={seed}", f"trainer.total_steps={steps}"]
    shutil.rmtree(folder(algo, env, seed), ignore_errors=True)  # what an interrupted one left
    fixed = ["trainer.eval_every=null", "logger.progress=false", f"hydra.run.dir={folder(algo, env, seed)}"]
    done = subprocess.run(["pgrun", *words, *fixed], capture_output=True, text=True, check=False)
    last = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()[-1:]
    print(f"{algo} {env} seed {seed}: {' '.join(last)}", flush=True)


def tuned(algo: str, env: str) -> str:
    return "tuned" if (ROOT / "conf" / "tuned" / algo / f"{env}.yaml").exists() else "default"


def write() -> None:
    """Both files, from the runs that are there."""
    RESULTS.mkdir(exist_ok=True)
    found = known()
    with (RESULTS / "table.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows(found[key] for key in sorted(found))
    heads = [f"{env} @{steps:,}" for env, steps in STEPS.items()]
    lines = ["# Every algorithm, three environments", "", NOTE, ""]
    lines += ["| algo | " + " | ".join(f"{head} | published" for head in heads) + " |"]
    lines += ["|---" * (1 + 2 * len(heads)) + "|"]
    for algo in ALGOS:
        cells = (f"{cell(found, algo, env)} | {PUBLISHED.get((algo, env), '–')}" for env in STEPS)
        lines.append(f"| `{algo}` | " + " | ".join(cells) + " |")
    (RESULTS / "table.md").write_text("\n".join(lines) + "\n")


def cell(found: dict, algo: str, env: str) -> str:
    returns = [float(found[key]["return_mean"]) for seed in SEEDS if (key := (algo, env, seed)) in found]
    if not returns:
        return "not run"
    spread = f" ± {stdev(returns):.1f}" if len(returns) > 1 else ""
    return f"{mean(returns):.1f}{spread} ({', '.join(f'{x:.0f}' for x in returns)})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--algos", nargs="+", choices=ALGOS, default=ALGOS)
    parser.add_argument("--envs", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--seeds", nargs="+", type=int, choices=SEEDS, default=SEEDS)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--again", action="store_true", help="also what is finished")
    parser.add_argument("--write", action="store_true", help="run nothing")
    args = parser.parse_args()
    wanted = product(args.envs, args.algos, args.seeds)
    done = {} if args.again else known()
    missing = [key for env, algo, seed in wanted if (key := (algo, env, seed)) not in done]
    if not args.write:
        with ThreadPoolExecutor(args.jobs) as pool:
            list(pool.map(lambda key: run(*key), missing))
    write()


if __name__ == "__main__":
    main()
