"""Trackers beside TensorBoard: the same scalars, one run across resumes, and none of them ends a run."""

from __future__ import annotations

import csv
import json
import logging
import math
import random
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from pgrun.storage.trackers import base
from pgrun.storage.trackers.base import RECORD, TrackedRun, Trackers, find_missing_trackers
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import pgrun
from tests.helpers.support_pipeline import trained
from tests.helpers.support_wandb import read_offline_run

STEPS = "trainer.total_steps=300"
WORDS = ("algo=reinforce", "env=CartPole-v1", "backend=torch", STEPS, "logger.every=1", "sampler.episodes=2")


class Fake:
    """Notes what it is told, draws from every global generator, and fails where ``fails`` says so."""

    made: ClassVar[list[Fake]] = []
    fails: ClassVar[str | None] = None

    def __init__(self, told: TrackedRun):
        self.told, self.rows, self.ended = told, list[tuple[int, dict[str, float]]](), list[bool]()
        self.run_id = told.known_as or base.make_run_id()
        Fake.made.append(self)
        self.act("start")

    def act(self, what: str) -> None:
        random.random(), np.random.random(), torch.rand(())
        if Fake.fails == what:
            raise SystemExit(3) if what == "close" else ConnectionError("no\x1b network\nhere")

    def add_row(self, env_steps: int, scalars: Any) -> None:
        self.rows.append((env_steps, dict(scalars)))
        self.act("row")

    def close(self, ok: bool) -> None:
        self.ended.append(ok)
        self.act("close")


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    Fake.made, Fake.fails = [], None
    if "slow" not in request.keywords:
        monkeypatch.setitem(base.CLASSES, "wandb", f"{__name__}:Fake")


def rows_of(folder: Path) -> list[tuple[int, dict[str, float]]]:
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [
        (int(row.pop("env_steps")), {tag: float(cell) for tag, cell in row.items() if cell != ""})
        for row in rows
    ]


def test_a_tracker_gets_the_scalars_of_the_table(tmp_path: Path) -> None:
    trained(tmp_path, *WORDS, "logger.also=[wandb]", "logger.project=mine")
    (one,) = Fake.made
    assert one.rows == rows_of(tmp_path)
    assert len(one.rows) > 1
    assert one.ended == [True]
    assert (one.told.project, one.told.settings["algo"]["name"]) == ("mine", "reinforce")
    assert json.loads((tmp_path / RECORD).read_text()) == {"wandb": one.run_id}


