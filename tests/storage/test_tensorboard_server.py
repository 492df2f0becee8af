"""TensorBoard itself, asked over HTTP for what a run has left; every setting has one type in its table."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from types import UnionType
from typing import Annotated, Literal, Union, get_args, get_origin
from urllib.error import URLError

import pytest

from pgrun.config.schema import GROUPS, find_class, setting_kinds
from pgrun.config.settings import Diagnostics, Logger, RunSettings, Trainer
from pgrun.envs import EnvSettings
from pgrun.storage.tensorboard_experiment import NUMBER_OR_AUTO
from tests.helpers.support_log import METHODS, rows


def ask(url: str, body: dict | None = None) -> dict:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


@pytest.fixture
def board(finished, tmp_path: Path):
    """The address of a TensorBoard that shows the ppo and the reinforce run, and no other test's."""
    for algo in ("ppo", "reinforce"):
        run = finished(algo)[0]
        shutil.copytree(run, tmp_path / run.name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(tmp_path), "--host", "127.0.0.1"]
    server = subprocess.Popen(
        [*command, "--port", str(port), "--load_fast", "false"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield f"http://127.0.0.1:{port}/data"
    server.terminate()
    server.wait(timeout=10)


def finished_runs(board: str) -> set[str]:
    """Those whose last record, that the run succeeded, has been read."""
    request = {"experimentName": "", "startIndex": 0, "sliceSize": 100, "allowedStatuses": ["STATUS_SUCCESS"]}
    groups = ask(f"{board}/plugin/hparams/session_groups", request).get("sessionGroups", [])
    return {session["name"] for one in groups for session in one["sessions"]}


def shown(board: str, runs: int, seconds: float = 120) -> set[str]:
    """The runs that it shows, once there are so many: the server needs a moment to start, and to read."""
    actual: set[str] = set()
    deadline = time.monotonic() + seconds
    while len(actual) < runs and time.monotonic() < deadline:
        time.sleep(0.3)
        with suppress(URLError, ConnectionError):
            actual = finished_runs(board)
    return actual


def test_tensorboard_shows_scalars_and_hyperparameters(finished, board: str) -> None:
    names = {algo: finished(algo)[0].name for algo in ("ppo", "reinforce")}
    assert shown(board, len(names)) == set(names.values()), "the runs themselves, no sub-runs"
    tags = ask(f"{board}/plugin/scalars/tags")
    for algo, name in names.items():
        assert set(tags[name]) == METHODS[algo][1]
    points = ask(f"{board}/plugin/scalars/scalars?run={names['ppo']}&tag=kl/old_new")
    assert [step for _, step, _ in points] == [
        int(r["env_steps"]) for r in rows(finished("ppo")[0]) if r["kl/old_new"]
    ]
    experiment = ask(f"{board}/plugin/hparams/experiment", {"experimentName": ""})
    known = {info["name"] for info in experiment["hparamInfos"]}
    assert {"algo.name", "variance.name", "gamma"} <= known
    check_sorting_and_filters(board, experiment)
    layout = ask(f"{board}/plugin/custom_scalars/layout")
    assert [category["title"] for category in layout["category"]][:2] == ["returns", "gradient"]
    titles = [chart["title"] for chart in layout["category"][0]["chart"]]
    assert len(titles) == len(set(titles)) == 6, "charts that two runs have are there once"
    assert ask(f"{board}/plugin/text/tags") == {name: ["run"] for name in names.values()}


def check_sorting_and_filters(board: str, experiment: dict) -> None:
    """By a setting that is 0.5 in one run and null in the other: text and numbers in
    one column cannot be sorted.
    """
    column = "optimizer.max_grad_norm"
    (kind,) = {info["type"] for info in experiment["hparamInfos"] if info["name"] == column}
    assert kind == "DATA_TYPE_FLOAT64"
    for order in ("ORDER_ASC", "ORDER_DESC"):
        assert len(session_groups(board, {"hparam": column, "order": order})) == 2
    in_range = {"hparam": column, "filterInterval": {"minValue": 0.1, "maxValue": 1}}
    assert len(session_groups(board, in_range)) == 2, "missing values pass, unless they are left out"
    (actual,) = session_groups(board, {**in_range, "excludeMissingValues": True})
    assert actual["hparams"][column] == 0.5


def session_groups(board: str, column: dict) -> list[dict]:
    request = {"experimentName": "", "startIndex": 0, "sliceSize": 100, "allowedStatuses": ["STATUS_SUCCESS"]}
    return ask(f"{board}/plugin/hparams/session_groups", {**request, "colParams": [column]})["sessionGroups"]


def test_every_setting_has_one_type_in_hparams() -> None:
    """Whatever the run: a number, a switch or text, and nothing where it is null."""
    for cls in (RunSettings, Trainer, Diagnostics, Logger, EnvSettings, *map(option, options())):
        for name, annotation in setting_kinds(cls).items():
            types = column_types(annotation)
            if (name if cls is RunSettings else f"{cls.__name__.lower()}.{name}") in NUMBER_OR_AUTO:
                types -= {"text"}
            assert len(types) == 1, (cls, name)


def options() -> list[tuple[str, str]]:
    conf = Path(__file__).parents[2] / "conf"
    return [(group, path.stem) for group in GROUPS for path in sorted((conf / group).glob("*.yaml"))]


def option(named: tuple[str, str]) -> type:
    return find_class(*named)


def column_types(annotation) -> set[str]:
    """Of what a setting may be, null aside; lists are text."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return column_types(args[0])
    if origin in (Union, UnionType):
        return set.union(*(column_types(arg) for arg in args if arg is not type(None)))
    if origin is Literal:
        return set.union(*(column_types(type(choice)) for choice in args))
    return {{bool: "switch", int: "number", float: "number"}.get(annotation, "text")}
