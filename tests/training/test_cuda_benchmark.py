"""``benchmarks/cuda_speed.py`` runs: its smoke mode, on the CPU."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = spec_from_file_location("cuda_benchmark", BENCHMARKS / "cuda_speed.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tables(text: str) -> list[list[list[str]]]:
    """The words of each line below the title, table by table."""
    return [[line.split() for line in table.splitlines()] for table in text.partition("\n")[2].split("\n\n")]


def test_the_smoke_mode_prints_its_tables(
    benchmark: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And without a card the real one says what it needs."""
    monkeypatch.setattr(sys, "argv", ["cuda_speed.py", "--smoke"])
    benchmark.main()
    out = capsys.readouterr().out
    assert "no figure" in out.partition("\n")[0]
    shapes, seeds = tables(out)
    assert shapes[0][-4:] == ["eager", "graphs", "ratio", "limit"]
    assert [line[0] for line in shapes[1:]] == ["2", "4"]
    assert [line[0] for line in seeds] == ["seeds", "1", "2"]
    assert float(seeds[1][2]) == 1.0
    monkeypatch.setattr(benchmark.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["cuda_speed.py"])
    with pytest.raises(SystemExit) as ended:
        benchmark.main()
    assert ended.value.code == 2
    assert "torch's CUDA build" in capsys.readouterr().err


def test_with_a_card_it_says_which(
    benchmark: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The path of a card, to its last line, on a pretended one whose tensors are the CPU's."""
    make_settings, cuda = benchmark.make_settings, benchmark.torch.cuda
    waited = []
    monkeypatch.setattr(cuda, "is_available", lambda: True)
    monkeypatch.setattr(cuda, "get_device_name", lambda: "a pretended card")
    monkeypatch.setattr(cuda, "synchronize", lambda: waited.append(1))
    monkeypatch.setattr(
        benchmark,
        "make_settings",
        lambda columns, steps, _, *more: make_settings(columns, steps, "cpu", *more),
    )
    monkeypatch.setattr(benchmark, "SHAPES", [(2, 4)])
    monkeypatch.setattr(benchmark, "SEEDS", [2])
    monkeypatch.setattr(benchmark, "SEED_SHAPE", (2, 4))
    monkeypatch.setattr(sys, "argv", ["cuda_speed.py", "--seconds", "0.01"])
    benchmark.main()
    out = capsys.readouterr().out
    assert "a pretended card" in out.partition("\n")[0]
    assert [len(table) for table in tables(out)] == [2, 2]
    assert len(waited) == 6


def test_no_script_has_the_name_of_a_package() -> None:
    """Python looks beside a script first: a ``cuda.py`` there would be what torch imports as ``cuda``."""
    names = {path.stem for path in BENCHMARKS.glob("*.py")}
    assert not names & {"cuda", "torch", "jax", "numpy", "numba", *sys.stdlib_module_names}
