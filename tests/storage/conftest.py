"""Runs that several files look at."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from pgrun.training.build import Run
from tests.helpers.support_log import BRIEF, METHODS
from tests.helpers.support_pipeline import trained


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """algo → (run directory, run, summary), each trained once."""

    @cache
    def once(algo: str) -> tuple[Path, Run, dict]:
        folder = tmp_path_factory.mktemp(algo)
        run, summary = trained(folder, *METHODS[algo][0].split(), *BRIEF.split(), seed=7)
        return folder, run, summary

    return once
