"""Machine code on disk: made anew when any file of the package has changed, and not needed."""

from __future__ import annotations

import errno
import importlib.util
import multiprocessing
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numba")

import numba
import numpy as np
from numba.core import caching

from pgrun.kernels import is_available, jit, stored_code
from pgrun.kernels.collecting import collect_rows
from pgrun.kernels.columns import advance_columns
from pgrun.kernels.compilation import listening_to_compilations
from pgrun.training.progress import telling_compilations
from tests.helpers.support_fork import forked


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
        assert kernel._cache._cache_file._source_stamp == stored_code.SOURCES


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


PRODUCT = """
import numpy as np
from pgrun.kernels.mlp import fill_activations
x, w = np.ones((64, 32), np.float32), np.full((48, 32), 0.5, np.float32)
y = np.zeros(64 * 48, np.float32)
fill_activations((w.reshape(-1), np.array([32, 48]), 0, False), x, y)
"""
LOADED = """
import sys
print(y.min(), y.max(), "scipy.linalg" in sys.modules, "numba.np.arraymath" in sys.modules)
import scipy.linalg
print(scipy.linalg.solve(np.eye(2), np.ones(2)).tolist())
"""


def test_a_product_by_code_on_disk_loads_nothing_that_only_a_compilation_needs() -> None:
    """SciPy's linear algebra and numba's own declarations take half a second; who wants the former has it."""
    exec(PRODUCT, {})  # compiled, where it is not on disk
    words = [sys.executable, "-c", PRODUCT + LOADED]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["16.0", "16.0", "False", "False", "[1.0,", "1.0]"]


CHAIN = """
from pgrun.kernels.jit import kernel

@kernel()
def double(x):
    return 2 * x

@kernel()
def quadruple(x):
    return double(double(x))
"""


@pytest.fixture
def chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of two kernels of which one calls the other, nothing of it on disk."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "chain", None)  # and away with it afterwards
    path = tmp_path / "chain.py"
    path.write_text(CHAIN)
    return path


def load_kernels(path: Path) -> Any:
    """As a new process would have them."""
    spec = importlib.util.spec_from_file_location("chain", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["chain"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def count_compiled(kernels: Any) -> tuple[int, int]:
    """How many of the two this process had to compile, each."""
    return kernels.double.stats.cache_misses.total(), kernels.quadruple.stats.cache_misses.total()


def test_a_kernel_calls_another_one_where_it_lies(chain: Path) -> None:
    assert load_kernels(chain).double(3) == 6
    for compiled in (1, 0):
        again = load_kernels(chain)
        assert again.quadruple(3) == 12
        assert count_compiled(again) == (0, compiled)
        if compiled:
            (code,) = again.quadruple.overloads.values()
            (declared,) = [f for f in code.library._final_module.functions if "double" in f.name]
            assert declared.is_declaration


def test_one_that_was_compiled_anew_is_found_by_its_callers(
    chain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its new symbol: with the old one a new process would end at once."""
    assert load_kernels(chain).quadruple(3) == 12
    for path in chain.parent.rglob("chain.double*"):
        path.unlink()
    monkeypatch.setattr(stored_code, "IN_MEMORY", {})
    again = load_kernels(chain)
    assert again.double(3) == 6
    assert again.quadruple(3) == 12
    assert count_compiled(again) == (1, 1)
    once_more = load_kernels(chain)
    assert once_more.quadruple(3) == 12
    assert count_compiled(once_more) == (0, 0)


def test_a_full_disk_leaves_no_code_of_other_sources(chain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """numba writes the index first: it says that the old file is of the new sources."""
    assert load_kernels(chain).double(3) == 6

    def refuse(*_given: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    chain.write_text(CHAIN.replace("2 * x", "10 * x"))
    with monkeypatch.context() as full:
        full.setattr(stored_code, "SOURCES", "other sources")
        full.setattr(caching.IndexDataCacheFile, "_save_data", refuse)
        assert load_kernels(chain).double(3) == 30, "without a file"
        full.undo()
        full.setattr(stored_code, "SOURCES", "other sources")
        assert load_kernels(chain).double(3) == 30, "not the file of before"


@pytest.mark.parametrize("content", [b"", b"\x80\x05cut"])
def test_a_damaged_file_is_made_again(content: bytes, chain: Path) -> None:
    assert load_kernels(chain).double(3) == 6
    (path,) = chain.parent.rglob("chain.double*.nbc")
    path.write_bytes(content)
    assert load_kernels(chain).double(3) == 6
    assert len(path.read_bytes()) > 1000


def test_compilations_are_heard_of_and_reading_is_not(chain: Path) -> None:
    heard: list[str] = []
    calls = (partial(heard.append, word) for word in ("begin", "advance", "end"))
    with listening_to_compilations(*calls):
        load_kernels(chain).quadruple(3)
        assert heard == ["begin", "advance", "advance", "end"]  # double is a part of it
        load_kernels(chain).quadruple(3)
        assert len(heard) == 4
        load_kernels(chain).quadruple(3.0)
    assert heard[4:] == ["begin", "advance", "advance", "end"]
    load_kernels(chain).quadruple(np.float32(3))
    assert len(heard) == 8


def test_a_run_says_once_that_it_compiles(chain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for backend, lines in (("compiled", 1), ("torch", 0)):
        own = load_kernels(chain)
        with telling_compilations(backend, shown=True):
            own.quadruple(3 if lines else np.int32(3))
            own.quadruple(3.0 if lines else np.float32(3))
        assert sum(count_compiled(own)) == 4
        assert capsys.readouterr().out.count("compiling the core for this machine") == lines


def test_a_child_compiles_what_its_parent_has_declared(chain: Path) -> None:
    """So do the jobs of a sweep, whose server has imported everything."""
    own = load_kernels(chain)
    assert forked(lambda: int(own.quadruple(3))).code == 12
    assert own.quadruple(3) == 12
    assert count_compiled(own) == (0, 0)


def test_of_two_processes_one_compiles(chain: Path) -> None:
    """The other one waits, and has its code."""
    fork = multiprocessing.get_context("fork")
    both, told = fork.Barrier(2), fork.SimpleQueue()

    def compute() -> None:
        own = load_kernels(chain)
        both.wait(60)
        told.put((own.quadruple(3), own.quadruple.stats.cache_misses.total()))

    processes = [fork.Process(target=compute) for _ in range(2)]
    for one in processes:
        one.start()
    for one in processes:
        one.join(60)
    assert [one.exitcode for one in processes] == [0, 0]
    assert sorted(told.get() for _ in processes) == [(12, 0), (12, 1)]
