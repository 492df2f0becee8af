"""Bad input of every class: exit code 2, a short paragraph that helps, nothing left behind, and torch never
loaded for it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgrun.errors import LONGEST, MOST, InvalidCommand
from tests.campaigns.refusals import TABLE, WITHOUT_TORCH, prepare, said
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import QUICK, pgrun, users_own
from tests.helpers.support_fork import forked

SHORT = 1500  # characters: two problems, or a full list of options


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the table speaks of."""
    folder = tmp_path_factory.mktemp("prepared")
    prepare(folder)
    users_own(folder)
    (folder / "here").mkdir()
    return folder


@pytest.fixture
def beside(here: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:  # noqa: F811
    """An empty folder among what the table speaks of."""
    monkeypatch.chdir(prepared / "here")
    monkeypatch.setattr(sys, "path", [*sys.path, str(prepared)])
    yield prepared / "here"
    for name in ("bad_mod", "raising_mod", "leaving_mod", "syntax_mod"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("command", TABLE, ids=lambda command: command[:80])
def test_it_is_refused(command: str, beside: Path) -> None:
    told = said(command)
    assert told.code == 2, told.err
    assert told.err.startswith(f"{command.split()[0]}: ")
    for fragment in TABLE[command]:
        assert fragment in told.err
    assert len(told.err) < SHORT
    assert "Traceback" not in told.err
    assert not told.out
    assert not list(beside.iterdir())


def test_the_table_is_long_enough() -> None:
    assert len(TABLE) >= 60


def test_what_is_said_stays_short_and_printable() -> None:
    text = str(InvalidCommand("x" * 10_000 + "\x1b[31m", None, "\n  - y" * 100))
    lines = text.split("\n")
    assert len(lines) == MOST + 1
    assert max(map(len, lines)) <= LONGEST + 3
    assert "\x1b" not in text
    assert lines[-1] == f"  … and {101 - MOST} more"


@pytest.mark.parametrize(
    "damage", ["truncated", "bit-flipped", "foreign", "without its tensors", "empty manifest"]
)
def test_a_damaged_run_is_not_resumed(damage: str, here: Path, finished: Path) -> None:  # noqa: F811
    """Where no checkpoint of it is whole."""
    shutil.copytree(finished, here / "run")
    for manifest in (here / "run" / "checkpoints").glob("*.json"):
        tensors = manifest.with_suffix(".safetensors")
        content = bytearray(tensors.read_bytes())
        if damage == "truncated":
            tensors.write_bytes(content[:-7])
        elif damage == "bit-flipped":
            content[len(content) // 2] ^= 4
            tensors.write_bytes(content)
        elif damage == "foreign":
            manifest.write_text(json.dumps({"weights": [1, 2]}))
        elif damage == "without its tensors":
            tensors.unlink()
        else:
            manifest.write_text("")
    before = sorted(path.name for path in (here / "run").rglob("*"))
    told = pgrun("resume=run")
    assert told.code == 2
    assert told.err.startswith("pgrun: resume=run: nothing to go on from: ")
    assert len(told.err.splitlines()) == 1
    assert len(told.err) < SHORT
    assert sorted(path.name for path in (here / "run").rglob("*")) == before


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory of a short run."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    words = f"algo=a2c network.hidden=[4] {QUICK} hydra.run.dir={folder}"
    assert forked(lambda: pgrun(words).code).code == 0
    return folder


ASKED = """
import sys
sys.path.insert(0, {top!r})
from tests.campaigns.refusals import report
report(sys.argv[1:])
import pgrun.storage.log
import pgrun.training.build
pgrun.training.build.twins_of("torch")
print("numba" in sys.modules, "tensorboard.compat.tensorflow_stub" in sys.modules)
"""


def test_what_is_not_loaded(tmp_path: Path) -> None:
    """No torch for a refusal: of values, names, keys and combinations. One process for all, which then sees
    that a check of the device does load it; and with what a run in torch is made of it has neither numba nor
    a log's stand-in for TensorFlow.
    """
    lines = [*WITHOUT_TORCH, "pgrun device=cuda"]
    code = ASKED.format(top=str(Path(__file__).parents[2]))
    done = subprocess.run(
        [sys.executable, "-c", code, *lines], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    refused, loaded = done.stdout.splitlines()
    assert json.loads(refused) == [[2, False]] * len(WITHOUT_TORCH) + [[2, True]]
    assert loaded == "False False"
