"""``benchmarks/cuda_speed.py`` runs: its smoke mode, on the CPU."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_the_smoke_mode_prints_its_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And without a card the real one says what it needs."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = spec_from_file_location("cuda_benchmark", BENCHMARKS / "cuda_speed.py")
    assert spec is not None
    assert spec.loader is not None
    benchmark = module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    monkeypatch.setattr(sys, "argv", ["cuda_speed.py", "--smoke"])
    benchmark.main()
    title, head, *lines = capsys.readouterr().out.splitlines()
    assert "no figure" in title
    assert head.split()[-4:] == ["eager", "graphs", "ratio", "limit"]
    assert [line.split()[0] for line in lines] == ["2", "4"]
    monkeypatch.setattr(benchmark.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["cuda_speed.py"])
    with pytest.raises(SystemExit) as ended:
        benchmark.main()
    assert ended.value.code == 2
    assert "torch's CUDA build" in capsys.readouterr().err


def test_no_script_has_the_name_of_a_package() -> None:
    """Python looks beside a script first: a ``cuda.py`` there would be what torch imports as ``cuda``."""
    names = {path.stem for path in BENCHMARKS.glob("*.py")}
    assert not names & {"cuda", "torch", "jax", "numpy", "numba", *sys.stdlib_module_names}
