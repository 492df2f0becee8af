"""A study that several commands work on, in a database or a journal file.

The storage says which trials there are and hands out their numbers; how a trial of this command ended is said
in its own directory, as in any search, and told to the storage from there.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from pgrun.command.search_settings import Search, holds_search
from pgrun.command.search_space import Space, Trial
from pgrun.command.search_storage import POSTGRES, SETTING
from pgrun.errors import InvalidCommand, UserFacingError, escape_line
from pgrun.runs.job_status import TO_GO_ON_WITH, describe_differences
from pgrun.runs.search.record import Record
from pgrun.runs.search.study import Study

WHAT = "pgrun"  # the study's attribute that says what is searched
WHERE = "folder"  # a trial's attribute
PATIENCE = 10  # seconds for a server's answer; for a file that another command has locked
ATTEMPTS = 10  # at making the tables, which two commands may do at the same moment
MADE_BY_ANOTHER = ("already exists", "UNIQUE constraint", "duplicate key", "is locked")


class StorageLost(UserFacingError):
    """The storage does not answer any more, exit code 1; what has been run stays."""


class SharedStudy(Study):
    """Optuna's study in a storage. Two commands that do the same do not propose the same: a trial depends on
    its number, which nobody else has.
    """

    def __init__(self, search: Search, space: Space, record: Record, folder: Path):
        assert search.storage is not None
        assert search.study is not None
        self.begun = False  # whether trials have been run, so that something is to be gone on with
        super().__init__(search, space, record, folder)
        with self.reached():
            self.agree()

    def make(self) -> optuna.Study:
        with self.reached():
            return optuna.create_study(
                direction="maximize",
                storage=open_storage(str(self.search.storage)),
                study_name=self.search.study,
                load_if_exists=True,
            )

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Raises ``InvalidCommand``, or ``StorageLost`` where trials have been run, if it is not.

        What a storage holds is data from anywhere, and Optuna raises whatever comes of it.
        """
        try:
            yield
        except UserFacingError:
            raise
        except Exception as error:
            root = error.__cause__ or error
            said = str(root).strip().splitlines() or [""]
            kind = "" if isinstance(root, OSError | SQLAlchemyError) else f"{type(root).__name__}: "
            reason = f"{kind}{escape_line(said[0])}"
            if self.begun:
                raise StorageLost(
                    f"{SETTING}={self.search.storage}: {reason}. What has been run is in "
                    f"{self.folder}; once the storage answers "
                    "again, the same command goes on with resume=auto"
                ) from error
            raise InvalidCommand(SETTING, self.search.storage, reason) from error

    def agree(self) -> None:
        """Refuse a study of something else; one that is new gets a note of what it is."""
        mine = {"space": self.record.space, "settings": self.record.settings}
        noted = self.study.user_attrs.get(WHAT)
        trials = self.study.get_trials(deepcopy=False)
        name = "hydra.sweeper.study", self.search.study
        if noted is None:
            if trials:
                raise InvalidCommand(
                    *name, "there is a study of that name that is not pgrun's", "choose another"
                )
            self.study.set_user_attr(WHAT, json.dumps(mine))
        elif difference := describe_differences(read_note(noted), mine):
            raise InvalidCommand(
                *name,
                f"is of another search, with {difference}",
                "type the words of that search, or choose another name",
            )
        own = [n for n, trial in enumerate(self.record.trials) if trial is not None]
        if own and own[-1] >= len(trials):
            raise InvalidCommand(
                *name,
                f"has {len(trials)} trials, and {self.folder} holds its trial {own[-1]}: this is not "
                "the study that was begun",
                "choose another hydra.sweep.dir",
            )

    def ask(self, most: int) -> dict[int, Trial]:
        """Trials of this folder that have not been told, else new ones while the study wants them."""
        if not holds_search(self.folder):
            self.record.write(self.folder)  # also where the others have left nothing to do
        with self.reached():
            known = enumerate(self.record.trials)
            waiting = {n: trial for n, trial in known if trial is not None and n not in self.asked}
            taken = dict(list(waiting.items())[:most])
            for number in taken:
                identity = self.study.get_trials(deepcopy=False)[number]._trial_id
                self.asked[number] = optuna.Trial(self.study, identity)
            while len(taken) < most and (new := self.propose_new()):
                taken |= new
            self.begun = self.begun or bool(taken)
        return taken

    def propose_new(self) -> dict[int, Trial]:
        """Empty where the study has as many as it wants, other commands' among them."""
        if len(self.study.get_trials(deepcopy=False)) >= self.search.n_trials:
            return {}
        trial = self.study.ask()
        if trial.number >= self.search.n_trials:  # another command was faster
            self.study.tell(trial, state=TrialState.FAIL)
            return {}
        trial.set_user_attr(WHERE, f"{socket.gethostname()}:{self.folder.absolute()}")
        values = self.fill(trial)
        self.record.trials += [None] * (trial.number + 1 - len(self.record.trials))
        self.record.trials[trial.number] = values
        self.record.write(self.folder)
        return {trial.number: values}

    def tell(self, number: int, summary: Any) -> None:
        """Once: what was told before a kill stands.

        A trial that ``resume=auto`` goes on with is not told, and stays under way.
        """
        if summary["status"] in TO_GO_ON_WITH:
            return
        with self.reached():
            if not self.study.get_trials(deepcopy=False)[number].state.is_finished():
                super().tell(number, summary)

    def bars(self) -> dict[int, float]:
        with self.reached():
            return super().bars()

    def describe(self) -> str:
        """How far the study is, with all that work on it."""
        with self.reached():
            trials = self.study.get_trials(deepcopy=False)
        over = [trial for trial in trials if trial.state == TrialState.COMPLETE]
        running = sum(not trial.state.is_finished() for trial in trials)
        told = f"study {self.search.study}: {len(over)} of {len(trials)} trials finished, {running} under way"
        if not over:
            return told
        best = max(over, key=lambda trial: trial.value if trial.value is not None else float("-inf"))
        return (
            f"{told}; best: trial {best.number}, {best.value:.4g}, of {best.user_attrs.get(WHERE, 'nowhere')}"
        )


def read_note(noted: Any) -> dict[str, Any]:
    """What a study's note says, which is data from anywhere."""
    try:
        settings = json.loads(noted)
    except (TypeError, ValueError):
        return {}
    return settings if isinstance(settings, dict) else {}


def open_storage(place: str) -> BaseStorage:
    """A database by its URL, a journal by its file. The password is not in it: libpq finds its own."""
    if "://" not in place:
        return JournalStorage(JournalFileBackend(place))
    scheme, _, rest = place.partition("://")
    waits = {"connect_timeout": PATIENCE} if scheme == POSTGRES else {"timeout": PATIENCE}
    url = f"postgresql+psycopg://{rest}" if scheme == POSTGRES else place
    for left in reversed(range(ATTEMPTS)):
        try:
            return RDBStorage(url, engine_kwargs={"pool_pre_ping": True, "connect_args": waits})
        except (SQLAlchemyError, StorageInternalError) as error:
            if not left or not any(said in str(error.__cause__ or error) for said in MADE_BY_ANOTHER):
                raise
            time.sleep(1)
    raise AssertionError
