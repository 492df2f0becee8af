"""Several commands on one study: what each is given, what a killed one comes back to, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from pgrun.command.search_settings import Search
from pgrun.command.search_space import read_search_space
from pgrun.command.search_storage import find_wrong_storage
from pgrun.errors import InvalidCommand
from pgrun.runs.search.open_study import open_study
from pgrun.runs.search.record import load_record, new_record
from pgrun.runs.search.shared_study import StorageLost
from pgrun.runs.search.study import Study


def work_on(folder: Path, storage: str, study: str = "s", settings: Any = None, **more: Any) -> Study:
    """What a command sees of the study, after reading what its folder holds."""
    folder.mkdir(exist_ok=True)
    search = Search(storage=storage, study=study, n_trials=4, **more)
    words = OverridesParser.create().parse_overrides(["x=interval(0,1)", "y=a,b"])
    space = read_search_space(words)
    fresh = new_record(search, space, settings or {"gamma": 0.9})
    return open_study(search, space, load_record(folder, fresh, space), folder)


def finished(mean: float) -> dict[str, Any]:
    return {"status": "finished", "eval": {"return_mean": mean}}


@pytest.mark.parametrize("storage", ["{}/journal", "sqlite:///{}/study.db"])
def test_each_trial_is_one_commands_and_a_killed_one_comes_back_to_its_own(
    storage: str, tmp_path: Path
) -> None:
    place = storage.format(tmp_path)
    one, two = (work_on(tmp_path / name, place) for name in ("one", "two"))
    first, second = one.ask(1), two.ask(1)
    assert (list(first), list(second)) == ([0], [1])
    assert first[0] != second[1]
    two.tell(1, finished(2.0))
    del one  # killed: its trial is under way, and stays its own
    assert list(two.ask(5)) == [2, 3]
    assert two.ask(1) == {}
    again = work_on(tmp_path / "one", place)
    assert again.ask(5) == first
    again.tell(0, finished(5.0))
    again.tell(0, finished(7.0))  # what was told stands
    assert again.ask(1) == {}
    assert "2 of 4 trials finished, 2 under way; best: trial 0, 5, of" in again.describe()
    late = work_on(tmp_path / "late", place)
    assert late.ask(1) == {}
    assert (tmp_path / "late" / "search.json").exists()


def test_a_trial_whose_process_was_killed_stays_under_way(tmp_path: Path) -> None:
    """What comes of it by resume=auto is told, as nothing was before; one that failed is over."""
    place = str(tmp_path / "journal")
    study = work_on(tmp_path / "one", place)
    study.ask(4)
    for number, status in enumerate(("killed", "interrupted", "not run", "failed")):
        study.tell(number, {"status": status, "error": "so"})
    assert study.ask(4) == {}  # not again in this command
    assert "0 of 4 trials finished, 3 under way" in study.describe()
    again = work_on(tmp_path / "one", place)
    assert list(again.ask(4)) == [0, 1, 2, 3]
    for number in range(4):
        again.tell(number, finished(float(number)))
    assert "3 of 4 trials finished, 0 under way; best: trial 2, 2," in again.describe()


def test_a_storage_that_is_lost_while_trials_run(tmp_path: Path) -> None:
    """One sentence; the trial is told once there is a storage again."""
    place = tmp_path / "journal"
    study = work_on(tmp_path / "one", str(place))
    study.ask(1)
    place.rename(tmp_path / "away")
    place.mkdir()
    with pytest.raises(StorageLost, match=r"What has been run is in .*one; .*resume=auto"):
        study.tell(0, finished(1.0))
    place.rmdir()
    (tmp_path / "away").rename(place)
    again = work_on(tmp_path / "one", str(place))
    assert list(again.ask(1)) == [0]
    again.tell(0, finished(1.0))
    assert "1 of 1 trials finished" in again.describe()


def test_a_study_of_something_else_is_refused(tmp_path: Path) -> None:
    place = str(tmp_path / "journal")
    work_on(tmp_path / "one", place).ask(1)
    with pytest.raises(InvalidCommand, match=r"another search, with settings.gamma=0.9, not 0.5"):
        work_on(tmp_path / "two", place, settings={"gamma": 0.5})
    with pytest.raises(InvalidCommand, match=r"has 0 trials, and .*one holds its trial 0"):
        work_on(tmp_path / "one", str(tmp_path / "other"))
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    theirs = optuna.create_study(storage=JournalStorage(JournalFileBackend(place)), study_name="t")
    theirs.ask()
    with pytest.raises(InvalidCommand, match="not pgrun's"):
        work_on(tmp_path / "two", place, study="t")


WRONG = {
    ("postgresql://me:secret@host/d", "s"): "a password in it would be written",
    ("postgresql://me@host/d?password=secret", "s"): "a password in it would be written",
    ("postgresql://me@host", "s"): "name a database",
    ("postgresql://me@host:port/d", "s"): "this is no URL",
    ("mysql://me@host/d", "s"): "allowed are postgresql://",
    ("sqlite://study.db", "s"): "allowed are postgresql://",
    ("sqlite:////nowhere/study.db", "s"): "/nowhere/study.db does not exist",
    ("/nowhere/journal", "s"): "/nowhere/journal does not exist",
    (".", "s"): "is a folder",
    ("/dev/zero", "s"): "a device",
    ("sqlite:////dev/zero", "s"): "a device",
    ("journal", None): "add hydra.sweeper.study=",
    (None, "s"): "of which storage?",
}


@pytest.mark.parametrize(("storage", "study"), WRONG)
def test_refusals(storage: str | None, study: str | None) -> None:
    said = [one.sentence() for one in find_wrong_storage({"storage": storage, "study": study})]
    assert len(said) == 1
    assert WRONG[storage, study] in said[0]
    assert "secret" not in said[0]


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe", b"[]\n[]\n", b'{"op_code": 0}\n{}\n', b"{}\n{}\n", b"SQLite format 3\0" + bytes(99)],
)
def test_a_storage_that_makes_no_sense_is_one_line(content: bytes, tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_bytes(content)
    for storage in (str(place), f"sqlite:///{place}"):
        with pytest.raises(InvalidCommand, match=r"hydra.sweeper.storage=.*file: .*\w"):
            work_on(tmp_path / "one", storage)


def test_a_journal_of_a_terabyte_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "journal").open("wb") as file:
        file.truncate(2**40)
    (mistake,) = find_wrong_storage({"storage": str(tmp_path / "journal"), "study": "s"})
    said = mistake.sentence()
    assert "a journal has 1,073,741,824 at most" in said


def test_a_server_that_does_not_answer(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(InvalidCommand, match=r"127.0.0.1:1/d: .*refused"):
        work_on(tmp_path / "one", "postgresql://me@127.0.0.1:1/d")
