"""Records are TensorBoard's own, byte for byte, without its modules for them."""

from __future__ import annotations

import io
import random
import time

import pytest
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2, summary_v2
from tensorboard.summary.writer.record_writer import RecordWriter

from pgrun.storage import tensorboard_records as records


def test_a_record_has_tensorboards_bytes() -> None:
    draw = random.Random(0)
    ours, theirs = io.BytesIO(), io.BytesIO()
    writer = RecordWriter(theirs)
    for length in (0, 1, 2, 7, 300):
        data = draw.randbytes(length)
        records.write_event_record(ours, data)
        writer.write(data)
    assert ours.getvalue() == theirs.getvalue()


def test_settings_of_a_run_are_recorded_as_tensorboard_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1234.5)
    settings = {"network.norm": True, "algo.name": "ppo", "seed": 3, "gamma": 0.99}
    ours, theirs = records.summarise_settings(settings, "group"), summary_v2.hparams_pb(settings, "group")
    contents = [one.value[0].metadata.plugin_data.content for one in (ours, theirs)]
    parsed = [plugin_data_pb2.HParamsPluginData.FromString(content) for content in contents]
    assert parsed[0] == parsed[1]
    assert parsed[0].session_start_info.hparams["gamma"].number_value == 0.99
    for one in (ours, theirs):  # a mapping's order on the wire is protobuf's affair
        one.value[0].metadata.plugin_data.content = b""
    assert ours == theirs


def test_the_other_records_of_its_tab() -> None:
    assert records.NOTHING == metadata.NULL_TENSOR
    assert metadata.PLUGIN_DATA_VERSION == 0, "what a record has where nothing sets it"
    experiment = api_pb2.Experiment(description="x")
    content = plugin_data_pb2.HParamsPluginData(experiment=experiment)
    (value,) = records.summarise_hparams(records.EXPERIMENT, content).value
    assert (value.tag, value.metadata) == (metadata.EXPERIMENT_TAG, metadata.create_summary_metadata(content))
    assert records.SESSION_END == metadata.SESSION_END_INFO_TAG
