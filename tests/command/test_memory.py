"""Memory: limits of machine, process and container are looked at before; its lack is one sentence."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import pgrun.training.loop as training
from pgrun.command.memory import memory_limit
from pgrun.errors import describe_lack_of_memory
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import QUICK, pgrun

WORDS = f"algo=a2c network.hidden=[4] {QUICK} hydra.run.dir=r"


@pytest.mark.parametrize("name", ["memory.max", "memory/memory.limit_in_bytes"])
def test_the_least_of_machine_and_container(name: str, tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    machine = memory_limit(tmp_path)
    assert machine[1] == "this machine has"
    (tmp_path / name).write_text("max\n")
    assert memory_limit(tmp_path) == machine
    (tmp_path / name).write_text("1000000\n")
    assert memory_limit(tmp_path) == (1e6, "this container may have")


def test_a_limit_of_the_process_refuses_what_is_above_it(tmp_path: Path) -> None:
    """``ulimit -v`` of 8 GB, and a buffer of 40: said before anything is there."""
    code = "from pgrun.cli.main import main; main()"
    words = ["algo=a2c", "env.num_envs=8", "sampler.steps=100000000", "trainer.total_steps=1000000000"]
    limit = 8_000_000_000
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert done.returncode == 2
    assert "and this process may have (ulimit) 8 GB: take less" in done.stderr
    assert list(tmp_path.iterdir()) == []


def allocate_too_much(*_: object) -> None:
    torch.empty(10**16)


def test_torch_without_memory_is_one_sentence_and_the_run_goes_on_elsewhere(
    here: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(training, "update_from_rollout", allocate_too_much)
        told = pgrun(WORDS)
    assert told.code == 1
    assert told.err.startswith("pgrun: out of memory: you tried to allocate 40000000000000000 bytes")
    assert "pgrun resume=r goes on where there is more" in told.err
    assert "Traceback" not in told.err
    assert json.loads((here / "r/summary.json").read_text())["status"] == "failed"
    assert pgrun("resume=r").code == 0


def test_only_a_lack_of_memory_is_one() -> None:
    assert describe_lack_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None
    assert describe_lack_of_memory(ValueError("can't allocate memory: 5")) is None
    assert describe_lack_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried 2 GiB")) == (
        "out of memory: CUDA out of memory. Tried 2 GiB"
    )
    assert describe_lack_of_memory(MemoryError()) == "out of memory"
