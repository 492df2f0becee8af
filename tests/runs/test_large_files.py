"""Files of a run directory that are huge, or grow when they are read: measured before they are."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from pgrun import atomic_files
from pgrun.analysis.doctor import cli as doctor
from pgrun.analysis.doctor.run_data import read_chart
from pgrun.config.plain_yaml import load_yaml
from pgrun.envs.problems import mdp_file
from pgrun.envs.problems.mdp_file import load_mdp
from pgrun.errors import InvalidCommand
from pgrun.storage.log import Log, cut_log
from pgrun.storage.one_number import read_number
from tests.campaigns.attacks import TABLES
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import answer
from tests.helpers.support_compare import EVALS, compare, make_run

TERABYTE = 2**40


# files of any size

READ = (
    "summary.json",
    "metrics.csv",
    "policy.json",
    "job.json",
    ".hydra/config.yaml",
    ".hydra/overrides.yaml",
)


@pytest.mark.parametrize("size", [TERABYTE, 3 * 2**30])
@pytest.mark.parametrize("name", READ)
def test_a_run_with_a_huge_file_is_left_out_with_a_line(name: str, size: int, tmp_path: Path) -> None:
    make_run(tmp_path / "good", 0, 1.0, rows=EVALS)
    bad = make_run(tmp_path / "bad", 1, 2.0, rows=EVALS)
    (bad / name).touch()
    os.truncate(bad / name, size)
    told = compare(tmp_path, "--scalars", "return/eval", "--export", str(tmp_path / "curves.npz"))
    assert told.code == 0, told
    assert f"bad: {Path(name).name} is larger than" in told.err
    assert "left out" in told.err
    assert len(told.err.splitlines()) == 1
    seen = answer(doctor.main, "pgrun-doctor", str(bad))
    assert (seen.code, "Traceback" in seen.err) == (0, False)


def test_the_bound_is_asked_before_a_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.yaml").write_bytes(b"a" * 100)
    monkeypatch.setitem(atomic_files.LARGEST, ".yaml", 100)
    assert atomic_files.read_bytes(tmp_path / "x.yaml") == b"a" * 100
    monkeypatch.setitem(atomic_files.LARGEST, ".yaml", 99)
    with pytest.raises(atomic_files.TooLarge, match=r"x\.yaml is larger than 99 bytes"):
        atomic_files.read_bytes(tmp_path / "x.yaml")


def test_the_doctor_reads_one_number_of_a_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.numpy import save_file

    tensors = {"theta": np.zeros(1000, np.float32), "obs_count": np.float64(321.0), "z": np.ones(3)}
    save_file({k: np.asarray(x) for k, x in tensors.items()}, tmp_path / "policy.safetensors")
    assert read_number(tmp_path / "policy.safetensors", "obs_count") == 321.0
    with pytest.raises(ValueError, match="no number"):
        read_number(tmp_path / "policy.safetensors", "nothing")
    make_run(tmp_path / "r", 0, 1.0, {"state_norm": True}, rows=EVALS)
    (tmp_path / "policy.safetensors").rename(tmp_path / "r" / "policy.safetensors")
    assert read_chart(tmp_path / "r").seen == 321.0
    os.truncate(tmp_path / "r" / "policy.safetensors", TERABYTE)  # what is behind it is not read
    assert read_chart(tmp_path / "r").seen == 321.0
    os.truncate(tmp_path / "r" / "policy.safetensors", 0)
    os.truncate(tmp_path / "r" / "policy.safetensors", TERABYTE)
    assert read_chart(tmp_path / "r").seen is None


def test_a_log_with_more_than_was_saved_is_copied_and_not_read(tmp_path: Path) -> None:
    log = Log(tmp_path, ["kl/max"])
    log.row(1, {"kl/max": 0.5})
    position = log.position()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    log.close(True)
    for path in tmp_path.iterdir():
        os.truncate(path, TERABYTE)
    cut_log(tmp_path, position)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    os.truncate(tmp_path / "metrics.csv", TERABYTE)
    with pytest.raises(InvalidCommand, match="larger than 16 GiB"):
        cut_log(tmp_path, {**position, "metrics.csv": TERABYTE})


# YAML and arrays


def test_aliases_are_read_as_far_as_they_are_small() -> None:
    assert load_yaml("a: &x [1, 2]\nb: *x\nc: {<<: {d: 1}}") == {"a": [1, 2], "b": [1, 2], "c": {"d": 1}}
    assert len(load_yaml("[" + "1," * 98 + "1]", 100)) == 99
    with pytest.raises(ValueError, match="more than 100 entries"):
        load_yaml("[" + "1," * 99 + "1]", 100)
    with pytest.raises(ValueError, match="more than 100 entries"):
        load_yaml("a: &x [1,2,3,4,5,6,7,8,9]\nb: [*x,*x,*x,*x,*x,*x,*x,*x,*x,*x]", 100)
    with pytest.raises(ValueError, match="of what it is in itself"):
        load_yaml("&a [*a]")


SAID = {
    "merge keys": "with what its aliases stand for",
    "aliases": "with what its aliases stand for",
    "an alias of itself": "of what it is in itself",
    "deep lists": "nested too deeply",
    "a shape of 2^60": "unpacked it is larger than 256 MiB",
    "no archive": "no .npz",
}


@pytest.mark.parametrize("name", SAID)
def test_tables_that_grow_are_refused(name: str, tmp_path: Path) -> None:
    ending, made = TABLES[name]
    (tmp_path / f"t.{ending}").write_bytes(made(tmp_path))
    with pytest.raises(ValueError, match=SAID[name]):
        load_mdp(str(tmp_path / f"t.{ending}"))


def test_arrays_are_measured_before_they_are_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez_compressed(tmp_path / "t.npz", P=np.zeros(2**17))
    assert (tmp_path / "t.npz").stat().st_size < 2**12
    monkeypatch.setattr(mdp_file, "UNPACKED", 2**19)
    with pytest.raises(ValueError, match=r"unpacked it is larger than 512 KiB: P\.npy has 1,048,"):
        load_mdp(str(tmp_path / "t.npz"))


@pytest.mark.parametrize("ending", ["yaml", "npz"])
def test_tables_have_a_size(ending: str, tmp_path: Path) -> None:
    (tmp_path / f"t.{ending}").touch()
    os.truncate(tmp_path / f"t.{ending}", TERABYTE)
    with pytest.raises(atomic_files.TooLarge):
        load_mdp(str(tmp_path / f"t.{ending}"))
