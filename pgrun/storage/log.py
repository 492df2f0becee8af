"""What a run leaves behind: metrics.csv, one TensorBoard event file with the same scalars, summary.json."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2

from pgrun.atomic_files import naming_file_in_errors, open_plain, replace_file, show_size
from pgrun.config.paths import EVENT_FILES
from pgrun.config.settings import flatten_settings
from pgrun.errors import InvalidCommand, RunFilesLost
from pgrun.storage.tensorboard_cards import make_card, make_layout
from pgrun.storage.tensorboard_events import EventFile
from pgrun.storage.tensorboard_experiment import flatten_for_hparams
from pgrun.storage.tensorboard_records import SESSION_END, summarise_hparams, summarise_settings
from pgrun.storage.trackers.base import Trackers

ALWAYS = (
    "return/train",
    "return/eval",
    *(f"{tag}_{part}" for tag in ("return/train", "return/eval") for part in ("std", "min", "max")),
    "episode/length",
    "episode/count",
    "kl/old_new",
    "kl/new_old",
    "kl/max",
    "gradient/variance",
    "gradient/variance_se",
    "gradient/norm",
    "gradient/snr",
    "policy/entropy",
    "policy/loss",
    "step/size",
    "ratio/max",
    "ratio/ess",
    "time/env_steps_per_second",
    "time/learning_share",
)
WITH_CRITIC = ("value/loss", "value/mean", "value/explained_variance")
WITH_CLIPPING = ("ratio/clip_fraction",)
WITH_OPTIMIZER = ("optimizer/lr",)
WITH_STD = ("policy/std",)
METRICS = "metrics.csv"
MOST = 16 * 2**30  # bytes of one of its files
PIECE = 2**20  # that are copied at once
FLUSH_EVERY = 5.0  # seconds: what TensorBoard shows of a run under way, and what a crash may cost


class Log:
    """Rows of scalars over environment steps; every tag of the run is a column from the start."""

    def __init__(self, folder: Path, tags: Iterable[str], position: Mapping[str, int] | None = None):
        """``position``: where an earlier log is to be taken up; what was written after it is cut off.

        Empty: there was none.
        """
        self.folder = folder
        self.tags = list(tags)
        position = position or {}
        cut_log(folder, position)
        self.events = EventFile(folder)
        self.file = (folder / METRICS).open("a" if METRICS in position else "x", newline="")
        columns = ["env_steps", *self.tags]
        begun = read_header(folder / METRICS) if METRICS in position else columns
        # a run that an earlier pgrun began keeps its columns; its events have the new tags as well
        self.table = csv.DictWriter(self.file, begun, extrasaction="raise" if begun == columns else "ignore")
        if METRICS not in position:
            self.table.writeheader()
        self.flushed = time.monotonic()
        self.trackers = Trackers(folder)  # none, until there are some

    def position(self) -> dict[str, int]:
        """The size of every file of the log, all of it on disk."""
        self.flush()
        for file in (self.file, self.events.file):
            os.fsync(file.fileno())
        self.refuse_if_replaced()
        return {path.name: path.stat().st_size for path in list_log_files(self.folder)}

    def refuse_if_replaced(self) -> None:
        """Raises ``RunFilesLost`` where the rows go to a file that is no longer the run's."""
        place = self.folder / METRICS
        if not place.exists() or not os.path.samestat(os.fstat(self.file.fileno()), place.stat()):
            raise RunFilesLost(
                f"{place} was deleted or replaced while the run trained: rows that are lost cannot be made "
                "again; put the file back and resume the run, or start it again"
            )

    def row(self, env_steps: int, scalars: Mapping[str, float]) -> None:
        """One row; tags without a value stay blank, and have no point in TensorBoard."""
        with naming_file_in_errors(self.folder / METRICS):
            self.table.writerow({"env_steps": env_steps, **scalars})
        values = [Summary.Value(tag=tag, simple_value=x) for tag, x in scalars.items()]
        self.events.add(Summary(value=values), env_steps)
        self.trackers.add_row(env_steps, scalars)
        if time.monotonic() - self.flushed > FLUSH_EVERY:
            self.flush()

    def mark(self, env_steps: int, tag: str, value: float) -> None:
        """A point in TensorBoard that is no column of the table."""
        self.events.add(Summary(value=[Summary.Value(tag=tag, simple_value=value)]), env_steps)

    def follow(self, names: Sequence[str], project: str, settings: Mapping[str, Any]) -> None:
        """Every row goes to these trackers as well (``logger.also``)."""
        self.trackers = Trackers(self.folder, names, project, settings)

    def hyperparameters(self, settings: Mapping[str, Any]) -> None:
        """The HPARAMS tab's record, in this same run; seeds of one configuration share a row."""
        flat = flatten_for_hparams(settings)
        self.events.add(summarise_settings(flat, configuration_id(settings)))

    def describe(self, settings: Mapping[str, Any], backend: str) -> None:
        """How TensorBoard lays the scalars out, and a card of text that says what the run is."""
        self.events.add(make_layout(self.tags))
        self.events.add(make_card(self.folder, settings, backend))

    def flush(self) -> None:
        for file in (self.file, self.events.file):
            with naming_file_in_errors(Path(file.name)):
                file.flush()
        self.flushed = time.monotonic()

    def close(self, ok: bool) -> None:
        end = api_pb2.STATUS_SUCCESS if ok else api_pb2.STATUS_FAILURE
        record = plugin_data_pb2.SessionEndInfo(status=end, end_time_secs=time.time())
        data = plugin_data_pb2.HParamsPluginData(session_end_info=record)
        metrics, written = (
            naming_file_in_errors(self.folder / METRICS),
            naming_file_in_errors(self.events.place),
        )
        with metrics, closing(self.file), written, closing(self.events.file):
            self.events.add(summarise_hparams(SESSION_END, data))
            self.flush()
        self.trackers.close(ok)


