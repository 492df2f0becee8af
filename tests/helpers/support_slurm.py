"""As much of Slurm as submitit talks to, on this machine: sbatch runs an array's jobs at once, scontrol
queues one again.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

SBATCH = """
cp "$1" "$SLURM_FAKE/script"
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\)%.*/\\1/p' "$1")
for n in $(seq 0 "$last"); do
    export SLURM_JOB_ID=7$n SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_ID=$n
    (while true; do
        echo . >> "$SLURM_FAKE/starts-$n"
        bash "$SLURM_FAKE/script"
        [ -e "$SLURM_FAKE/again-7_$n" ] || break
        rm "$SLURM_FAKE/again-7_$n"
    done) > /dev/null 2>&1 &
done
echo "Submitted batch job 7"
"""
SRUN = """
while true; do case "$1" in
    --unbuffered) shift ;;
    --output) out="${2//%j/${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}"; shift 2 ;;
    --error) err="${2//%j/${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}"; shift 2 ;;
    *) break ;;
esac; done
echo $$ > "$SLURM_FAKE/pid-$SLURM_ARRAY_TASK_ID"
exec "$@" >> "$SLURM_FAKE/log" 2>&1
"""
SCONTROL = """
case "$1" in
    show) [ -e "$SLURM_FAKE/again-7_$SLURM_ARRAY_TASK_ID" ] && echo "JobId=$3 Restarts=1" ;;
    *) touch "$SLURM_FAKE/again-$2" ;;
esac
"""
SACCT = 'echo "JobID|State|NodeList"; echo "7_[0-9]|RUNNING|here"'


def pretend(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands on the PATH; the folder in which they leave what they saw."""
    fake = folder / "slurm"
    fake.mkdir()
    for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("scontrol", SCONTROL), ("sacct", SACCT)):
        path = fake / name
        path.write_text(f"#!/bin/bash\n{text}")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_FAKE", str(fake))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *filter(None, sys.path)]))
    return fake
