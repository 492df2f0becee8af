"""What the tab HPARAMS shows: the settings of a run, and of a sweep those in which its jobs differ."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2

from pgrun.atomic_files import write_bytes
from pgrun.config.settings import flatten_settings
from pgrun.storage.tensorboard_records import EXPERIMENT, summarise_hparams, write_event_record

SWEEP_EVENTS = "events.out.tfevents.0.sweep"  # in a sweep's folder, beside its jobs
OPENS_ON = ("return/eval", "return/train")  # of each run
ALWAYS_TOLD = ("algo.name", "env.id")  # where nothing differs
NUMBER_OR_AUTO = ("cores", "trainer.eval_every")


def flatten_for_hparams(settings: Mapping[str, Any]) -> dict[str, bool | int | float | str]:
    """A run's settings as columns, without the seed: seeds of one configuration share a row.

    What is null is left out, and auto among numbers: as text it would make text of a column of numbers,
    which TensorBoard cannot sort.
    """
    flat = {k: v for k, v in flatten_settings(without_nulls(settings)).items() if k not in ("seed", "seeds")}
    return {k: v for k, v in flat.items() if k not in NUMBER_OR_AUTO or v != "auto"}


def without_nulls(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: without_nulls(value) if isinstance(value, Mapping) else value
        for key, value in settings.items()
        if value is not None
    }


def find_columns(jobs: Sequence[Mapping[str, Any]], swept: Iterable[str]) -> dict[str, list[Any]]:
    """The settings in which the jobs of a sweep differ, with their values: what was swept where that says it,
    all that differs where it does not, algorithm and environment where nothing differs.
    """
    flat = [flatten_for_hparams(settings) for settings in jobs]
    keys = list(dict.fromkeys(key for one in flat for key in one))
    differing = [key for key in keys if len({json.dumps(one.get(key)) for one in flat}) > 1]
    named = [name for key in swept for name in (key, f"{key}.name", f"{key}.id") if name in differing]
    chosen = named if all(any(n.startswith(k) for n in named) for k in without_seed(swept)) else differing
    return {key: [one[key] for one in flat if key in one] for key in chosen or ALWAYS_TOLD}


def without_seed(swept: Iterable[str]) -> list[str]:
    return [key for key in swept if key not in ("seed", "seeds")]


def make_column(name: str, values: Sequence[Any]) -> api_pb2.HParamInfo:
    """One type: a switch, a number with its interval, or text."""
    info = api_pb2.HParamInfo(name=name, differs=len(set(map(repr, values))) > 1)
    if values and all(isinstance(value, bool) for value in values):
        info.type = api_pb2.DATA_TYPE_BOOL
        info.domain_discrete.extend(sorted(set(values)))
    elif values and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        info.type = api_pb2.DATA_TYPE_FLOAT64
        info.domain_interval.min_value, info.domain_interval.max_value = min(values), max(values)
    else:
        info.type = api_pb2.DATA_TYPE_STRING
        info.domain_discrete.extend(sorted({str(value) for value in values}))
    return info


def write_experiment(folder: Path, jobs: Sequence[Mapping[str, Any]], swept: Iterable[str]) -> None:
    """What the tab HPARAMS opens on for a sweep: the columns in which its jobs differ, and their returns."""
    columns = [make_column(name, values) for name, values in find_columns(jobs, list(swept)).items()]
    metrics = [api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag)) for tag in OPENS_ON]
    experiment = api_pb2.Experiment(hparam_infos=columns, metric_infos=metrics, time_created_secs=time.time())
    summary = summarise_hparams(EXPERIMENT, plugin_data_pb2.HParamsPluginData(experiment=experiment))
    file, now = io.BytesIO(), time.time()
    for event in (Event(file_version="brain.Event:2"), Event(summary=summary)):
        event.wall_time = now
        write_event_record(file, event.SerializeToString())
    write_bytes(folder / SWEEP_EVENTS, file.getvalue())
