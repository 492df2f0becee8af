"""Fixtures for tests that call the command line in this process."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from functools import partial
from multiprocessing import util
from pathlib import Path

import pytest
import torch
from gymnasium import registry

from pgrun.runs import sweep
from tests.helpers.support_cli import users_own
from tests.helpers.support_fork import fork_server


@pytest.fixture
def sweep_pages() -> None:
    """Asked for by tests ``here`` whose sweeps write their page."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Path]:
    """An empty current folder with the user's module in it, and the process as it was afterwards.

    Where a test is the first to need a server of children, that is forked. Sweeps write no page where the
    test does not ask for ``sweep_pages``: it is a third of their time.
    """
    if "sweep_pages" not in request.fixturenames:
        monkeypatch.setattr(sweep, "write_sweep_page", lambda *_: None)
    monkeypatch.setattr(util, "spawnv_passfds", partial(fork_server, util.spawnv_passfds))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    users_own(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "HYDRA_FULL_ERROR"):
        monkeypatch.setenv(name, os.environ.get(name, "1"))
    monkeypatch.delenv("PGRUN_DEBUG", raising=False)
    grad, threads, handlers = torch.is_grad_enabled(), torch.get_num_threads(), logging.root.handlers[:]
    yield tmp_path / "here"
    torch.set_grad_enabled(grad)
    torch.set_num_threads(threads)
    logging.root.handlers[:] = handlers
    if sys.modules.pop("my_mod", None):
        for name in ("Line-v0", "space/Line-v0", "Whole-v0", "Refusing-v0"):
            registry.pop(name, None)
