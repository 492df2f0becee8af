"""A run's folder that is deleted, moved or replaced while it trains: what is gone and what is saved is said,
and nothing is written into what stands in its place.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import pgrun.training.loop as training
from pgrun.cli import main as cli
from pgrun.command.app import PGRUN
from pgrun.errors import RunFilesLost
from pgrun.runs.outcome import run_and_record
from pgrun.storage.checkpoint import Checkpoints
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import pgrun
from tests.helpers.support_pipeline import built, settings

WORDS = ("algo=reinforce", "env=CartPole-v1", "backend=torch", "network.hidden=[4]", "sampler.episodes=2")


def train_until(act: Callable[[Path], object], folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a run says whose folder somebody touches before its third update."""
    advance, left = training.collect_and_update, iter(range(2))

    def advance_and_act(*given):
        if next(left, None) is None:
            monkeypatch.setattr(training, "collect_and_update", advance)
            act(folder)
        return advance(*given)

    monkeypatch.setattr(training, "collect_and_update", advance_and_act)
    changes = {"trainer.total_steps": 2000, "trainer.checkpoint_every": 1}
    run = built(*WORDS, **changes)
    with pytest.raises(RunFilesLost) as told:
        run_and_record(
            settings(*WORDS, **changes),
            folder,
            PGRUN,
            lambda *_: training.train_run(run, folder)["env_steps"],
        )
    return str(told.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


def test_a_deleted_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = train_until(shutil.rmtree, folder, monkeypatch)
    assert text.startswith(f"{folder} was deleted while the run trained")
    assert "nothing of the run is saved" in text
    assert not folder.exists()


def test_nothing_is_written_into_a_folder_in_its_place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def replace(place: Path) -> None:
        shutil.copytree(place, place.with_name("copy"))
        shutil.rmtree(place)
        place.with_name("copy").rename(place)

    def contents() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    before: dict[Path, bytes] = {}
    text = train_until(lambda place: (replace(place), before.update(contents())), folder, monkeypatch)
    assert "another folder stands in its place" in text
    assert contents() == before


def test_a_moved_folder_is_named_with_what_is_saved(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = folder.with_name("moved")
    text = train_until(lambda place: place.rename(moved), folder, monkeypatch)
    state, _ = Checkpoints(moved / "checkpoints").load()
    step = state["counters"]["env_steps"]
    assert step > 0
    assert f"it is saved there up to step {step}; to go on: pgrun resume={moved}" in text
    assert not folder.exists()


@pytest.mark.parametrize("replaced", [False, True])
def test_a_deleted_table_of_metrics(replaced: bool, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows go to a file without a name: a resume would miss them."""

    def lose(place: Path) -> None:
        table = place / "metrics.csv"
        content = table.read_bytes()
        table.unlink()
        if replaced:
            table.write_bytes(content)

    text = train_until(lose, folder, monkeypatch)
    assert text.startswith(f"{folder / 'metrics.csv'} was deleted or replaced while the run trained")


def test_started_where_no_folder_is_any_more(
    here: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = here / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    monkeypatch.setenv("PWD", str(gone))
    os.rmdir(gone)
    told = pgrun("seed=1")
    assert (told.code, told.err) == (2, f"pgrun: {gone} no longer exists: cd to a folder that does\n")
    assert cli.run_guarded(lambda: cli.dispatch_command(["--version"]), "pgrun") == 0
