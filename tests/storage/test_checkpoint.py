"""Checkpoints hold the state bit for bit, are complete or absent, and fall back to the one before."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pgrun.atomic_files import write_bytes
from pgrun.storage.checkpoint import Checkpoints
from pgrun.training.build import Run
from tests.helpers.support_pipeline import built
from tests.training.test_state import RUNS, go_on


def same(a: Any, b: Any) -> bool:
    """Equal in type and in every bit."""
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and a.numpy().tobytes() == b.numpy().tobytes()
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return repr(a) == repr(b)


TREE = {
    "tensor": torch.tensor([1.0, -0.0, float("nan"), 1e-45]),
    "double": torch.tensor(0.1, dtype=torch.float64),
    "bytes": torch.arange(5, dtype=torch.uint8),
    "array": np.array([[True, False]]),
    "column": np.arange(6).reshape(2, 3).T,
    "none": None,
    "number": 2**127 + 1,
    "float": 0.1 + 0.2,
    "nothing": float("inf"),
    "nested": {"list": [1, (2.5, "text")], "empty": {}, "dict/with": {"a slash": torch.ones(2)}},
}


def test_a_tree_comes_back_bit_for_bit(tmp_path: Path) -> None:
    Checkpoints(tmp_path / "c").save(7, TREE)
    state, problems = Checkpoints(tmp_path / "c").load()
    assert problems == []
    assert same(state, TREE)
    assert not same({**state, "float": 0.3}, TREE)  # the comparison can fail


@pytest.mark.parametrize("name", RUNS)
def test_a_run_goes_on_from_its_file(name: str, tmp_path: Path) -> None:
    first, second = built(*RUNS[name]), built(*RUNS[name], seed=1)
    go_on(first, 2)
    Checkpoints(tmp_path).save(1, first.state_dict())
    saved = copy.deepcopy(first.state_dict())
    state, _ = Checkpoints(tmp_path).load()
    assert same(state, saved)
    second.load_state_dict(state)
    for run in (first, second):
        go_on(run, 2)
    assert theta(first) == theta(second)


def theta(run: Run) -> bytes:
    return run.policy.theta.numpy().tobytes()


def saved(folder: Path, numbers: range) -> Checkpoints:
    checkpoints = Checkpoints(folder)
    for k in numbers:
        checkpoints.save(k, {"k": k, "x": torch.full((100,), float(k))})
    return checkpoints


def test_two_are_kept(tmp_path: Path) -> None:
    saved(tmp_path, range(5))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{k:09d}.{kind}" for k in (3, 4) for kind in ("json", "safetensors")
    ]


def test_a_future_that_was_given_up_is_forgotten(tmp_path: Path) -> None:
    """After going on from an earlier one, those that could not be read do not count among the two."""
    checkpoints = saved(tmp_path, range(5))
    flip(tmp_path / f"{NEWEST}.safetensors", -3)
    checkpoints.save(3, {"k": 3, "again": True})
    assert [path.stem for path in checkpoints.complete()] == ["000000003"]
    assert checkpoints.load() == ({"k": 3, "again": True}, [])


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


NEWEST = "000000004"
DAMAGE = {
    "a flipped bit of the data": lambda d: flip(d / f"{NEWEST}.safetensors", -3),
    "a flipped bit of the header": lambda d: flip(d / f"{NEWEST}.safetensors", 2),
    "cut": lambda d: os.truncate(d / f"{NEWEST}.safetensors", 100),
    "empty": lambda d: os.truncate(d / f"{NEWEST}.safetensors", 0),
    "gone": lambda d: (d / f"{NEWEST}.safetensors").unlink(),
    "no manifest": lambda d: (d / f"{NEWEST}.json").unlink(),
    "a cut manifest": lambda d: os.truncate(d / f"{NEWEST}.json", 10),
    "a manifest that is no object": lambda d: (d / f"{NEWEST}.json").write_text("[1]"),
    "another format": lambda d: (d / f"{NEWEST}.json").write_text('{"format": 99}'),
    "a directory": lambda d: ((d / f"{NEWEST}.json").unlink(), (d / f"{NEWEST}.json").mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_one_gives_way_to_the_one_before(damage: str, tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, range(5))
    DAMAGE[damage](tmp_path)
    state, problems = checkpoints.load()
    assert state["k"] == 3
    assert len(problems) == (0 if damage == "no manifest" else 1)


def damaged(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Each byte with one bit turned, in turn the others of the eight; each beginning; one byte more."""
    for at in range(len(content)):
        yield (
            f"bit {at % 8} of byte {at}",
            content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :],
        )
        yield f"the first {at} bytes", content[:at]
    yield "one byte more", content + b" "


@pytest.mark.parametrize("ending", ["json", "safetensors"])
def test_no_bit_and_no_cut_makes_another_state(ending: str, tmp_path: Path) -> None:
    """What is loaded is the newest state, where the change does not matter, or the one before."""
    checkpoints = saved(tmp_path, range(5))
    place = tmp_path / f"{NEWEST}.{ending}"
    whole = place.read_bytes()
    newest, taken = checkpoints.load()[0], []
    for where, content in damaged(whole):
        place.write_bytes(content)
        state, problems = checkpoints.load()
        assert same(state, newest) if not problems else state["k"] == 3, where
        taken.append(not problems)
    assert len(taken) == 2 * len(whole) + 1
    assert sum(taken) == 0 or ending == "json", "the number of steps, white space"


def test_none_left_is_said(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, range(2))
    for path in tmp_path.glob("*.safetensors"):
        os.truncate(path, 50)
    with pytest.raises(LookupError, match=r"000000001.safetensors.*000000000.safetensors"):
        checkpoints.load()
    with pytest.raises(LookupError, match="no checkpoint"):
        Checkpoints(tmp_path / "nowhere").load()


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failing_disk_leaves_the_one_before(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = saved(tmp_path, range(3))
    before = sorted(tmp_path.iterdir())

    def fails(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os if call == "fsync" else Path, call, fails)
        with pytest.raises(OSError, match="No space"):
            checkpoints.save(9, {"k": 9})
    assert sorted(tmp_path.iterdir()) == before
    assert checkpoints.load()[0]["k"] == 2


def test_what_cannot_be_saved_is_named(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="/a/0: object cannot be saved"):
        Checkpoints(tmp_path).save(1, {"a": [object()]})


def test_remains_of_a_kill_are_cleared_by_the_next(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, range(3))
    (tmp_path / ".000000003.safetensors.part").write_bytes(b"half")
    (tmp_path / "000000003.safetensors").write_bytes(b"without a manifest")
    assert checkpoints.load()[0]["k"] == 2
    checkpoints.save(4, {"k": 4})
    assert {path.stem for path in tmp_path.iterdir()} == {"000000002", "000000004"}


def test_a_manifest_is_plain_json(tmp_path: Path) -> None:
    saved(tmp_path, range(1))
    told = json.loads((tmp_path / "000000000.json").read_text())
    assert told["env_steps"] == 0
    assert told["size"] == (tmp_path / "000000000.safetensors").stat().st_size


def test_write_replaces_the_whole_file(tmp_path: Path) -> None:
    write_bytes(tmp_path / "f", b"long content")
    write_bytes(tmp_path / "f", b"short")
    assert (tmp_path / "f").read_bytes() == b"short"
