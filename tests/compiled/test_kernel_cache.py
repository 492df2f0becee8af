"""Machine code on disk: made anew when any file of the package has changed, and not needed."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("numba")

import numba
from numba.core import caching

from pgrun.kernels import is_available, jit
from pgrun.kernels.collecting import collect_rows
from pgrun.kernels.columns import advance_columns


def twice(x):
    return 2 * x


def test_where_nothing_can_be_written_it_is_compiled_in_every_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(locator: object) -> None:
        raise OSError("read-only")

    monkeypatch.setattr(caching._CacheLocator, "ensure_cache_path", refuse)
    actual = jit.kernel()(twice)
    assert actual(3) == 6
    assert isinstance(actual._cache, caching.NullCache)


def test_a_change_in_any_file_of_the_package_counts() -> None:
    """numba itself looks at the file of the function alone, and what it calls stands elsewhere."""
    assert is_available()
    for kernel in (collect_rows, advance_columns):
        assert kernel._cache._cache_file._source_stamp == jit.SOURCES


def test_code_on_disk_is_read_without_numbas_declarations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a compilation needs them, and they take a second to declare."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    first = jit.kernel()(twice)
    assert first(3) == 6

    def refuse(context: object) -> None:
        raise AssertionError

    monkeypatch.setattr(type(first.targetctx), "refresh", refuse)
    again = jit.kernel()(twice)
    assert again(3) == 6
    assert (again.stats.cache_hits.total(), again.stats.cache_misses.total()) == (1, 0)
    with pytest.raises(AssertionError):
        again(3.0)  # compiled
