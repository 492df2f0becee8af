"""The first run on a machine, which compiles, has the bits of every later one, which reads machine code.

numba may round otherwise in the two where a kernel reorders sums: acting did, until it reordered none.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")

CODE = """
import json, sys, pgrun
ALGOS = "reinforce a2c ppo ppo_penalty npg trpo online_ac off_policy_pg off_policy_ac euclidean_pg"
SETTINGS = "tuned=none trainer.total_steps=600 trainer.eval_episodes=1 diagnostics.detail=true seed=3"
hashes = {}
for algo in ALGOS.split():
    own = " sampler.warmup=64" if algo == "off_policy_ac" else ""
    for env in ("CartPole-v1", "Pendulum-v1 state_norm=true reward_scaling=true network.activation=relu",
                "CartPole-v1 network.hidden=[8]", "pgrun/LQ1-v0 state_norm=true network.hidden=[8]"):
        folder = f"{sys.argv[1]}/{len(hashes)}"
        words = f"algo={algo} env={env} {SETTINGS}{own} backend=compiled logger.progress=false"
        hashes[f"{algo} {env}"] = pgrun.train(words, folder=folder, quiet=True).summary["params_sha256"]
print(json.dumps(hashes))
"""


def parameter_hashes(folder: Path, cache: Path) -> dict[str, str]:
    """Of one short run of each algorithm and environment, in a process with this cache of machine code."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(folder)],
        cwd=folder.parent,
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    hashes: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return hashes


@pytest.mark.slow
def test_code_read_from_the_cache_gives_the_bits_of_code_just_compiled(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    compiled = parameter_hashes(tmp_path / "first", tmp_path / "cache")
    assert len(compiled) == 40
    assert any((tmp_path / "cache").rglob("*.nbc")), "machine code was kept"
    assert parameter_hashes(tmp_path / "second", tmp_path / "cache") == compiled
