"""Where numba is missing or may keep nothing."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import pgrun.kernels

numba = pytest.importorskip("numba")


def test_available_here_and_not_without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pgrun.kernels.is_available()
    monkeypatch.setitem(sys.modules, "numba", None)
    assert not pgrun.kernels.is_available()
    assert pgrun.kernels.missing_packages() == ["numba"]


def test_kernels_compile_where_nothing_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """No folder that can be written: the code lives as long as the process.

    numba says so when a function is declared.
    """
    from numba.core import caching

    from pgrun.kernels.jit import kernel

    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    monkeypatch.setattr(caching.CompileResultCacheImpl, "_locator_classes", [])

    @kernel()
    def double(x):
        for k in range(x.shape[0]):
            x[k] *= 2

    x = np.ones(3, np.float32)
    double(x)
    assert x.tolist() == [2, 2, 2]
    assert not double.stats.cache_path