@pytest.mark.parametrize("fails", ["start", "row", "close", None])
def test_a_tracker_that_fails_ends_nothing(
    fails: str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Fake.fails = fails
    (tmp_path / "alone").mkdir()
    (tmp_path / "followed").mkdir()
    _, alone = trained(tmp_path / "alone", *WORDS)
    with caplog.at_level(logging.WARNING, logger="pgrun"):
        _, followed = trained(tmp_path / "followed", *WORDS, "logger.also=[wandb]")
    assert followed["params_sha256"] == alone["params_sha256"]
    rows = rows_of(tmp_path / "followed")
    assert len(rows) == len(rows_of(tmp_path / "alone"))
    said = [record.getMessage() for record in caplog.records if "wandb failed" in record.getMessage()]
    assert len(said) == (fails is not None)
    assert all("\n" not in text and "\x1b" not in text for text in said)
    assert len(Fake.made[0].rows) == {"start": 0, "row": 1}.get(str(fails), len(rows))


def test_the_generators_of_the_process_stay_what_they_were(tmp_path: Path) -> None:
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    trackers = Trackers(tmp_path, ["wandb"])
    trackers.add_row(1, {})
    trackers.close(True)
    after = random.random(), float(np.random.random()), float(torch.rand(()))
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    assert after == (random.random(), float(np.random.random()), float(torch.rand(())))


def test_a_resumed_run_is_the_same_run_of_the_tracker(tmp_path: Path) -> None:
    for _ in range(2):
        Trackers(tmp_path, ["wandb"]).close(False)
    first, second = Fake.made
    assert first.told.known_as is None
    assert second.told.known_as == first.run_id == second.run_id


@pytest.mark.parametrize("content", ["", "[]", '{"wandb": 3}', '{"wandb": "../../up"}', "{"])
def test_a_record_that_is_none_is_said(
    content: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / RECORD).write_text(content)
    Trackers(tmp_path, ["wandb"]).close(True)
    assert Fake.made[0].told.known_as is None
    assert f"{RECORD} cannot be read" in caplog.text
    assert json.loads((tmp_path / RECORD).read_text()) == {"wandb": Fake.made[0].run_id}


def test_without_trackers_nothing_is_written(tmp_path: Path) -> None:
    Trackers(tmp_path).close(True)
    assert not list(tmp_path.iterdir())


def test_a_missing_extra_is_named(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(base, "find_spec", lambda name: None)
    answer = pgrun("algo=reinforce logger.also=[wandb,mlflow]")
    assert answer.code == 2
    for extra in ("wandb", "mlflow"):
        assert f'logger.also=[{extra}]: needs the extra "{extra}": pip install "pgrun[{extra}]"' in answer.err
    assert not list(here.iterdir())
    answer = pgrun("algo=reinforce logger.also=[weights]")
    assert (answer.code, "must be one of wandb, mlflow, trackio" in answer.err) == (2, True)


def test_a_folder_of_that_name_is_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wandb").mkdir()
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    monkeypatch.delitem(__import__("sys").modules, "wandb", raising=False)
    assert find_missing_trackers(["wandb"]) == ["wandb"]


def train_twice(folder: Path, tracker: str) -> tuple[list[tuple[int, dict[str, float]]], str]:
    """A run, and more steps of it: (its rows, the id that the tracker knows it by)."""
    words = [word for word in WORDS if word != STEPS]
    line = " ".join([*words, "tuned=none", "trainer.eval_episodes=1", f"logger.also=[{tracker}]"])
    assert pgrun(f"{line} {STEPS} hydra.run.dir={folder}").code == 0
    assert pgrun(f"resume={folder} trainer.total_steps=600").code == 0
    return rows_of(folder), json.loads((folder / RECORD).read_text())[tracker]


def as_table(rows: list[tuple[int, dict[str, float]]]) -> dict[int, dict[str, float]]:
    return dict(rows)


@pytest.mark.slow
def test_wandb_offline_is_read_back(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """With the extra ``wandb``: without it this test fails, and says so."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    rows, run_id = train_twice(here / "run", "wandb")
    parts = sorted(path for path in (here / "run" / "wandb").glob("offline-run-*"))
    assert len(parts) == 2
    got = list[tuple[int, dict[str, float]]]()
    for part in parts:
        known, config, told = read_offline_run(part)
        assert known == run_id
        assert (config["algo"]["name"], config["env"]["id"]) == ("reinforce", "CartPole-v1")
        for row in told:
            scalars = {tag: value for tag, value in row.items() if not tag.startswith("_")}
            got.append((scalars.pop("env_steps"), {t: float(x) for t, x in scalars.items()}))
    assert as_table(got) == as_table(rows)


@pytest.mark.slow
def test_trackio_in_a_folder_is_read_back(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """With the extra ``trackio``: without it this test fails, and says so."""
    monkeypatch.setenv("TRACKIO_DIR", str(here / "store"))
    rows, run_id = train_twice(here / "run", "trackio")
    from trackio.sqlite_storage import SQLiteStorage

    got = SQLiteStorage.get_logs("pgrun", run_id)
    wanted = as_table(rows)
    assert [row["step"] for row in got] == list(wanted)
    for row in got:
        assert {tag: row[tag] for tag in wanted[row["step"]]} == wanted[row["step"]]
    assert SQLiteStorage.get_run_config("pgrun", run_id)["algo.name"] == "reinforce"


@pytest.mark.slow
def test_mlflow_in_a_file_is_read_back(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """With the extra ``mlflow``: without it this test fails, and says so."""
    from mlflow.tracking import MlflowClient

    place = f"sqlite:///{here / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", place)
    rows, run_id = train_twice(here / "run", "mlflow")
    client = MlflowClient(tracking_uri=place)
    run = client.get_run(run_id)
    assert client.get_experiment_by_name("pgrun").experiment_id == run.info.experiment_id
    assert (run.info.status, run.info.run_name) == ("FINISHED", "run")
    assert (run.data.params["algo.name"], run.data.params["gamma"]) == ("reinforce", "0.99")
    table = as_table(rows)
    tags = {tag for scalars in table.values() for tag in scalars}
    assert set(run.data.metrics) == tags
    for tag in tags:
        got = {metric.step: metric.value for metric in client.get_metric_history(run_id, tag)}
        wanted = {steps: scalars[tag] for steps, scalars in table.items() if tag in scalars}
        assert got.keys() == wanted.keys()
        assert all(
            math.isclose(got[steps], wanted[steps], rel_tol=1e-12) for steps in got
        )  # of SQLite's text
