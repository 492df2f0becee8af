"""Processor campaign: with ``PGRUN_PORTABLE=1`` a run on other processors has the θ that it has here.

    python tests/campaigns/processors.py             PPO on CartPole-v1 and Pendulum-v1, some ten minutes
    python tests/campaigns/processors.py --processors EPYC-Milan
    python tests/campaigns/processors.py --free      the control: without it the processor is heard

The other processors are emulated (QEMU's user mode: Debian's package qemu-user), with their own answers to
CPUID and their own rounding of every instruction; of those without AVX-512, which QEMU does not have. Machine
code of kernels is the same and read from the disk. Exit code 1 where a run has another θ; with ``--free``
where none has.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

QEMU = "qemu-x86_64"
PROCESSORS = ("EPYC-Rome", "EPYC-Milan", "Haswell")
RUNS = {
    "CartPole-v1": ("algo=ppo", "env=CartPole-v1", "trainer.total_steps=1500"),
    "Pendulum-v1": ("algo=ppo", "env=Pendulum-v1", "state_norm=true", "trainer.total_steps=1500"),
}
BRIEF = ("tuned=none", "trainer.eval_episodes=1", "logger.progress=false")


def train(
    words: Sequence[str], folder: Path, portable: bool, emulator: Sequence[str] = ()
) -> tuple[str, str]:
    """(the hash of θ, the processor that is recorded) of a run in a process of its own."""
    done = subprocess.run(
        [*emulator, sys.executable, "-m", "pgrun", *words, *BRIEF, f"hydra.run.dir={folder}"],
        env={**os.environ, "PGRUN_PORTABLE": str(int(portable))},
        cwd=folder.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{' '.join(words)} {' '.join(emulator)}: {done.stderr}")
    summary = json.loads((folder / "summary.json").read_text())
    return summary["params_sha256"], summary["versions"]["processor"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processors", nargs="+", metavar="NAME", default=PROCESSORS)
    parser.add_argument("--envs", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--free", action="store_true", help="without PGRUN_PORTABLE")
    args = parser.parse_args()
    if shutil.which(QEMU) is None:
        sys.exit(f"{QEMU} is needed: Debian's package qemu-user")
    other = 0
    with tempfile.TemporaryDirectory() as place:
        for env in args.envs:
            here, name = train(RUNS[env], Path(place) / env, not args.free)
            print(f"{env}, this processor, recorded as {name}: {here[:12]}", flush=True)
            for processor in args.processors:
                folder = Path(place) / f"{env}-{processor}"
                there, name = train(RUNS[env], folder, not args.free, (QEMU, "-cpu", processor))
                print(f"{env}, {processor}, recorded as {name}: {there[:12]}", flush=True)
                other += there != here
    print(f"{other} of {len(args.envs) * len(args.processors)} with another θ")
    sys.exit(other == 0 if args.free else other > 0)


if __name__ == "__main__":
    main()
