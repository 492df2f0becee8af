"""Processor campaign: with ``PGRUN_PORTABLE=1`` a run on other processors has the θ that it has here.

    python tests/campaigns/processors.py             PPO and TRPO, and torch's functions; some twenty minutes
    python tests/campaigns/processors.py --processors EPYC-Milan
    python tests/campaigns/processors.py --free      the control: without it the processor is heard

torch's functions are told apart, in float32 and float64: those that the emulation rounds otherwise are named,
and must be none that an update takes. The other processors are emulated (QEMU's user mode: Debian's package
qemu-user), with their own answers to CPUID and their own rounding of every instruction; of those without
AVX-512, which QEMU does not have. Machine code of kernels is the same and read from the disk. Exit code 1
where a run has another θ; with ``--free`` where none has.
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
    "CartPole-v1 trpo": ("algo=trpo", "env=CartPole-v1", "trainer.total_steps=3000"),
    "CartPole-v1": ("algo=ppo", "env=CartPole-v1", "trainer.total_steps=1500"),
    "Pendulum-v1": ("algo=ppo", "env=Pendulum-v1", "state_norm=true", "trainer.total_steps=1500"),
}
FUNCTIONS = (
    *(
        "exp",
        "log",
        "log1p",
        "expm1",
        "sqrt",
        "tanh",
        "sigmoid",
        "sin",
        "cos",
        "erf",
        "softplus",
        "logsigmoid",
    ),
    *("log_softmax", "logsumexp", "std", "norm", "atan", "tan"),
)
HASH_FUNCTIONS = """
import hashlib, json, sys
from pgrun.terminal.libraries import pin_libraries
pin_libraries([])
import torch
from pgrun.terminal.portable_torch import set_torch_up
set_torch_up(1)
apply = {
    "softplus": torch.nn.functional.softplus,
    "logsigmoid": torch.nn.functional.logsigmoid,
    "log_softmax": lambda x: x.view(-1, 4).log_softmax(-1),
    "logsumexp": lambda x: x.view(-1, 4).logsumexp(-1),
    "std": lambda x: x.view(-1, 8).std(-1),
    "norm": lambda x: x.view(-1, 8).norm(dim=-1),
}
x = 4 * torch.rand(400_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
def hash_numbers(name, x):
    function = apply.get(name) or getattr(torch, name)
    return hashlib.sha256(function(x).numpy().tobytes()).hexdigest()
kinds = ("float32", x.float()), ("float64", x)
print(json.dumps({f"{name} {kind}": hash_numbers(name, x) for kind, x in kinds for name in sys.argv[1:]}))
"""
BY_PROCESSOR = ("atan", "tan")  # which no update takes
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


def hash_functions(portable: bool, emulator: Sequence[str] = ()) -> dict[str, str]:
    """Each function's numbers, in a process of its own."""
    done = subprocess.run(
        [*emulator, sys.executable, "-c", HASH_FUNCTIONS, *FUNCTIONS],
        env={**os.environ, "PGRUN_PORTABLE": str(int(portable))},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout))


def compare_functions(portable: bool, processors: Sequence[str]) -> int:
    """How many functions that an update takes are other ones on some of the processors."""
    here, found = hash_functions(portable), set[str]()
    for processor in processors:
        there = hash_functions(portable, (QEMU, "-cpu", processor))
        different = {name for name in here if here[name] != there[name]}
        print(f"functions, {processor}: {', '.join(sorted(different)) or 'all the same'}", flush=True)
        found |= {name for name in different if name.split()[0] not in BY_PROCESSOR}
    return len(found)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processors", nargs="+", metavar="NAME", default=PROCESSORS)
    parser.add_argument("--runs", nargs="*", choices=RUNS, default=list(RUNS))
    parser.add_argument("--free", action="store_true", help="without PGRUN_PORTABLE")
    args = parser.parse_args()
    if shutil.which(QEMU) is None:
        sys.exit(f"{QEMU} is needed: Debian's package qemu-user")
    other = compare_functions(not args.free, args.processors)
    with tempfile.TemporaryDirectory() as place:
        for run in args.runs:
            here, name = train(RUNS[run], Path(place) / run, not args.free)
            print(f"{run}, this processor, recorded as {name}: {here[:12]}", flush=True)
            for processor in args.processors:
                folder = Path(place) / f"{run}-{processor}"
                there, name = train(RUNS[run], folder, not args.free, (QEMU, "-cpu", processor))
                print(f"{run}, {processor}, recorded as {name}: {there[:12]}", flush=True)
                other += there != here
    print(f"{other} functions and runs are other ones")
    sys.exit(other == 0 if args.free else other > 0)


if __name__ == "__main__":
    main()
