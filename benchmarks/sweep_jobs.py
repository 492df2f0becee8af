"""What a process for each job of a sweep costs: a child of the server, against a Python of its own.

No extra needed.

python benchmarks/sweep_jobs.py [jobs]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

os.environ.setdefault("OMP_NUM_THREADS", "1")

from pgrun.runs.child_process import FORKS, start_server

TINY = (
    "algo=a2c env=CartPole-v1 tuned=none sampler.steps=8 trainer.total_steps=64 trainer.eval_every=null "
    "trainer.eval_episodes=1 logger.progress=false"
)


def nothing() -> None:
    """A job that does nothing."""


def child() -> float:
    """Seconds from the start of a child to its end."""
    begun = time.perf_counter()
    process = FORKS.Process(target=nothing)
    process.start()
    process.join()
    return time.perf_counter() - begun


def interpreter() -> float:
    """The same with a new Python that imports what training needs."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import pgrun.runs.preload"], check=True)
    return time.perf_counter() - begun


def sweep(jobs: int) -> float:
    """Seconds of a whole sweep of tiny jobs."""
    with tempfile.TemporaryDirectory() as folder:
        words = [*TINY.split(), f"seed=range(0,{jobs})", f"hydra.sweep.dir={folder}/s"]
        begun = time.perf_counter()
        code = f"import sys; sys.argv[1:] = ['-m', *{words!r}]; from pgrun.cli.main import main; main()"
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
        used = time.perf_counter() - begun
        summaries = [json.loads(path.read_text()) for path in Path(folder).glob("s/*/summary.json")]
        return used - sum(summary["wall_seconds"] for summary in summaries)


def main() -> None:
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    start_server()
    child()  # waits for the server
    print(f"child of the server  {1e3 * median(child() for _ in range(20)):8.1f} ms")
    print(f"Python of its own    {1e3 * median(interpreter() for _ in range(5)):8.1f} ms")
    few, many = sweep(1), sweep(1 + jobs)
    print(f"sweep of one job     {few:8.2f} s beside its training")
    print(
        f"each job more        {1e3 * (many - few) / jobs:8.1f} ms beside its training, Hydra's composing "
        "included"
    )


if __name__ == "__main__":
    main()
