"""``last`` is the newest run, or sweep, below outputs/."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pgrun.analysis.compare.cli import main as compare
from pgrun.analysis.doctor.cli import main as doctor
from pgrun.errors import InvalidCommand
from pgrun.storage.newest_run import find_newest, newest_folder, replace_last
from pgrun.tools.play.cli import main as play
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import answer, pgrun
from tests.helpers.support_compare import make_run

RUN, SWEEP = Path("outputs/2026-01-31/ppo_X_s0_12-00-00"), Path("outputs/multirun/2026-01-31/X_seed_12-00-00")


def make(folder: Path, mark: str, at: float) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / mark).write_text("{}")
    os.utime(folder / mark, (at, at))
    return folder


def test_by_when_it_started(here: Path) -> None:  # noqa: F811
    make(RUN, "job.json", 300)
    make(RUN.with_name("ppo_X_s1_11-00-00"), "job.json", 200)
    make(SWEEP, "multirun.yaml", 100)
    make(SWEEP / "0_seed=0", "job.json", 400)  # is the sweep's
    make(Path("outputs/lab/2026-01-31/12/baseline/0"), "job.json", 500)  # nobody asked for it
    assert newest_folder("pgrun-play") == RUN
    os.utime(SWEEP / "multirun.yaml", (600, 600))
    assert newest_folder("pgrun-compare", one=False) == SWEEP
    newest = find_newest(several=False)
    assert newest is not None
    assert newest.folder == RUN
    with pytest.raises(
        InvalidCommand, match=r"several runs, and none has finished: name one of those in it$"
    ):
        newest_folder("pgrun-play")


def finish(folder: Path, at: float, status: str = "finished") -> Path:
    make(folder, "job.json", at)
    (folder / "summary.json").write_text(json.dumps({"status": status}))
    os.utime(folder / "summary.json", (at, at))
    return folder


def test_of_a_sweep_one_run_is_the_last_to_finish(
    here: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    make(SWEEP, "multirun.yaml", 100)
    for number, at in enumerate((20, 30, 10)):
        finish(SWEEP / f"{number}_seed={number}", at)
    finish(SWEEP / "3_seed=3", 40, "failed")
    make(SWEEP / "4_seed=4", "job.json", 50)  # under way
    assert newest_folder("pgrun-play") == SWEEP / "1_seed=1"
    said = f"pgrun-play: the newest is {SWEEP}/1_seed=1, the last to finish of 3\n"
    assert capsys.readouterr().err == said
    assert newest_folder("pgrun-compare", one=False) == SWEEP


def test_of_several_seeds_too(here: Path) -> None:  # noqa: F811
    make(RUN, "job.json", 1)
    make(RUN / "0", "job.json", 2)
    with pytest.raises(InvalidCommand, match="several runs"):
        newest_folder("pgrun-play")
    finish(RUN / "0", 2)
    assert newest_folder("pgrun-play") == RUN / "0"
    make(SWEEP, "multirun.yaml", 100)  # of jobs with several seeds: one seed's run, not the job's mean
    finish(SWEEP / "0_algo=a2c", 7)
    for seed, at in enumerate((6, 5)):
        finish(SWEEP / "0_algo=a2c" / str(seed), at)
    assert newest_folder("pgrun-play") == SWEEP / "0_algo=a2c" / "0"


def test_links_are_not_followed(here: Path) -> None:  # noqa: F811
    make(here.parent / "elsewhere" / "run", "job.json", 9e9)
    Path("outputs").mkdir()
    Path("outputs/2026-01-31").symlink_to(here.parent / "elsewhere")
    assert find_newest() is None


def test_other_names_stay(here: Path) -> None:  # noqa: F811
    assert replace_last("outputs/last", "pgrun-play") == "outputs/last"
    assert replace_last("./last", "pgrun-play") == "./last"


@pytest.mark.parametrize("typed", ["", "last"])
def test_without_any_run_each_command_says_what_to_type(typed: str, here: Path) -> None:  # noqa: F811
    for main, name in ((play, "pgrun-play"), (doctor, "pgrun-doctor"), (compare, "pgrun-compare")):
        told = answer(main, name, *typed.split())
        assert (told.code, told.err.endswith(f"or name a run directory: {name} RUN_DIR\n")) == (2, True), told
    told = pgrun("resume=last")
    assert (told.code, told.err.endswith("or name a run directory: pgrun resume=RUN_DIR\n")) == (2, True)


def test_in_a_folder_that_was_deleted(
    here: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No command that makes a run is advised: it would be refused there."""
    gone = here / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    monkeypatch.setenv("PWD", str(gone))
    os.rmdir(gone)
    for main, name in ((play, "pgrun-play"), (doctor, "pgrun-doctor"), (compare, "pgrun-compare")):
        for typed in ("", "last", "outputs/mine", "outputs"):
            told = answer(main, name, *typed.split())
            said = f"{name}: {gone} no longer exists: cd to a folder that does\n"
            assert (told.code, told.err) == (2, said), typed
    for word in ("resume=last", "from=last"):
        assert pgrun(word).err == f"pgrun: {gone} no longer exists: cd to a folder that does\n"


def test_each_command_takes_the_newest(here: Path) -> None:  # noqa: F811
    rows = [{"env_steps": 100 * n, "return/eval": 1.0} for n in (1, 2)]
    make_run(RUN, 0, 1.0, rows=rows)
    make(RUN, "job.json", 1)
    for main, name, where in ((doctor, "pgrun-doctor", "out"), (compare, "pgrun-compare", "err")):
        told = answer(main, name)
        assert told.code == 0, told
        assert str(RUN) in getattr(told, where)
        assert f"{name}: the newest is {RUN}\n" in told.err
    told = answer(play, "pgrun-play")  # this one has no policy
    assert (told.code, f"{RUN}: " in told.err) == (2, True)
    told = pgrun("resume=last")  # nor a checkpoint
    assert (told.code, f"resume='{RUN}'" in told.err) == (2, True), told
