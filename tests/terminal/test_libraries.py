"""``PGRUN_PORTABLE=1``: whatever the processor would choose, the code is that of x86-64-v3."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pgrun.errors import InvalidCommand
from pgrun.storage.versions import installed_versions
from pgrun.terminal import libraries
from pgrun.terminal.libraries import PORTABLE, PROCESSOR_VARIABLES, THREAD_VARIABLES, pin_libraries

pytestmark = pytest.mark.skipif(not libraries.has_avx2(), reason="an x86-64 processor with AVX2 is needed")

MULTIPLY = """
from pgrun.terminal.libraries import pin_libraries
pin_libraries([])
import hashlib, numpy as np
a, b = np.random.default_rng(0).standard_normal((2, 96, 96), np.float32)
from pgrun.storage.versions import installed_versions
print(hashlib.sha256((a @ b).tobytes()).hexdigest(), installed_versions()["processor"])
"""


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """The environment as it was; versions are kept from their first reading on."""
    before = {name: os.environ.get(name) for name in (PORTABLE, *PROCESSOR_VARIABLES, *THREAD_VARIABLES)}
    yield
    for name, value in before.items():
        os.environ.pop(name, None)
        os.environ |= {name: value} if value is not None else {}
    installed_versions.cache_clear()


def multiply_in_a_process(**variables: str) -> list[str]:
    """(the hash of a product of matrices, the processor that is recorded)"""
    done = subprocess.run(
        [sys.executable, "-c", MULTIPLY],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_a_product_is_the_same_whichever_code_a_processor_would_choose() -> None:
    """OpenBLAS's variable stands for another processor; what is set here goes before it."""
    portable, *others = (
        multiply_in_a_process(**{PORTABLE: "1"}, OPENBLAS_CORETYPE=core)
        for core in ("Haswell", "Nehalem", "Zen")
    )
    assert others == [portable, portable]
    assert portable[1] == "x86-64-v3"
    free = multiply_in_a_process(**{PORTABLE: "0"}, OPENBLAS_CORETYPE="Nehalem")
    assert free[0] != portable[0], "the control: such code rounds otherwise"
    assert free[1] != "x86-64-v3"


def test_a_command_is_read_with_it_as_without() -> None:
    """Nothing that a command loads before has chosen its code."""
    words = [sys.executable, "-m", "pgrun", "sampler.steps=0"]
    with_it, without = (
        subprocess.run(words, env={**os.environ, PORTABLE: on}, capture_output=True, text=True, check=False)
        for on in "10"
    )
    assert with_it.stderr == without.stderr
    assert "sampler.steps=0" in with_it.stderr


def test_it_is_refused_where_numpy_has_chosen_already(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PORTABLE, "1")
    with pytest.raises(
        InvalidCommand, match=r"PGRUN_PORTABLE=1: numpy.*, loaded already, chose code for this"
    ):
        pin_libraries([])
    assert PROCESSOR_VARIABLES.keys().isdisjoint(os.environ)


def test_what_was_set_before_it_was_loaded_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a child of such a command, or at the second one of a process."""
    monkeypatch.setenv(PORTABLE, "1")
    os.environ |= PROCESSOR_VARIABLES
    pin_libraries([])


@pytest.mark.parametrize("off", ["", "0"])
def test_it_can_be_off(off: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PORTABLE, off)
    pin_libraries([])
    assert PROCESSOR_VARIABLES.keys().isdisjoint(os.environ)


def test_another_kind_of_processor_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PORTABLE, "1")
    monkeypatch.setattr(libraries.platform, "machine", lambda: "aarch64")
    with pytest.raises(InvalidCommand, match=r"x86-64 processors with AVX2, this one is aarch64: unset it"):
        pin_libraries([])


ROOTS = """
from pgrun.terminal.libraries import pin_libraries
pin_libraries([])
import numpy as np, torch
from pgrun.terminal.portable_torch import set_torch_up
x = 10 * torch.rand(20_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
log = x.float().log()
set_torch_up(1)
assert torch.equal(x.float().log(), log), "actions are drawn with it: no other number"
for y in (x, x.float()):
    assert (y.sqrt().numpy() == np.sqrt(y.numpy())).all()
assert (x.log().numpy() == np.log(x.numpy())).all()
leaf = x.clone().requires_grad_()
(leaf.sqrt() + leaf.log()).sum().backward()
torch.testing.assert_close(leaf.grad, 0.5 / x.sqrt() + 1 / x)
assert torch.tensor([1, 4]).sqrt().tolist() == [1, 2]
assert torch.tensor([1, 4]).log().dtype == torch.float32
assert torch.tensor(4.0).sqrt().shape == ()
assert torch.tensor([-1.0, 0.0]).double().log().isfinite().sum() == 0
every = torch.vmap(torch.sqrt)(x.view(100, 200))
assert torch.equal(every.flatten(), x.sqrt())
"""


def test_roots_and_logarithms_are_those_of_every_processor() -> None:
    """MKL's begin with the processor's own approximation: one root of five in float32 is another number."""
    variables = {**os.environ, PORTABLE: "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ROOTS],
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


SCRIPT = """
import pgrun
words = "algo=npg env=CartPole-v1 tuned=none trainer.total_steps=200 trainer.eval_episodes=1"
run = pgrun.train(words, folder="r", quiet=True)
print(run.summary["versions"]["processor"], run.summary["params_sha256"])
"""


def test_a_script_need_not_know_what_pgrun_loads(tmp_path: Path) -> None:
    """The variable is set before it starts, and pgrun itself loads NumPy: the same run as the command."""
    given: dict[str, Any] = {"env": {**os.environ, PORTABLE: "1"}, "cwd": tmp_path, "text": True}
    line = "algo=npg env=CartPole-v1 tuned=none trainer.total_steps=200 trainer.eval_episodes=1"
    typed = [sys.executable, "-m", "pgrun", *line.split(), "hydra.run.dir=typed"]
    subprocess.run(typed, capture_output=True, check=True, **given)
    done = subprocess.run([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, check=True, **given)
    summary = json.loads((tmp_path / "typed" / "summary.json").read_text())
    assert done.stdout.split() == ["x86-64-v3", summary["params_sha256"]]