def read_header(place: Path) -> list[str]:
    with place.open(newline="") as file:
        return next(csv.reader(file), [])


def list_log_files(folder: Path) -> list[Path]:
    return [folder / METRICS, *sorted(folder.glob(EVENT_FILES))]


def cut_log(folder: Path, position: Mapping[str, int]) -> None:
    """Every file of a log back to its size at ``position``; files from after it go.

    Raises ``InvalidCommand`` where one is shorter.

    What is written to from now on is replaced: other names of the file, a copy by ``cp -al`` say, keep what
    they have.
    """
    for path in list_log_files(folder):
        if path.name not in position:
            path.unlink(missing_ok=True)
            continue
        with open_log_file(path) as file:
            size, there = position[path.name], os.fstat(file.fileno()).st_size
            if not 0 <= size <= there:
                raise InvalidCommand(
                    path, None, f"has {there} bytes and had {size} when the run was saved", "put it back"
                )
            if size > MOST:
                raise InvalidCommand(
                    path, None, f"is larger than {show_size(MOST)}: a run with such a log is not resumed"
                )
            if size < there or path.name == METRICS:
                replace_file(path, lambda copy: copy_start(file, copy, size))  # noqa: B023  called at once


def open_log_file(path: Path) -> BinaryIO:
    try:
        return open_plain(path)
    except OSError as error:
        raise InvalidCommand(
            path, None, f"is part of the run and cannot be read: {error.strerror}"
        ) from error


def copy_start(file: BinaryIO, copy: BinaryIO, size: int) -> None:
    """The first ``size`` bytes: what follows them may be any number."""
    while size and (piece := file.read(min(size, PIECE))):
        copy.write(piece)
        size -= len(piece)


def configuration_id(settings: Mapping[str, Any]) -> str:
    """A hash of the configuration without its seed."""
    without = {k: v for k, v in flatten_settings(settings).items() if k != "seed"}
    return hashlib.sha256(json.dumps(without, sort_keys=True).encode()).hexdigest()[:16]
